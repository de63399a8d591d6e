"""Which size a frame is shown to the model at, and the one way in which it is brought to it."""

import math
from typing import Literal

import numpy as np
import torch
from jaxtyping import UInt8

from undertow.backbones.observation import Images
from undertow.base import SettingsError


def fit_size(
    height: int, width: int, *, tokens: int, stride: int, multiple: int, fit: Literal["aspect", "squash"] = "aspect"
) -> tuple[int, int]:
    """Returns the (height, width) in pixels that gives about `tokens` tokens of `stride` pixels.

    Each side is the multiple of `multiple` nearest, as a ratio, to its ideal, which errs as little on the area as on
    the aspect ratio. A 480x854 frame with 9216 tokens of 8 pixels becomes 576x1024, exactly 9216.

    Args:
        height: Of the frame, in pixels.
        width: Of the frame, in pixels.
        tokens: Wished number of tokens.
        stride: Pixels per side of a token.
        multiple: What both sides must be divisible by.
        fit: `aspect` keeps the aspect ratio; `squash` makes a square, as the DRIFT paper does.

    Raises:
        SettingsError: if a number is not positive or `fit` is unknown.
    """
    if min(height, width, tokens) < 1:
        raise SettingsError(f"a {width}x{height} frame with {tokens} tokens has no size; all three must be 1 or more")
    if fit not in ("aspect", "squash"):
        raise SettingsError(f"fit '{fit}' is not one of aspect, squash")
    aspect = width / height if fit == "aspect" else 1.0
    side = math.sqrt(tokens) * stride
    # A strip so thin that its short side is less than one multiple gives up its aspect ratio, not the budget.
    thinnest = max(1.0, side / multiple) ** 2
    aspect = min(max(aspect, 1 / thinnest), thinnest)
    return _nearest(side / math.sqrt(aspect), multiple), _nearest(side * math.sqrt(aspect), multiple)


def _nearest(ideal: float, multiple: int) -> int:
    """Returns the multiple nearest to `ideal` in ratio, at least one."""
    below = max(1, math.floor(ideal / multiple)) * multiple
    return below if ideal / below <= (below + multiple) / ideal else below + multiple


def resize(images: Images, size: tuple[int, int]) -> UInt8[np.ndarray, "f H W 3"]:
    """Returns images at (height, width), by bicubic filtering with antialiasing (docs/decisions/0012-one-resizer.md).

    That happens in bytes and on the CPU, so that a model is shown the same pixels wherever it is.
    """
    if images.shape[1:3] == size:
        return images
    pixels = torch.from_numpy(np.require(images, requirements=["C", "W"])).movedim(-1, 1)
    resized = torch.nn.functional.interpolate(pixels, size, mode="bicubic", antialias=True)
    return np.ascontiguousarray(resized.movedim(1, -1).numpy())
