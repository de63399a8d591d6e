"""From how a model answers a push up and a push down at a label's tokens, to the label of every pixel (VidSeg).

All of it is in float: images rounded to bytes before they are subtracted and squared wrap around, and differences
of 16, 32 or 48 count as none.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as functional
from jaxtyping import Float
from torch import Tensor

# A map is divided by its largest value plus this, when values are of the order of one.
LEAST = 1e-5


def difference(plus: Float[Tensor, "*n c h w"], minus: Float[Tensor, "*n c h w"]) -> Float[Tensor, "*n h w"]:
    """Returns the Euclidean distance of the channels of every pixel."""
    distance: Tensor = torch.linalg.vector_norm(plus.float() - minus.float(), dim=-3)
    return distance


def blur(maps: Float[Tensor, "*n h w"], size: int = 5, sigma: float = 3.0) -> Float[Tensor, "*n h w"]:
    """Returns the maps under a Gaussian of `size` by `size` pixels; borders are mirrored.

    Args:
        maps: any number of them.
        size: odd; 1 leaves them as they are.
        sigma: standard deviation in pixels.
    """
    radius = min(size // 2, maps.shape[-1] - 1, maps.shape[-2] - 1)
    if radius < 1:
        return maps
    offsets = torch.arange(-radius, radius + 1, device=maps.device, dtype=maps.dtype)
    kernel = (-0.5 * (offsets / sigma).square()).exp()
    kernel = kernel / kernel.sum()
    stacked = functional.pad(maps.reshape(-1, 1, *maps.shape[-2:]), (radius,) * 4, mode="reflect")
    rows = functional.conv2d(stacked, kernel.view(1, 1, -1, 1))
    return functional.conv2d(rows, kernel.view(1, 1, 1, -1)).view(maps.shape)


def normalise(maps: Float[Tensor, "*n h w"]) -> Float[Tensor, "*n h w"]:
    """Returns each map divided by its own largest value, which lifts small regions; an empty map stays 0."""
    peaks = maps.amax((-2, -1), keepdim=True)
    return maps / (peaks + LEAST * (peaks > 0)).clamp(min=torch.finfo(maps.dtype).tiny)


def favour(maps: Float[Tensor, "*n h w"], masks: Float[Tensor, "*n h w"], s: float) -> Float[Tensor, "*n h w"]:
    """Returns the maps, s times as high outside of the coarse masks: D ← D (M + s (1 - M))."""
    return maps * (masks + s * (1 - masks))


def enlarge(masks: Float[Tensor, "*n gh gw"], size: Sequence[int]) -> Float[Tensor, "*n h w"]:
    """Returns coarse masks at (height, width), with soft edges that stay within 0 and 1.

    Bicubic instead of the paper's Lanczos; both are clipped here.
    """
    stacked = masks.reshape(1, -1, *masks.shape[-2:]).float()
    resized = functional.interpolate(stacked, tuple(size), mode="bicubic").clamp(0, 1)
    return resized.view(*masks.shape[:-2], *size)


def blend(
    latents: Float[Tensor, "n c h w"], original: Float[Tensor, "n c h w"], masks: Float[Tensor, "n gh gw"]
) -> Float[Tensor, "n c h w"]:
    """Returns the latents inside of the masks and the original ones outside: x ← x M + x₀ (1 - M)."""
    inside = functional.interpolate(masks[:, None].float(), latents.shape[2:], mode="nearest")
    return latents * inside + original * (1 - inside)


def probabilities(maps: Float[Tensor, "m h w"], masks: Float[Tensor, "m h w"]) -> Float[Tensor, "m h w"]:
    """Returns the share of each label's map in the sum of all; where no map says anything, the coarse masks."""
    total = maps.sum(0, keepdim=True)
    silent = total <= 0
    shares = maps / torch.where(silent, torch.ones_like(total), total)
    return torch.where(silent, masks / masks.sum(0, keepdim=True).clamp(min=LEAST), shares)
