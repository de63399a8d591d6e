"""Training clips of `tiny-video`: procedural scenes and moving photographs, drawn and encoded once, kept as latents.

A shard is a pure function of its number and the autoencoder, so an interrupted one is simply made again. Pictures are
not kept: sixteen thousand of them are 1 GB, their latents 170 MB.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from math import ceil
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from jaxtyping import Float16, UInt8

from undertow.base import atomic_path, write_text
from undertow.training.autoencoder import to_unit
from undertow.training.pictures import drawn_photographs
from undertow.world import FAMILIES, FIRST_VALIDATION_SEED, TRACKING_FAMILIES, Scene, scene_captions
from undertow.world.photographs import Photograph
from undertow.world.view_clips import ViewClipSettings, make_view_clip

# `tiny` learnt from seeds below 15 200; clips begin far above them and end far below validation.
FIRST_CLIP_SEED = 100_000_000


@dataclass(frozen=True)
class ClipSettings:
    """What the clips show and how many there are.

    Args:
        shards: Number of shards.
        scenes: Number of scenes in each shard; each gives one clip, and some a clip of masks besides.
        frames: Frames of a clip.
        size: Height and width of the pictures in pixels.
        spacings: Times between frames, in the world's frames; each clip draws one.
        motions: Scales of object and camera motion; each clip draws one.
        leaves: Share of scenes of the family `leaves`; the others are of all other families alike.
        photographs: Share of materials cut from public-domain photographs.
        masks: Share of scenes that also give a black-and-white clip, as white as there are objects.
        captions: Most captions of a scene.
    """

    shards: int = 24
    scenes: int = 100
    frames: int = 10
    size: tuple[int, int] = (144, 144)
    spacings: tuple[float, ...] = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
    motions: tuple[float, ...] = (0.6, 1.0, 1.5, 2.2)
    leaves: float = 0.4
    photographs: float = 0.45
    masks: float = 0.08
    captions: int = 6


@dataclass(frozen=True)
class PhotoClipSettings:
    """How photographs take part.

    Attributes:
        shards: Number of shards.
        clips: Number of clips in each.
        photographs: How many of them a shard is made from.
        share: Share of the examples that come from them.
        views: How the clips move.
        seed: Of all draws.
    """

    shards: int = 12
    clips: int = 100
    photographs: int = 100
    share: float = 0.5
    views: ViewClipSettings = field(default_factory=ViewClipSettings)
    seed: int = 0


@dataclass(frozen=True)
class ClipScene:
    """A scene, the times between the frames of its clip, whether to draw its masks too, and its captions."""

    scene: Scene
    spacing: float
    masks: bool
    captions: tuple[str, ...]


def draw_scene(number: int, settings: ClipSettings) -> ClipScene:
    """Returns the `number`-th scene; the same number and settings give the same one.

    Raises:
        ValueError: if there are so many scenes that their seeds run into the held-out ones.
    """
    seed = FIRST_CLIP_SEED + number
    if seed >= FIRST_VALIDATION_SEED:
        raise ValueError("training seeds must stay below the held-out ones")
    random = np.random.default_rng((seed, 23))
    others = [name for name in TRACKING_FAMILIES if name != "leaves"]
    family = FAMILIES["leaves" if random.random() < settings.leaves else str(random.choice(others))]
    spacing, motion = float(random.choice(settings.spacings)), float(random.choice(settings.motions))
    length = ceil(spacing * (settings.frames - 1)) + 1
    world = replace(
        family.settings,
        height=settings.size[0],
        width=settings.size[1],
        leaves=60,
        photographs=settings.photographs,
        motion=motion,
    )
    if family.name != "leaves":
        # Events are laid out so that they happen within the clip, but no faster than over 24 frames.
        world = replace(world, staging=replace(world.staging, frames=max(24, length)))
    scene = family.build(seed, world)
    sentences = (scene.caption, *scene_captions(scene, settings.captions - 1, length))
    return ClipScene(scene, spacing, bool(random.random() < settings.masks), tuple(dict.fromkeys(sentences)))


def make_clip_shard(folder: Path, number: int, settings: ClipSettings, vae: AutoencoderKL) -> bool:
    """Draws and encodes shard `number` into `folder`, unless it is there already; the captions are written last.

    Returns:
        Whether there was anything to do.
    """
    if (folder / f"{number:05d}.json").exists():
        return False
    latents, captions = [], []
    for index in range(number * settings.scenes, (number + 1) * settings.scenes):
        clip = draw_scene(index, settings)
        pictures = [clip.scene.picture(clip.spacing * frame) for frame in range(settings.frames)]
        latents.append(encode_frames(vae, np.stack([picture.image for picture in pictures])))
        captions.append(clip.captions)
        if clip.masks:
            masks = np.stack([picture.labels > 0 for picture in pictures]).astype(np.uint8) * 255
            latents.append(encode_frames(vae, np.repeat(masks[..., None], 3, axis=3)))
            captions.append(clip.captions)
    _write_shard(folder, number, latents, captions)
    return True


def make_clip_shards(folder: Path, settings: ClipSettings, vae: AutoencoderKL) -> Iterator[bool]:
    """Makes every missing shard, yielding after each whether there was anything to do."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(settings.shards):
        yield make_clip_shard(folder, number, settings, vae)


def make_photo_clip_shard(
    folder: Path, number: int, settings: PhotoClipSettings, photographs: Sequence[Photograph], vae: AutoencoderKL
) -> bool:
    """Draws and encodes shard `number` of clips of photographs, as `make_clip_shard` does; they have no captions."""
    if (folder / f"{number:05d}.json").exists():
        return False
    random, read = drawn_photographs(number, settings, photographs)
    clips = (make_view_clip(random, read[i % len(read)], read, settings.views) for i in range(settings.clips))
    latents = [encode_frames(vae, clip.images) for clip in clips]
    _write_shard(folder, number, latents, [[""]] * len(latents))
    return True


def make_photo_clip_shards(
    folder: Path, settings: PhotoClipSettings, photographs: Sequence[Photograph], vae: AutoencoderKL
) -> Iterator[bool]:
    """Makes every missing shard, as `make_clip_shards` does; held-out photographs are skipped."""
    folder.mkdir(parents=True, exist_ok=True)
    seen = [photograph for photograph in photographs if not photograph.held_out]
    for number in range(settings.shards):
        yield make_photo_clip_shard(folder, number, settings, seen, vae)


def _write_shard(folder: Path, number: int, latents: Sequence[np.ndarray], captions: Sequence[Sequence[str]]) -> None:
    """Writes a shard, the captions last, by which it is known to be whole."""
    with atomic_path(folder / f"{number:05d}.latents.npy") as path:
        np.save(path, np.stack(latents), allow_pickle=False)
    write_text(folder / f"{number:05d}.json", json.dumps(captions))


@torch.no_grad()
def encode_frames(vae: AutoencoderKL, frames: UInt8[np.ndarray, "t H W 3"]) -> Float16[np.ndarray, "t 4 h w"]:
    """Returns the latents of each frame on its own: posterior mode, unscaled."""
    device = next(vae.parameters()).device
    images = to_unit(torch.from_numpy(frames)).to(device)
    with torch.autocast(device.type, torch.bfloat16):
        mode = vae.encode(images).latent_dist.mode()
    return mode.half().cpu().numpy()
