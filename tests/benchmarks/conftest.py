"""A tiny dataset on disk: textured squares that drift over a textured ground."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from undertow.masks import write_label_map

HEIGHT, WIDTH = 48, 64


def texture(seed: int, height: int, width: int) -> np.ndarray:
    """Smooth random colours, so that optical flow has something to hold on to."""
    coarse = np.random.default_rng(seed).integers(0, 256, (height // 4, width // 4, 3), np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def scene(step: int, objects: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Image and label map: object 1 moves right and object 2 down, a pixel per step."""
    image, labels = texture(0, HEIGHT, WIDTH).copy(), np.zeros((HEIGHT, WIDTH), np.uint16)
    for number, (top, left) in enumerate([(6, 6 + step), (24 + step, 40)][:objects], start=1):
        image[top : top + 16, left : left + 20] = texture(number, 16, 20)
        labels[top : top + 16, left : left + 20] = number
    return image, labels


def write_sequence(frames: Path, masks: Path, count: int, objects: int = 1) -> None:
    frames.mkdir(parents=True)
    for step in range(count):
        image, labels = scene(step, objects)
        Image.fromarray(image).save(frames / f"{step:05d}.jpg", quality=95)
        write_label_map(masks / f"{step:05d}.png", labels)


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """A dataset of two sequences in the folders layout, the second with two objects."""
    for name, count, objects in [("one", 6, 1), ("two", 7, 2)]:
        write_sequence(tmp_path / f"davis-{name}/frames", tmp_path / f"davis-{name}/masks", count, objects)
    return tmp_path


@pytest.fixture
def make_tree(tmp_path: Path) -> Callable[[str], Path]:
    """Writes the standard tree of a year, with two objects in each of two sequences."""

    def make(year: str) -> Path:
        for name in ("bear", "swan"):
            write_sequence(tmp_path / "JPEGImages/480p" / name, tmp_path / "Annotations/480p" / name, 5, 2)
        lists = tmp_path / "ImageSets" / year
        lists.mkdir(parents=True)
        (lists / "val.txt").write_text("swan\nbear\n")
        (lists / "train.txt").write_text("bear\n")
        return tmp_path

    return make
