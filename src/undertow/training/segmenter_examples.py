"""One training batch for the segmenter: crops, masks that may be asked for, and prompts made from these masks.

A click on an object of several materials may mean the object or the part of it that was hit. Both occur as targets, so
that the network has something to be unsure about: that is what its three masks per click are for. Prompts are clicks,
loose boxes and damaged masks, as a person or a tracker would give them. Their places are (x, y) in pixels of the
network's input; masks have half its size, so that mask pixel (i, j) has its centre at (2j + 1, 2i + 1).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Generator, Tensor
from torch.nn.functional import adaptive_avg_pool2d, interpolate

from undertow.refinement import normalise
from undertow.training.pictures import SegmentShard


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
        pixels: Normalised pictures, zero where they are padded.
        masks: What is asked for, `targets` masks for each picture, at half the size of the picture.
        whole: Whether a target is a whole object rather than a part.
    """

    pixels: Float[Tensor, "b 3 s s"]
    masks: Float[Tensor, "b p half half"]
    whole: Bool[Tensor, "b p"]


def draw_batch(
    shards: Sequence[SegmentShard],
    random: np.random.Generator,
    crops: int,
    side: int,
    settings: ExampleSettings,
    chances: Float[np.ndarray, " shards"] | None = None,
) -> Batch:
    """Returns `crops` crops of `side` pixels; crops in which no object is large enough are drawn again.

    `chances` are those of the shards, where they differ.
    """
    pixels: list[Tensor] = []
    masks: list[Tensor] = []
    whole: list[Bool[np.ndarray, " p"]] = []
    while len(pixels) < crops:
        chosen = random.integers(len(shards)) if chances is None else random.choice(len(shards), p=chances)
        shard = shards[int(chosen)]
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


def clicks(mask: Bool[Tensor, "n h w"], count: int, random: Generator) -> Float[Tensor, "n count 2"]:
    """Returns `count` places (x, y) drawn from each mask, uniform and independent; an empty mask is hit anywhere."""
    chances = mask.flatten(1).float()
    chances[chances.sum(1) == 0] = 1
    cells = torch.multinomial(chances, count, replacement=True, generator=random)
    corner = torch.stack([cells % mask.shape[2], cells // mask.shape[2]], -1)
    return 2 * (corner + torch.rand(corner.shape, generator=random))


def corrections(
    wanted: Bool[Tensor, "n h w"], found: Bool[Tensor, "n h w"], random: Generator
) -> tuple[Float[Tensor, "n 1 2"], Int[Tensor, "n 1"]]:
    """Returns a click in the error region of each mask and its label: 1 if something is missing, 0 if too much is.

    Where nothing is wrong, the click falls on the mask.
    """
    wrong = wanted ^ found
    nothing = ~wrong.flatten(1).any(1)
    places = clicks(torch.where(nothing[:, None, None], wanted, wrong), 1, random)
    column, row = (places[:, 0] / 2).long().unbind(1)
    return places, wanted[torch.arange(len(wanted)), row, column].long()[:, None]


def loose_boxes(mask: Bool[Tensor, "n h w"], jitter: float, random: Generator) -> Float[Tensor, "n 4"]:
    """Returns the box (x0, y0, x1, y1) around each mask that is not empty, each side moved at random.

    `jitter` is the deviation of a side as a share of the box's extent along that axis; at most 20 pixels, as in SAM.
    """
    sides = []
    for axis in (1, 2):
        some = mask.any(axis)
        last = some.shape[1] - some.flip(1).float().argmax(1)
        sides.append(torch.stack([some.float().argmax(1), last], 1) * 2.0)
    across, down = sides
    box = torch.stack([across[:, 0], down[:, 0], across[:, 1], down[:, 1]], 1)
    extent = (box[:, 2:] - box[:, :2]).repeat(1, 2)
    moved = box + (torch.randn(box.shape, generator=random) * jitter * extent).clamp(-20, 20)
    # A box never turns inside out.
    low, high = moved[:, :2], moved[:, 2:]
    return torch.cat([torch.minimum(low, high - 1), torch.maximum(high, low + 1)], 1).clamp(0, 2.0 * mask.shape[2])


def damaged_logits(mask: Float[Tensor, "n h w"], random: Generator) -> Float[Tensor, "n h w"]:
    """Returns each mask as a tracker on a coarse grid would give it, as logits of -8 to 8.

    It is averaged to cells of 1.5 to 6 mask pixels, moved by up to half a cell and enlarged again, and smooth noise is
    added, weak or strong, fine or coarse: it shifts borders, tears pieces out and lets neighbouring ground in. The
    logits are those of what comes out as a probability.
    """
    side = mask.shape[1]

    def uniform(low: float, high: float) -> float:
        return low + (high - low) * float(torch.rand((), generator=random))

    def enlarged(coarse: Tensor) -> Tensor:
        return interpolate(coarse, size=(side, side), mode="bilinear", align_corners=False)[:, 0]

    cells = max(2, round(side / uniform(1.5, 6)))
    reach = side // (2 * cells)
    shift = torch.randint(-reach, reach + 1, (2,), generator=random).tolist()
    soft = enlarged(adaptive_avg_pool2d(torch.roll(mask, shift, (1, 2))[:, None], cells))
    knots = int(torch.randint(4, 17, (), generator=random))
    noise = enlarged(torch.randn(len(mask), 1, knots, knots, generator=random))
    level = uniform(-0.15, 0.15)
    return torch.logit(soft + uniform(0.02, 0.3) * noise + level, eps=1e-4).clamp(-8, 8)
