"""Altered copies of a frame and its masks, which tuning never learns from: they tell when it has learned enough."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as functional
from jaxtyping import Float, UInt8
from torch import Tensor

VIEWS = 4


def altered_views(
    image: UInt8[np.ndarray, "h w 3"], masks: Float[Tensor, "o h w"], seed: int
) -> list[tuple[UInt8[np.ndarray, "h w 3"], Float[Tensor, "o h w"]]]:
    """Returns copies of a frame with its masks: flipped or cropped, each in other colours; the same size as given.

    Args:
        image: RGB frame.
        masks: The mask of each object in [0, 1], at the frame's size.
        seed: Of crops and colours.
    """
    random = np.random.default_rng(seed)
    views = []
    for number in range(VIEWS):
        crop = _random_crop(random, image.shape[:2], share=1.0 if number == 0 else 0.7)
        flip = number % 2 == 0
        picture = torch.from_numpy(_other_colours(random, image)).permute(2, 0, 1).float()
        stack = _view(torch.cat([picture, masks.float()]), crop, flip)
        pixels = stack[:3].round().clamp(0, 255).byte().permute(1, 2, 0).contiguous().numpy()
        views.append((pixels, stack[3:].clamp(0, 1)))
    return views


def soft_iou(found: Float[Tensor, "o n"], wanted: Float[Tensor, "o n"]) -> Float[Tensor, "o"]:
    """Returns Σ min / Σ max of soft masks in [0, 1]; 1 where both are empty."""
    least, most = torch.minimum(found, wanted).sum(-1), torch.maximum(found, wanted).sum(-1)
    return torch.where(most > 0, least / most.clamp(min=1e-9), torch.ones_like(most))


def _random_crop(random: np.random.Generator, size: Sequence[int], share: float) -> tuple[slice, slice]:
    """Returns rows and columns of a random rectangle whose sides are `share` of the frame's."""
    sides = [max(1, round(share * side)) for side in size]
    starts = [int(random.integers(whole - side + 1)) for whole, side in zip(size, sides, strict=True)]
    rows, columns = (slice(start, start + side) for start, side in zip(starts, sides, strict=True))
    return rows, columns


def _other_colours(random: np.random.Generator, image: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h w 3"]:
    """Returns the image in other light: gamma, contrast, and a gain of each channel."""
    gamma, contrast = np.exp(random.uniform(-0.25, 0.25)), random.uniform(0.8, 1.2)
    gains = np.exp(random.uniform(-0.12, 0.12, 3))
    light = (image / 255.0) ** gamma * gains
    light = (light - light.mean()) * contrast + light.mean()
    return np.clip(np.rint(255 * light), 0, 255).astype(np.uint8)


def _view(values: Float[Tensor, "c h w"], crop: tuple[slice, slice], flip: bool) -> Float[Tensor, "c h w"]:
    part = values[:, crop[0], crop[1]]
    part = part.flip(-1) if flip else part
    return functional.interpolate(part[None], values.shape[1:], mode="bilinear", align_corners=False)[0]
