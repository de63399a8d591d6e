"""What the segmenter learns from: pictures of many objects, with the object and the part that every pixel shows.

A shard is a pure function of its number, so any process may make any shard and an interrupted one is made again.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from undertow.base import atomic_path
from undertow.training.slices import make_missing
from undertow.world import FIRST_VALIDATION_SEED, Scene, WorldSettings, make_scene

SCENES_PER_SHARD = 100
# The second picture of a scene is taken this many frames after the first: other poses, another view, new overlaps.
SECOND_TIME = 60.0


def _many_objects() -> WorldSettings:
    return WorldSettings(height=256, width=256, leaves=50, objects=(2, 8), radius=(0.06, 0.36), photographs=0.45)


@dataclass(frozen=True)
class SegmentPictureSettings:
    """What the pictures show and how many there are.

    Args:
        shards: Number of shards of 100 scenes; each scene gives two pictures, 60 frames apart.
        world: What scenes are made of.
    """

    shards: int = 12
    world: WorldSettings = field(default_factory=_many_objects)


@dataclass(frozen=True)
class SegmentShard:
    """Pictures of one shard, memory-mapped.

    Attributes:
        images: RGB.
        objects: number of the object that each pixel shows, 0 for the background.
        parts: number of the material that shows at each pixel of an object, from 1; 0 for the background.
    """

    images: UInt8[np.ndarray, "n h w 3"]
    objects: UInt8[np.ndarray, "n h w"]
    parts: UInt8[np.ndarray, "n h w"]


def part_map(scene: Scene, time: float = 0.0) -> UInt8[np.ndarray, "h w"]:
    """Returns which of its object's materials each pixel shows, from 1, and 0 where no layer is.

    A material covers what `Thing.draw` paints with it, its soft border being cut in the middle.
    """
    parts = np.zeros(scene.size, dtype=np.uint8)
    for layer, pose in zip(scene.layers, scene.placed(time), strict=True):
        covered = layer.cover(scene.size, pose)
        if covered is None:
            continue
        window, coverage, u, v = covered
        owner = np.ones(coverage.shape, dtype=np.uint8)
        for index, (a, b, c) in enumerate(layer.parts, start=2):
            owner[np.sin(a * u + b * v + c) >= 0] = index
        inside = coverage >= 0.5
        parts[window][inside] = owner[inside]
    return parts


def make_segment_shard(folder: Path, number: int, settings: SegmentPictureSettings) -> None:
    """Draws shard `number` into `folder`, unless it is there already; the images are written last.

    Raises:
        ValueError: if its seeds are held out for validation or benchmarks.
    """
    if _file(folder, number, "images").exists():
        return
    pictures: dict[str, list[UInt8[np.ndarray, "h w *c"]]] = {"parts": [], "objects": [], "images": []}
    for seed in range(number * SCENES_PER_SHARD, (number + 1) * SCENES_PER_SHARD):
        if seed >= FIRST_VALIDATION_SEED:
            raise ValueError("training seeds must stay below the held-out ones")
        scene = make_scene(seed, settings.world)
        for time in (0.0, SECOND_TIME):
            picture = scene.picture(time)
            pictures["images"].append(picture.image)
            pictures["objects"].append(picture.labels.astype(np.uint8))
            pictures["parts"].append(part_map(scene, time))
    for name, arrays in pictures.items():
        with atomic_path(_file(folder, number, name)) as path:
            np.save(path, np.stack(arrays), allow_pickle=False)


def open_segment_shard(folder: Path, number: int) -> SegmentShard:
    """Returns a finished shard."""
    arrays = (np.load(_file(folder, number, name), mmap_mode="r") for name in ("images", "objects", "parts"))
    return SegmentShard(*arrays)


def make_segment_shards(folder: Path, settings: SegmentPictureSettings, processes: int) -> Iterator[int]:
    """Makes every missing shard with `processes` processes, yielding the number of each as it is finished."""
    make = partial(make_segment_shard, folder, settings=settings)
    return make_missing(make, folder, "images.npy", settings.shards, processes)


def _file(folder: Path, number: int, name: str) -> Path:
    return folder / f"{number:05d}.{name}.npy"
