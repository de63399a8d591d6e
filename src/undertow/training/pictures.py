"""What `tiny` and `tiny-sam` learn from: scenes, and views or composites of photographs, kept in shards on disk.

A shard is a pure function of its number, so any process may make any shard and an interrupted one is made again.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from jaxtyping import UInt8

from undertow.base import atomic_path, write_text
from undertow.training.learner import make_missing
from undertow.world import FIRST_VALIDATION_SEED, Scene, WorldSettings, make_scene
from undertow.world.composites import CompositeSettings, make_composite
from undertow.world.photographs import Photograph, read_photograph
from undertow.world.view_pairs import READ_AT, PairSettings, make_pair

SCENES_PER_SHARD = 200
SEGMENT_SCENES = 100


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
class PhotoSettings:
    """How photographs take part.

    Attributes:
        shards: Number of shards of 200 pairs of views.
        photographs: How many of them a shard is made from.
        share: Share of the denoiser's examples that come from them.
        pairs: How two views differ.
        seed: Of all draws.
    """

    shards: int = 40
    photographs: int = 50
    share: float = 0.5
    pairs: PairSettings = field(default_factory=PairSettings)
    seed: int = 0


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
    for seed in training_seeds(number, SCENES_PER_SHARD):
        scene = make_scene(seed, settings.world)
        for time in (0.0, 40.0):
            picture = scene.picture(time)
            images.append(picture.image)
            masks.append((picture.labels > 0).astype(np.uint8) * 255)
            captions.append(scene.caption)
    _write_shard(folder, number, images, masks, captions)


def make_photo_shard(folder: Path, number: int, settings: PhotoSettings, photographs: Sequence[Photograph]) -> None:
    """Draws shard `number` of view pairs into `folder`, unless it is there already.

    Pictures 2i and 2i + 1 are views of one photograph, the masks show the pieces that move on their own, and no
    picture has a caption.
    """
    if (folder / f"{number:05d}.json").exists():
        return
    random, read = drawn_photographs(number, settings, photographs)
    images, masks = [], []
    for pair in range(SCENES_PER_SHARD):
        views = make_pair(random, read[pair % len(read)], read, settings.pairs)
        images += list(views.images)
        masks += [views.mask(0), views.mask(1)]
    _write_shard(folder, number, images, masks, [""] * len(images))


def _write_shard(folder: Path, number: int, images: list[Any], masks: list[Any], captions: list[str]) -> None:
    """Writes a shard, the captions last, by which it is known to be whole."""
    _write_arrays(folder, number, {"images": images, "masks": masks})
    write_text(folder / f"{number:05d}.json", json.dumps(captions))


def open_shard(folder: Path, number: int) -> Shard:
    """Returns a finished shard."""
    images, masks = _open_arrays(folder, number, "images", "masks")
    return Shard(images, masks, json.loads((folder / f"{number:05d}.json").read_text()))


def make_shards(folder: Path, settings: PictureSettings, processes: int) -> Iterator[int]:
    """Makes every missing shard with `processes` processes, yielding the number of each as it is finished."""
    return make_missing(partial(make_shard, folder, settings=settings), folder, "json", settings.shards, processes)


def make_photo_shards(
    folder: Path, settings: PhotoSettings, photographs: Sequence[Photograph], processes: int
) -> Iterator[int]:
    """Makes every missing shard of view pairs, as `make_shards` does; held-out photographs are skipped."""
    seen = [photograph for photograph in photographs if not photograph.held_out]
    make = partial(make_photo_shard, folder, settings=settings, photographs=seen)
    return make_missing(make, folder, "json", settings.shards, processes)


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
class SegmentPhotoSettings:
    """How photographs take part.

    Attributes:
        shards: Number of shards of 200 composites.
        photographs: How many of them a shard is made from.
        share: Share of the crops that are cut from composites.
        composites: What these are made of.
        seed: Of all draws.
    """

    shards: int = 12
    photographs: int = 80
    share: float = 0.7
    composites: CompositeSettings = field(default_factory=CompositeSettings)
    seed: int = 0


@dataclass(frozen=True)
class SegmentShard:
    """Pictures of one shard, memory-mapped.

    Attributes:
        images: RGB.
        objects: Number of the object that each pixel shows, 0 for the background.
        parts: Number of the material that shows at each pixel of an object, from 1; 0 for the background.
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
    if (folder / f"{number:05d}.images.npy").exists():
        return
    pictures: dict[str, list[UInt8[np.ndarray, "h w *c"]]] = {"parts": [], "objects": [], "images": []}
    for seed in training_seeds(number, SEGMENT_SCENES):
        scene = make_scene(seed, settings.world)
        # Other poses, another view, new overlaps.
        for time in (0.0, 60.0):
            picture = scene.picture(time)
            pictures["images"].append(picture.image)
            pictures["objects"].append(picture.labels.astype(np.uint8))
            pictures["parts"].append(part_map(scene, time))
    _write_arrays(folder, number, pictures)


