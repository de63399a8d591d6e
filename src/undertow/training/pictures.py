"""Training pictures: scenes of the procedural world, drawn once and kept in shards on disk.

A shard is a pure function of its number, so any process may make any shard and an interrupted one is made again.
"""

import json
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from undertow.base import atomic_path, write_text
from undertow.world import FIRST_VALIDATION_SEED, WorldSettings, make_scene

SCENES_PER_SHARD = 200


@dataclass(frozen=True)
class PictureSettings:
    """What the pictures show and how many there are.

    Args:
        shards: Number of shards of 200 scenes; each scene gives two pictures, 40 frames apart.
        world: What scenes are made of.
    """

    shards: int = 76
    world: WorldSettings = field(default_factory=lambda: WorldSettings(photographs=0.45))


@dataclass(frozen=True)
class Shard:
    """Pictures of one shard, memory-mapped, with a black-and-white mask of each and the caption of its scene."""

    images: UInt8[np.ndarray, "n h w 3"]
    masks: UInt8[np.ndarray, "n h w"]
    captions: list[str]


def make_shard(folder: Path, number: int, settings: PictureSettings) -> None:
    """Draws shard `number` into `folder`, unless it is there already; the captions are written last."""
    done = folder / f"{number:05d}.json"
    if done.exists():
        return
    images, masks, captions = [], [], []
    for seed in range(number * SCENES_PER_SHARD, (number + 1) * SCENES_PER_SHARD):
        if seed >= FIRST_VALIDATION_SEED:
            raise ValueError("training seeds must stay below the held-out ones")
        scene = make_scene(seed, settings.world)
        for time in (0.0, 40.0):
            picture = scene.picture(time)
            images.append(picture.image)
            masks.append((picture.labels > 0).astype(np.uint8) * 255)
            captions.append(scene.caption)
    for name, arrays in (("images", images), ("masks", masks)):
        with atomic_path(folder / f"{number:05d}.{name}.npy") as path:
            np.save(path, np.stack(arrays), allow_pickle=False)
    write_text(done, json.dumps(captions))


def open_shard(folder: Path, number: int) -> Shard:
    """Returns a finished shard."""
    images, masks = (np.load(folder / f"{number:05d}.{name}.npy", mmap_mode="r") for name in ("images", "masks"))
    return Shard(images, masks, json.loads((folder / f"{number:05d}.json").read_text()))


def make_shards(folder: Path, settings: PictureSettings, processes: int) -> Iterator[int]:
    """Makes every missing shard with `processes` processes, yielding the number of each as it is finished."""
    folder.mkdir(parents=True, exist_ok=True)
    missing = [number for number in range(settings.shards) if not (folder / f"{number:05d}.json").exists()]
    if missing:
        with ProcessPoolExecutor(processes) as pool:
            yield from pool.map(_make, [(folder, number, settings) for number in missing])


def _make(job: tuple[Path, int, PictureSettings]) -> int:
    make_shard(*job)
    return job[1]
