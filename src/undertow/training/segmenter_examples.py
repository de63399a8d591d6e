"""One training batch for the segmenter: crops of pictures and, for each, masks that may be asked for.

A click on an object of several materials may mean the object or the part of it that was hit. Both occur as targets, so
that the network has something to be unsure about: that is what its three masks per click are for.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor
from torch.nn.functional import interpolate

from undertow.refinement import normalise
from undertow.training.segmenter_pictures import SegmentShard


@dataclass(frozen=True)
class ExampleSettings:
    """How crops and targets are drawn.

    Args:
        targets: Masks asked for in each crop.
        parts: Share of targets that are one material of an object rather than the whole object.
        smallest: Smallest area of a target, in pixels of the masks that the network gives.
        zoom: Smallest side of a crop, as a share of the picture's.
        narrow: Share of crops that are not square; they are padded as other pictures are.
        recolour: Share of crops whose colour channels are permuted or made grey.
    """

    targets: int = 5
    parts: float = 0.25
    smallest: int = 24
    zoom: float = 0.5
    narrow: float = 0.5
    recolour: float = 0.3


@dataclass(frozen=True)
class Batch:
    """Crops with their targets.

    Attributes:
        pixels: normalised pictures, zero where they are padded.
        masks: what is asked for, `targets` masks for each picture, at half the size of the picture.
        whole: whether a target is a whole object rather than a part.
    """

    pixels: Float[Tensor, "b 3 s s"]
    masks: Float[Tensor, "b p half half"]
    whole: Bool[Tensor, "b p"]


def draw_batch(
    shards: Sequence[SegmentShard], random: np.random.Generator, crops: int, side: int, settings: ExampleSettings
) -> Batch:
    """Returns `crops` crops of `side` pixels; crops in which no object is large enough are drawn again."""
    pixels: list[Tensor] = []
    masks: list[Tensor] = []
    whole: list[Bool[np.ndarray, " p"]] = []
    while len(pixels) < crops:
        shard = shards[int(random.integers(len(shards)))]
        number = int(random.integers(len(shard.images)))
        image, labels = _crop(shard, number, random, side, settings)
        targets = _targets(labels[0], labels[1], random, settings)
        if targets is None:
            continue
        pixels.append(image)
        masks.append(targets[0])
        whole.append(targets[1])
    return Batch(torch.stack(pixels), torch.stack(masks), torch.from_numpy(np.stack(whole)))


def _crop(
    shard: SegmentShard, number: int, random: np.random.Generator, side: int, settings: ExampleSettings
) -> tuple[Float[Tensor, "3 s s"], UInt8[np.ndarray, "2 half half"]]:
    """Returns a recoloured, turned, resized and padded crop, and the object and part of each pixel of its masks."""
    height, width = shard.images.shape[1:3]
    extent = float(random.uniform(settings.zoom, 1)) * min(height, width)
    aspect = float(random.uniform(0.5, 1)) if random.random() < settings.narrow else 1.0
    sides = (extent, extent * aspect) if random.random() < 0.5 else (extent * aspect, extent)
    tall, wide = (round(each) for each in sides)
    top, left = int(random.integers(height - tall + 1)), int(random.integers(width - wide + 1))
    window = (number, slice(top, top + tall), slice(left, left + wide))
    image = np.array(shard.images[window])
    labels = np.stack([shard.objects[window], shard.parts[window]])
    if random.random() < 0.5:
        image, labels = image[:, ::-1], labels[:, :, ::-1]
    if random.random() < 0.5:
        image, labels = image.transpose(1, 0, 2), labels.transpose(0, 2, 1)
    image = _recoloured(image, random, settings)
    scale = side / max(image.shape[:2])
    size = [max(2, round(extent * scale)) for extent in image.shape[:2]]
    picture = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None].float()
    picture = interpolate(picture, size=size, mode="bilinear", antialias=True, align_corners=False)
    pixels = torch.zeros(3, side, side)
    pixels[:, : size[0], : size[1]] = normalise(picture)[0]
    half = [max(1, round(extent / 2)) for extent in size]
    centres = [
        ((np.arange(new) + 0.5) * old / new).astype(int) for new, old in zip(half, labels.shape[1:], strict=True)
    ]
    small = np.zeros((2, side // 2, side // 2), np.uint8)
    small[:, : half[0], : half[1]] = labels[:, centres[0][:, None], centres[1][None]]
    return pixels, small


def _recoloured(
    image: UInt8[np.ndarray, "h w 3"], random: np.random.Generator, settings: ExampleSettings
) -> UInt8[np.ndarray, "h w 3"]:
    """Returns the image with other colours now and then, and always with another contrast and brightness."""
    if random.random() < settings.recolour:
        if random.random() < 0.3:
            image = np.repeat(image[..., int(random.integers(3)), None], 3, axis=2)
        else:
            image = image[..., random.permutation(3)]
    gain, shift = float(np.exp(random.normal(0, 0.15))), float(random.normal(0, 12))
    return np.clip((image.astype(np.float32) - 128) * gain + 128 + shift, 0, 255).astype(np.uint8)


def _targets(
    objects: UInt8[np.ndarray, "h w"],
    parts: UInt8[np.ndarray, "h w"],
    random: np.random.Generator,
    settings: ExampleSettings,
) -> tuple[Float[Tensor, "p h w"], Bool[np.ndarray, " p"]] | None:
    """Returns masks to ask for and which of them are whole objects, or `None` if no object is large enough."""
    ids, areas = np.unique(objects, return_counts=True)
    large = [int(i) for i, area in zip(ids, areas, strict=True) if i and area >= settings.smallest]
    if not large:
        return None
    masks, whole = [], []
    for _ in range(settings.targets):
        mask = objects == large[int(random.integers(len(large)))]
        part = None
        if random.random() < settings.parts:
            # The part under a random pixel of the object, as a click would choose it.
            hit = random.choice(parts[mask])
            part = mask & (parts == hit)
            if not settings.smallest <= part.sum() <= 0.9 * mask.sum():
                part = None
        masks.append(mask if part is None else part)
        whole.append(part is None)
    return torch.from_numpy(np.stack(masks)).float(), np.array(whole)
