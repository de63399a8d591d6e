"""Makes validation sequences: cut-outs of photographs that move, leave and return over real clips.

`undertow bench run davis-folders --root OUT` measures on them. Each clip has three objects and one thing that passes
in front of them; the masks are exact. One object leaves the picture and comes back, another is hidden for a while. They
are for choosing defaults: neither clips nor photographs belong to any sequence that is reported.
"""

import argparse
import math
from pathlib import Path

import numpy as np
from PIL import Image

import undertow as ut
from undertow.masks import palette
from undertow.world.photographs import list_photographs, read_photograph

FRAMES = 32
SHORTER = 400


def blob(rng: np.random.Generator, points: int = 360) -> np.ndarray:
    """Returns the radius of a random smooth outline at equally spaced angles, 0.5 to 1.4 of its mean."""
    angles = np.linspace(0, 2 * np.pi, points, endpoint=False)
    radius = np.ones(points)
    for k in range(2, 7):
        radius += rng.normal(0, 0.35 / k) * np.cos(k * angles + rng.uniform(0, 2 * np.pi))
    return np.clip(radius, 0.5, 1.4)


class Cutout:
    """A piece of a photograph with an outline, drawn at a place, an angle and a scale."""

    def __init__(self, photo: np.ndarray, rng: np.random.Generator, radius: float):
        self.photo, self.radius, self.outline = photo, radius, blob(rng)
        self.bend = rng.uniform(0.05, 0.15)

    def draw(
        self, image: np.ndarray, labels: np.ndarray, label: int, where: tuple[float, float], pose: tuple[float, float],
        t: float,
    ) -> None:  # fmt: skip
        """Draws onto `image` and writes `label` into `labels` where the cut-out is opaque."""
        (h, w), (angle, scale) = labels.shape, pose
        reach = 1.6 * self.radius * scale
        x0, x1 = max(0, int(where[0] - reach)), min(w, int(where[0] + reach) + 1)
        y0, y1 = max(0, int(where[1] - reach)), min(h, int(where[1] + reach) + 1)
        if x0 >= x1 or y0 >= y1:
            return
        x, y = np.meshgrid(np.arange(x0, x1) + 0.5 - where[0], np.arange(y0, y1) + 0.5 - where[1])
        u = (math.cos(angle) * x + math.sin(angle) * y) / scale
        v = (-math.sin(angle) * x + math.cos(angle) * y) / scale
        u = u + self.bend * self.radius * np.sin(2 * np.pi * t + 2 * v / self.radius)
        turn = np.arctan2(v, u) % (2 * np.pi)
        edge = self.radius * self.outline[(turn / (2 * np.pi) * len(self.outline)).astype(int) % len(self.outline)]
        alpha = np.clip((edge - np.hypot(u, v)) * scale + 0.5, 0, 1)
        ph, pw = self.photo.shape[:2]
        rows = np.clip((v + ph / 2).astype(int), 0, ph - 1)
        columns = np.clip((u + pw / 2).astype(int), 0, pw - 1)
        part = image[y0:y1, x0:x1]
        part += alpha[..., None] * (self.photo[rows, columns] - part)
        labels[y0:y1, x0:x1][alpha >= 0.5] = label


def make(clip: Path, photos: list[np.ndarray], out: Path, rng: np.random.Generator) -> None:
    """Writes the frames and masks of one sequence."""
    video = ut.Video(clip)
    step = 2 if video.fps and video.fps > 20 else 1
    size = None
    things = [Cutout(photo, rng, rng.uniform(35, 75)) for photo in photos]
    starts, paths = [], []
    for _ in things:
        starts.append((rng.uniform(0.2, 0.8), rng.uniform(0.25, 0.75)))
        reach = ((-0.25, 0.25), (-0.15, 0.15), (0, 6.28), (-0.8, 0.8), (-0.35, 0.35))
        paths.append([rng.uniform(low, high) for low, high in reach])
    (out / "frames").mkdir(parents=True)
    (out / "masks").mkdir()
    for number in range(FRAMES):
        frame = Image.fromarray(video[number * step])
        if size is None:
            scale = SHORTER / min(frame.size)
            size = (round(frame.width * scale), round(frame.height * scale))
        image = np.asarray(frame.resize(size, Image.Resampling.BICUBIC)).astype(np.float32)
        labels = np.zeros(image.shape[:2], np.uint8)
        t = number / (FRAMES - 1)
        for i, thing in enumerate(things):
            (x, y), (dx, dy, phase, spin, zoom) = starts[i], paths[i]
            x = x + dx * t + 0.05 * math.sin(4 * t + phase)
            y = y + dy * t + 0.05 * math.cos(3 * t + phase)
            if i == 0:  # leaves to the nearer side and returns
                x += math.copysign(1.1, x - 0.5) * max(0.0, math.sin(math.pi * min(1.0, max(0.0, (t - 0.25) / 0.5))))
            if i == len(things) - 1:  # passes in front of the second object
                sx, sy = starts[1]
                x, y = sx + 1.4 * (t - 0.5), sy + 0.05 * math.sin(5 * t)
            label = 0 if i == len(things) - 1 else i + 1
            thing.draw(image, labels, label, (x * size[0], y * size[1]), (spin * t, math.exp(zoom * t)), t)
        Image.fromarray(np.clip(image, 0, 255).astype(np.uint8)).save(out / "frames" / f"{number:05d}.jpg", quality=92)
        mask = Image.fromarray(labels)
        mask.putpalette(palette().tobytes())
        mask.save(out / "masks" / f"{number:05d}.png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=Path, required=True, help="folder of photographs with SOURCES.csv and clips/")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    rng = np.random.default_rng(18)
    photographs = [photograph for photograph in list_photographs(arguments.photos) if photograph.held_out]
    for clip in sorted((arguments.photos / "clips").glob("*.mp4")):
        chosen = rng.choice(len(photographs), 4, replace=False)
        photos = [read_photograph(photographs[i].path, 320).astype(np.float32) for i in chosen]
        make(clip, photos, arguments.out / f"davis-{clip.stem}", rng)


if __name__ == "__main__":
    main()
