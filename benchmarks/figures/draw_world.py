"""Draws a contact sheet of each family of the procedural world, or prints how fast it draws.

python benchmarks/figures/draw_world.py docs/images [FAMILY ...]
python benchmarks/figures/draw_world.py --speed
"""

import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image

from undertow.drawing import overlay
from undertow.world import FAMILIES, make_family_scene, make_scene

TIMES = (0, 12, 24, 36, 47)
SEEDS = (1, 2, 3, 4)
WIDTH = 240
LARGEST = 150_000


def sheet(name: str) -> Image.Image:
    """One row per scene, one column per time, every object outlined in its own colour."""
    rows = []
    for seed in SEEDS:
        scene = make_family_scene(name, seed)
        shown = (scene.picture(float(at)) for at in TIMES)
        panels = [Image.fromarray(overlay(each.image, each.labels, alpha=0.0)) for each in shown]
        height = round(WIDTH * scene.size[0] / scene.size[1])
        rows.append(np.hstack([np.asarray(p.resize((WIDTH, height), Image.Resampling.LANCZOS)) for p in panels]))
    return Image.fromarray(np.vstack(rows))


def save(image: Image.Image, path: Path) -> None:
    """Saves as JPEG in the best quality that stays below the size allowed."""
    for quality in range(85, 20, -5):
        image.save(path, quality=quality, optimize=True, progressive=True)
        if path.stat().st_size < LARGEST:
            return


def speed() -> None:
    """Prints scenes, pictures and label maps per second of processor time, so that other processes do not count."""
    start, scenes = time.process_time(), 60
    for seed in range(scenes):
        make_scene(seed).picture()
    print(f"160x160, new scene and one picture: {scenes / (time.process_time() - start):.1f} scenes per second")
    make, draw, truth, frames = 0.0, 0.0, 0.0, 12
    names = [name for name in FAMILIES if name != "leaves"]
    for name in names:
        start = time.process_time()
        scene = make_family_scene(name, 1)
        made = time.process_time()
        for _ in scene.clip(frames):
            pass
        drawn = time.process_time()
        for at in range(frames):
            scene.labels(float(at))
        make, draw, truth = make + made - start, draw + drawn - made, truth + time.process_time() - drawn
    total = frames * len(names)
    print(f"270x480, new scene: {make / len(names):.2f} s; pictures: {total / draw:.1f} per second", end="; ")
    print(f"label maps alone: {total / truth:.1f} per second")


def main():
    if "--speed" in sys.argv:
        return speed()
    folder = Path(sys.argv[1])
    for name in sys.argv[2:] or FAMILIES:
        save(sheet(name), folder / f"world-{name}.jpg")


if __name__ == "__main__":
    main()
