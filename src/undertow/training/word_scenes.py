"""Training pictures of `tiny-words`: calm scenes and worlds, drawn once, kept as latents with what can be said of them.

A shard is a pure function of its number and the autoencoder. Each scene gives two examples, the second one mirrored.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from jaxtyping import Float
from torch import Tensor

from undertow.base import atomic_path, write_text
from undertow.training.video_clips import encode_frames
from undertow.training.word_captions import Mention, mentions_of
from undertow.world import FAMILIES, FIRST_VALIDATION_SEED, TRACKING_FAMILIES, Scene
from undertow.world.calm import calm_scene
from undertow.world.photographs import Photograph, list_photographs, read_photograph

# Far above the seeds of `tiny` and of `tiny-video`.
FIRST_SCENE_SEED = 300_000_000
SCENES_PER_SHARD = 100


@dataclass(frozen=True)
class Lot:
    """Shards of one kind: how many, (height, width) of the pictures, and shares of what they show.

    What is neither `worlds`, of all families, nor in front of `photographs` is a calm scene on a quiet ground.
    """

    name: str
    shards: int
    size: tuple[int, int]
    worlds: float = 0.0
    photographs: float = 0.0


def draw_word_scene(seed: int, lot: Lot, photographs: Sequence[Photograph]) -> Scene:
    """Returns the scene of `seed`."""
    random = np.random.default_rng((seed, 31))
    kind = random.random()
    if kind < lot.worlds:
        family = FAMILIES[str(random.choice(TRACKING_FAMILIES))]
        height, width = lot.size
        return family.build(seed, replace(family.settings, height=height, width=width, leaves=50))
    behind = None
    if photographs and kind < lot.worlds + lot.photographs:
        shorter = int(max(lot.size) * random.uniform(1.5, 2.5))
        behind = read_photograph(photographs[int(random.integers(len(photographs)))].path, shorter)
    return calm_scene(seed, lot.size, behind)


def make_word_shard(
    folder: Path, number: int, first: int, lot: Lot, photographs: Sequence[Photograph], vae: AutoencoderKL
) -> bool:
    """Draws and encodes shard `number` of a lot, whose seeds begin at `first`; what is said of it is written last.

    Returns:
        Whether there was anything to do.

    Raises:
        ValueError: if there are so many scenes that their seeds run into the held-out ones.
    """
    done = folder / f"{number:05d}.json"
    if done.exists():
        return False
    images: list[np.ndarray] = []
    said: list[list[Mention]] = []
    begin = FIRST_SCENE_SEED + first + number * SCENES_PER_SHARD
    if begin + SCENES_PER_SHARD > FIRST_VALIDATION_SEED:
        raise ValueError("training seeds must stay below the held-out ones")
    for seed in range(begin, begin + SCENES_PER_SHARD):
        scene = draw_word_scene(seed, lot, photographs)
        image, mentions = scene.picture(0.0).image, mentions_of(scene)
        images += [image, np.ascontiguousarray(image[:, ::-1])]
        said += [mentions, [each.mirrored() for each in mentions]]
    latents = encode_frames(vae, np.stack(images))
    with atomic_path(folder / f"{number:05d}.latents.npy") as path:
        np.save(path, latents, allow_pickle=False)
    write_text(done, json.dumps([[asdict(each) for each in mentions] for mentions in said]))
    return True


def make_word_shards(work: Path, lots: Sequence[Lot], photos: Path | None, vae: AutoencoderKL) -> Iterator[bool]:
    """Makes every missing shard of every lot, yielding after each whether there was anything to do."""
    # Photographs that are held out are those on which `tiny` is validated.
    usable = [each for each in list_photographs(photos) if not each.held_out] if photos else []
    first = 0
    for lot in lots:
        folder = work / lot.name
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(lot.shards):
            yield make_word_shard(folder, number, first, lot, usable, vae)
        first += lot.shards * SCENES_PER_SHARD


class WordStore:
    """Latents of the finished shards of one lot and what can be said of each; float16 on disk, memory-mapped."""

    def __init__(self, folder: Path, scaling_factor: float):
        self.scaling_factor = scaling_factor
        self.latents = [np.load(path, mmap_mode="r") for path in sorted(folder.glob("*.latents.npy"))]
        self.mentions = [
            [[Mention(**each) for each in said] for said in json.loads(path.read_text())]
            for path in sorted(folder.glob("*.json"))
        ]
        self._places = [
            ((shard, index), len(said)) for shard, each in enumerate(self.mentions) for index, said in enumerate(each)
        ]

    def draw(
        self, random: np.random.Generator, count: int, most: int
    ) -> tuple[Float[Tensor, "n 4 h w"], list[list[Mention]]]:
        """Returns scaled latents of pictures with at most `most` objects, and what can be said of each."""
        fitting = [place for place, said in self._places if said <= most]
        places = [fitting[int(index)] for index in random.integers(len(fitting), size=count)]
        latents = np.stack([self.latents[shard][index] for shard, index in places])
        scaled = torch.from_numpy(latents).float() * self.scaling_factor
        return scaled, [self.mentions[shard][index] for shard, index in places]
