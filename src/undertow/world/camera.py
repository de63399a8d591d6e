"""What a camera does to a scene: it moves, and it adds light falloff, blur, noise and compression."""

import io
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8
from numpy.random import Generator
from PIL import Image


@dataclass(frozen=True)
class Sensor:
    """One camera's look: `gain` and `tint` of exposure, `blur` in pixels, `noise` deviation, JPEG `quality` (0: none).

    `falloff` is (strength, x, y): a slow change of light over the picture in direction (x, y).
    """

    gain: float = 1.0
    tint: tuple[float, float, float] = (1.0, 1.0, 1.0)
    blur: float = 0.0
    noise: float = 0.0
    quality: int = 0
    falloff: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def develop(
        self, picture: Float[np.ndarray, "h w 3"], random: Generator, flicker: float = 1.0
    ) -> UInt8[np.ndarray, "h w 3"]:
        """Returns the 8-bit photograph of a picture in [0, 1]; `flicker` multiplies the exposure."""
        height, width = picture.shape[:2]
        strength, fx, fy = self.falloff
        x = np.linspace(-1, 1, width, dtype=np.float32)[None, :, None]
        y = np.linspace(-1, 1, height, dtype=np.float32)[:, None, None]
        light = np.float32(self.gain * flicker) * (1 + np.float32(strength) * (np.float32(fx) * x + np.float32(fy) * y))
        picture = picture * light * np.asarray(self.tint, np.float32)
        if self.blur:
            picture = _blur(picture, self.blur)
        if self.noise:
            noise = random.standard_normal(picture.shape, dtype=np.float32)
            # Photon noise: brighter pixels are noisier in absolute terms.
            picture = picture + self.noise * noise * (0.4 + np.sqrt(np.clip(picture, 0, 1)))
        photograph = (np.clip(picture, 0, 1) * 255 + 0.5).astype(np.uint8)
        if self.quality:
            buffer = io.BytesIO()
            Image.fromarray(photograph).save(buffer, "JPEG", quality=self.quality)
            photograph = np.asarray(Image.open(buffer))
        return photograph


@dataclass(frozen=True)
class Exposure:
    """A change of light over time, none at time 0: log-exposure `gain` and log-`tint`, both as slow sines.

    The light is multiplied by exp(gain * sin(rate * time)) and, by colour channel, exp(tint * sin(rate * time / 2)).
    """

    gain: float
    tint: tuple[float, float, float]
    rate: float

    def at(self, time: float) -> Float[np.ndarray, "3"]:
        """Returns the factor of red, green and blue at `time`, in frames."""
        tint = np.asarray(self.tint) * np.sin(self.rate * time / 2)
        return np.exp(self.gain * np.sin(self.rate * time) + tint).astype(np.float32)


def random_sensor(random: Generator) -> Sensor:
    """Returns a camera's look: half of them slightly soft, most of them a little noisy, half of them compressed."""
    return Sensor(
        gain=float(np.exp(random.normal(0.05, 0.15))),
        tint=tuple(float(c) for c in np.exp(random.normal(0, 0.03, 3))),  # type: ignore[arg-type]
        blur=float(random.uniform(0.4, 1.1)) if random.random() < 0.5 else 0.0,
        noise=float(random.uniform(0.0, 0.025)) if random.random() < 0.7 else 0.0,
        quality=int(random.integers(60, 96)) if random.random() < 0.5 else 0,
        falloff=(float(random.uniform(0, 0.35)), float(random.uniform(-1, 1)), float(random.uniform(-1, 1))),
    )


def _blur(picture: Float[np.ndarray, "h w 3"], sigma: float) -> Float[np.ndarray, "h w 3"]:
    """Returns the picture under a separable Gaussian of deviation `sigma` pixels, edges repeated."""
    reach = max(1, int(np.ceil(2.5 * sigma)))
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1, dtype=np.float32) / sigma) ** 2)
    weights /= weights.sum()
    for axis in (0, 1):
        pad = [(reach, reach) if a == axis else (0, 0) for a in range(3)]
        padded = np.pad(picture, pad, mode="edge")
        length = picture.shape[axis]
        picture = sum(
            w * np.take(padded, range(i, i + length), axis=axis) if axis else w * padded[i : i + length]
            for i, w in enumerate(weights)
        )
    return picture


def view(
    canvas: Float[np.ndarray, "H W 3"], x: float, y: float, zoom: float, angle: float, size: tuple[int, int]
) -> Float[np.ndarray, "h w 3"]:
    """Returns what a camera sees of a wide canvas, bilinear.

    Args:
        canvas: The painted background.
        x: Canvas x of the picture's centre, in canvas pixels.
        y: Canvas y of the picture's centre.
        zoom: Picture pixels per canvas pixel.
        angle: Turn of the camera in radians.
        size: Picture (height, width).
    """
    height, width = size
    px = (np.arange(width, dtype=np.float32) + 0.5 - width / 2)[None, :] / np.float32(zoom)
    py = (np.arange(height, dtype=np.float32) + 0.5 - height / 2)[:, None] / np.float32(zoom)
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    cx = np.clip(cos * px - sin * py + np.float32(x - 0.5), 0, canvas.shape[1] - 1.001)
    cy = np.clip(sin * px + cos * py + np.float32(y - 0.5), 0, canvas.shape[0] - 1.001)
    i, j = cy.astype(np.int32), cx.astype(np.int32)
    fy, fx = (cy - i)[..., None], (cx - j)[..., None]
    flat = canvas.reshape(-1, 3)
    first = i * canvas.shape[1] + j
    top = flat[first] * (1 - fx) + flat[first + 1] * fx
    bottom = flat[first + canvas.shape[1]] * (1 - fx) + flat[first + canvas.shape[1] + 1] * fx
    return np.asarray(top * (1 - fy) + bottom * fy, dtype=np.float32)


def to_canvas(
    points: Float[np.ndarray, "... 2"], x: float, y: float, zoom: float, angle: float, size: tuple[int, int]
) -> Float[np.ndarray, "... 2"]:
    """Returns the canvas places (x, y) that `view` shows at picture places (x, y); other arguments as there."""
    px, py = (points[..., 0] - size[1] / 2) / zoom, (points[..., 1] - size[0] / 2) / zoom
    cos, sin = np.cos(angle), np.sin(angle)
    return np.stack([cos * px - sin * py + x, sin * px + cos * py + y], axis=-1)


def from_canvas(
    places: Float[np.ndarray, "... 2"], x: float, y: float, zoom: float, angle: float, size: tuple[int, int]
) -> Float[np.ndarray, "... 2"]:
    """Returns the picture places (x, y) at which `view` shows canvas places (x, y): the inverse of `to_canvas`."""
    cx, cy = (places[..., 0] - x) * zoom, (places[..., 1] - y) * zoom
    cos, sin = np.cos(angle), np.sin(angle)
    return np.stack([cos * cx + sin * cy + size[1] / 2, cos * cy - sin * cx + size[0] / 2], axis=-1)