def open_segment_shard(folder: Path, number: int) -> SegmentShard:
    """Returns a finished shard."""
    return SegmentShard(*_open_arrays(folder, number, "images", "objects", "parts"))


def make_segment_shards(folder: Path, settings: SegmentPictureSettings, processes: int) -> Iterator[int]:
    """Makes every missing shard with `processes` processes, yielding the number of each as it is finished."""
    make = partial(make_segment_shard, folder, settings=settings)
    return make_missing(make, folder, "images.npy", settings.shards, processes)


def make_composite_shard(
    folder: Path, number: int, settings: SegmentPhotoSettings, photographs: Sequence[Photograph]
) -> None:
    """Draws shard `number` of composites into `folder`, unless it is there already; the images are written last."""
    if (folder / f"{number:05d}.images.npy").exists():
        return
    random, read = drawn_photographs(number, settings, photographs)
    pictures: dict[str, list[UInt8[np.ndarray, "h w *c"]]] = {"parts": [], "objects": [], "images": []}
    for index in range(2 * SEGMENT_SCENES):
        made = make_composite(random, read[index % len(read)], read, settings.composites)
        pictures["images"].append(made.image)
        pictures["objects"].append(made.objects)
        pictures["parts"].append(made.parts)
    _write_arrays(folder, number, pictures)


def make_composite_shards(
    folder: Path, settings: SegmentPhotoSettings, photographs: Sequence[Photograph], processes: int
) -> Iterator[int]:
    """Makes every missing shard of composites, as `make_segment_shards` does; held-out photographs are skipped."""
    seen = [photograph for photograph in photographs if not photograph.held_out]
    make = partial(make_composite_shard, folder, settings=settings, photographs=seen)
    return make_missing(make, folder, "images.npy", settings.shards, processes)


class PhotoShards(Protocol):
    """Settings of shards that are made from photographs."""

    @property
    def photographs(self) -> int:
        """How many of them a shard is made from."""
        ...

    @property
    def seed(self) -> int:
        """Of all draws."""
        ...


def drawn_photographs(
    number: int, settings: PhotoShards, photographs: Sequence[Photograph]
) -> tuple[np.random.Generator, list[UInt8[np.ndarray, "_ _ 3"]]]:
    """Returns the random numbers of shard `number`, and the photographs that it is made from."""
    random = np.random.default_rng((settings.seed, number))
    chosen = random.permutation(len(photographs))[: settings.photographs]
    return random, [read_photograph(photographs[index].path, READ_AT) for index in chosen]


def training_seeds(number: int, count: int, first: int = 0) -> range:
    """Returns the seeds of the scenes in shard `number`, of `count` each, the first shard beginning at `first`.

    Raises:
        ValueError: if some of them are held out for validation or benchmarks.
    """
    seeds = range(first + number * count, first + (number + 1) * count)
    if seeds.stop > FIRST_VALIDATION_SEED:
        raise ValueError("training seeds must stay below the held-out ones")
    return seeds


def _write_arrays(folder: Path, number: int, pictures: Mapping[str, Sequence[np.ndarray]]) -> None:
    """Writes the arrays of a shard in the order given."""
    for name, arrays in pictures.items():
        with atomic_path(folder / f"{number:05d}.{name}.npy") as path:
            np.save(path, np.stack(arrays), allow_pickle=False)


def _open_arrays(folder: Path, number: int, *names: str) -> Iterator[np.ndarray]:
    return (np.load(folder / f"{number:05d}.{name}.npy", mmap_mode="r") for name in names)
