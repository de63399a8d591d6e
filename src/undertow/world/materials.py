"""Colours with the statistics of photographs, and materials: RGB tiles that repeat without a seam.

Tiles are made from noise and structure, or cut from photographs. One is sampled in the coordinates of the surface it
covers, so it moves, turns and stretches with it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from jaxtyping import Float, UInt8
from numpy.random import Generator

# Columns turn (luminance, yellow-blue, red-green) into RGB: Ruderman, Cronin and Chiao (1998) found these to be very
# nearly the decorrelated axes of natural scenes, in this order of variance.
OPPONENT_TO_RGB = np.array([[1.0, 0.58, 0.71], [1.0, 0.58, -0.71], [1.0, -1.15, 0.0]], dtype=np.float32)

NAMES: dict[str, tuple[float, float, float]] = {
    "black": (0.08, 0.08, 0.08),
    "white": (0.93, 0.93, 0.92),
    "grey": (0.5, 0.5, 0.5),
    "red": (0.7, 0.18, 0.16),
    "orange": (0.85, 0.5, 0.15),
    "yellow": (0.85, 0.78, 0.25),
    "green": (0.25, 0.55, 0.22),
    "blue": (0.2, 0.35, 0.7),
    "purple": (0.5, 0.25, 0.6),
    "pink": (0.88, 0.6, 0.65),
    "brown": (0.42, 0.29, 0.18),
    "beige": (0.78, 0.7, 0.56),
    "olive": (0.42, 0.42, 0.2),
    "teal": (0.2, 0.5, 0.5),
}
_NAMED = np.array(list(NAMES.values()), dtype=np.float32)


def natural_colours(random: Generator, count: int) -> Float[np.ndarray, "count 3"]:
    """Returns RGB colours in [0, 1] drawn from a natural-like covariance, one in eight of them vivid."""
    luminance = np.clip(random.normal(0.45, 0.22, count), 0.04, 0.96)
    # Chroma is heavy-tailed in photographs: many nearly grey surfaces, a few saturated ones.
    spread = np.where(random.random(count) < 0.125, 2.2, 1.0)
    yellow_blue = 0.06 * spread * random.standard_t(4, count) + 0.02
    red_green = 0.04 * spread * random.standard_t(4, count)
    opponent = np.stack([luminance, yellow_blue, red_green], axis=1).astype(np.float32)
    return np.clip(opponent @ OPPONENT_TO_RGB.T, 0.02, 0.98).astype(np.float32)


def near(random: Generator, colour: Float[np.ndarray, "3"], spread: float) -> Float[np.ndarray, "3"]:
    """Returns a colour about `spread` away from `colour`, mostly in luminance."""
    opponent = random.normal(0.0, spread, 3) * np.array([1.0, 0.4, 0.3])
    return np.clip(colour + OPPONENT_TO_RGB @ opponent.astype(np.float32), 0.02, 0.98).astype(np.float32)


def name_of(colour: Float[np.ndarray, "3"]) -> str:
    """Returns the nearest colour name, comparing chroma more strictly than luminance."""
    to_opponent = np.linalg.inv(OPPONENT_TO_RGB)
    difference = (_NAMED - colour) @ to_opponent.T * np.array([1.0, 2.5, 2.5], dtype=np.float32)
    return list(NAMES)[int(np.argmin((difference**2).sum(axis=1)))]


TILE = 96
KINDS = ("cloudy", "grained", "striped", "wavy", "checked", "dotted", "cracked", "plain")


@dataclass(frozen=True)
class Material:
    """A surface: `tile` repeats, `kind` names its structure and `colour` is its mean, for captions."""

    tile: Float[np.ndarray, "size size 3"]
    kind: str
    colour: Float[np.ndarray, "3"]

    def sample(self, u: Float[np.ndarray, "..."], v: Float[np.ndarray, "..."]) -> Float[np.ndarray, "... 3"]:
        """Returns colours at tile coordinates (u, v) in texels, bilinear and repeating."""
        size = self.tile.shape[0]
        u0, v0 = np.floor(u), np.floor(v)
        fu, fv = (u - u0)[..., None], (v - v0)[..., None]
        i0, j0 = v0.astype(np.int32) % size, u0.astype(np.int32) % size
        i1, j1 = (i0 + 1) % size, (j0 + 1) % size
        flat = self.tile.reshape(-1, 3)
        top = flat[i0 * size + j0] * (1 - fu) + flat[i0 * size + j1] * fu
        bottom = flat[i1 * size + j0] * (1 - fu) + flat[i1 * size + j1] * fu
        return top * (1 - fv) + bottom * fv


def noise_field(random: Generator, size: int, slope: float, stretch: float = 1.0) -> Float[np.ndarray, "s s"]:
    """Returns periodic noise whose amplitude spectrum falls as 1 / frequency ** slope, mean 0 and deviation 1."""
    fy = np.fft.fftfreq(size)[:, None] * size
    fx = np.fft.rfftfreq(size)[None, :] * size * stretch
    radius = np.maximum(np.hypot(fy, fx), 1.0).astype(np.float32)
    white = np.fft.rfft2(random.standard_normal((size, size), dtype=np.float32))
    field = np.fft.irfft2(white * radius**-slope, s=(size, size)).astype(np.float32)
    field -= field.mean()
    return field / (field.std() + 1e-6)


def _structure(random: Generator, kind: str, size: int) -> Float[np.ndarray, "s s"]:
    """Returns a periodic field of roughly [-1, 1] with the look that `kind` names."""
    v, u = np.mgrid[0:size, 0:size].astype(np.float32) * (2 * np.pi / size)
    if kind == "cloudy":
        return np.tanh(noise_field(random, size, random.uniform(1.2, 2.2)))
    if kind == "grained":
        return np.tanh(noise_field(random, size, random.uniform(0.3, 1.0), random.uniform(0.3, 3.0)))
    if kind in ("striped", "wavy"):
        bend = noise_field(random, size, 2.0) * (0.15 if kind == "striped" else random.uniform(0.6, 1.5))
        a, b = random.integers(0, 7, 2)
        return np.tanh(random.uniform(1, 6) * np.sin((a + (a + b == 0)) * u + b * v + bend)).astype(np.float32)
    if kind == "checked":
        n = int(random.integers(2, 7))
        bend = 0.2 * noise_field(random, size, 2.0)
        return np.tanh(8 * np.sin(n * u + bend) * np.sin(n * v + bend)).astype(np.float32)
    if kind in ("dotted", "cracked"):
        n = int(random.integers(4, 9))
        # One point in each cell of an n x n grid, at (y, x); each texel looks at the 3 x 3 cells around its own.
        y = (np.arange(n)[:, None] + random.uniform(0.15, 0.85, (n, n))) * size / n
        x = (np.arange(n)[None, :] + random.uniform(0.15, 0.85, (n, n))) * size / n
        distance = np.full((2, size, size), 1e9, dtype=np.float32)
        texel = np.arange(size)
        cell = texel * n // size
        for di in (-1, 0, 1):
            for dj in (-1, 0, 1):
                near_cells = np.ix_((cell + di) % n, (cell + dj) % n)
                dy, dx = y[near_cells] - texel[:, None], x[near_cells] - texel[None, :]
                dy, dx = dy - size * np.round(dy / size), dx - size * np.round(dx / size)
                d = np.hypot(dy, dx).astype(np.float32)
                distance[1] = np.minimum(distance[1], np.maximum(distance[0], d))
                distance[0] = np.minimum(distance[0], d)
        if kind == "dotted":
            return np.tanh((random.uniform(0.2, 0.4) * size / n - distance[0]) * 0.8)
        return np.tanh((distance[1] - distance[0]) * 6 * n / size - 1.0)
    return 0.1 * noise_field(random, size, 1.0)


def procedural_material(random: Generator, palette: Float[np.ndarray, "colours 3"], size: int = TILE) -> Material:
    """Returns a material of a random kind, coloured by two colours near members of `palette`, with fine grain."""
    kind = str(random.choice(KINDS))
    field = _structure(random, kind, size)
    first = near(random, palette[random.integers(len(palette))], 0.04)
    contrast = random.uniform(0.05, 0.35)
    if random.random() < 0.7:
        second = near(random, first, contrast)
    else:
        second = near(random, palette[random.integers(len(palette))], 0.04)
    blend = (0.5 + 0.5 * np.clip(field, -1, 1))[..., None]
    grain = random.uniform(0.0, 0.05) * noise_field(random, size, random.uniform(0.5, 1.5))[..., None]
    tile = np.clip(first * (1 - blend) + second * blend + grain, 0, 1).astype(np.float32)
    return Material(tile, kind, tile.mean(axis=(0, 1)))


def photographic_material(
    random: Generator, palette: Float[np.ndarray, "colours 3"], photographs: Sequence[np.ndarray], size: int = TILE
) -> Material:
    """Returns a material cut from one of `photographs`, mirrored to repeat; half of them take on `palette`."""
    photograph = photographs[int(random.integers(len(photographs)))]
    half = size // 2
    zoom = int(random.choice([1, 1, 2, 3]))
    zoom = max(1, min(zoom, min(photograph.shape[:2]) // half - 1))
    y = random.integers(photograph.shape[0] - half * zoom)
    x = random.integers(photograph.shape[1] - half * zoom)
    cut = photograph[y : y + half * zoom, x : x + half * zoom].astype(np.float32) / 255
    cut = cut.reshape(half, zoom, half, zoom, 3).mean(axis=(1, 3))
    if random.random() < 0.5:
        cut = cut[::-1]
    if random.random() < 0.5:
        cut = cut.transpose(1, 0, 2)
    if random.random() < 0.5:
        mean = cut.mean(axis=(0, 1))
        target = near(random, palette[random.integers(len(palette))], 0.05)
        cut = target + (cut - mean) * random.uniform(0.6, 1.4)
    tile = np.concatenate([cut, cut[::-1]], axis=0)
    tile = np.clip(np.concatenate([tile, tile[:, ::-1]], axis=1), 0, 1)
    return Material(tile, "natural", tile.mean(axis=(0, 1)))


def random_palette(random: Generator) -> Float[np.ndarray, "colours 3"]:
    """Returns three to six colours that a scene, or one object, draws from."""
    return natural_colours(random, int(random.integers(3, 7)))


@cache
def public_domain_photographs() -> tuple[UInt8[np.ndarray, "h w 3"], ...]:
    """Returns the public-domain and CC0 colour and grey photographs that scikit-image bundles, as uint8 RGB.

    astronaut and hubble_deep_field (NASA, public domain); chelsea, coffee, rocket, camera, brick, grass and gravel
    (CC0, as scikit-image's documentation of each states). Needs the `train` extra.
    """
    from skimage import data

    names = ("astronaut", "chelsea", "coffee", "rocket", "hubble_deep_field", "camera", "brick", "grass", "gravel")
    images = [np.asarray(getattr(data, name)()) for name in names]
    return tuple(i if i.ndim == 3 else np.repeat(i[..., None], 3, axis=2) for i in images)
