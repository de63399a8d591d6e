"""Joint bilateral upsampling (Kopf et al., 2007): soft masks of a coarse grid take on the edges of the image."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as functional
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from undertow.base import MaskError, Options, option

# Values that are worked on at a time, over all masks: 16 MB.
BAND_VALUES = 1 << 22
# Where no cell around a pixel has its colour, nearness alone decides.
LEAST_ALIKE = 1e-6


@dataclass(frozen=True)
class GuidedSettings(Options):
    """Which cells of the grid a pixel listens to."""

    radius: int = option(2, "Cells to each side of the pixel's own.", least=0)
    near: float = option(1.0, "Distance in cells at which a cell counts e^(-1/2).", above=0)
    colour: float = option(20.0, "Difference of colour, of 255, at which it does.", above=0)


@torch.no_grad()
def upsample_guided(
    soft: Float[Tensor, "n gh gw"], image: UInt8[np.ndarray, "h w 3"], settings: GuidedSettings | None = None
) -> Float[Tensor, "n h w"]:
    """Returns soft masks at the image's size, on the device of those given.

    A pixel's value is the mean of the cells around it, weighted by how near their centres are and how like their mean
    colour is to the pixel's. All masks share the weights, so what sums to one still does.

    Args:
        soft: Soft masks on the token grid.
        image: The frame; both sides at least as long as the grid's.
        settings: Reach and scales.

    Raises:
        MaskError: if the image is smaller than the grid.
    """
    settings = settings or GuidedSettings()
    (height, width), grid = image.shape[:2], tuple(soft.shape[1:])
    if height < grid[0] or width < grid[1]:
        raise MaskError(f"the image is {width}x{height}, smaller than the grid of {grid[1]}x{grid[0]} cells")
    soft = soft.float()
    colours = torch.from_numpy(image.copy()).to(soft.device).float().movedim(-1, 0) / settings.colour
    coarse = functional.adaptive_avg_pool2d(colours, (grid[0], grid[1]))
    rows, columns = (_centres(new, old, soft.device) for new, old in zip((height, width), grid, strict=True))
    result = soft.new_empty(len(soft), height, width)
    band = max(1, BAND_VALUES // ((len(soft) + 4) * width))
    for start in range(0, height, band):
        part = slice(start, start + band)
        result[:, part] = _band(soft, colours[:, part], coarse, rows[part], columns, settings)
    return result


def _centres(pixels: int, cells: int, device: torch.device) -> Float[Tensor, "pixels"]:
    """Returns where the pixels' centres lie, in cells: cell c reaches from c to c + 1."""
    return (torch.arange(pixels, device=device) + 0.5) * cells / pixels


def _band(
    soft: Float[Tensor, "n gh gw"],
    colours: Float[Tensor, "3 b w"],
    coarse: Float[Tensor, "3 gh gw"],
    rows: Float[Tensor, "b"],
    columns: Float[Tensor, "w"],
    settings: GuidedSettings,
) -> Float[Tensor, "n b w"]:
    """Returns a band of rows of the result."""
    total = soft.new_zeros(len(soft), len(rows), len(columns))
    weights = soft.new_zeros(len(rows), len(columns))
    for down in range(-settings.radius, settings.radius + 1):
        for right in range(-settings.radius, settings.radius + 1):
            y, far_y = _neighbours(rows, down, soft.shape[1], settings.near)
            x, far_x = _neighbours(columns, right, soft.shape[2], settings.near)
            unlike = (colours - coarse[:, y[:, None], x]).square().sum(0)
            alike = (-0.5 * unlike).exp_().clamp_(min=LEAST_ALIKE)
            weight = alike * far_y[:, None] * far_x
            total += weight * soft[:, y[:, None], x]
            weights += weight
    return total / weights


def _neighbours(
    centres: Float[Tensor, "p"], offset: int, cells: int, near: float
) -> tuple[Int[Tensor, "p"], Float[Tensor, "p"]]:
    """Returns a cell near each pixel along one axis and the weight of its distance, 0 outside the grid."""
    cell = centres.floor().long() + offset
    weight = (-0.5 * ((cell + 0.5 - centres) / near).square()).exp()
    inside = (cell >= 0) & (cell < cells)
    return cell.clamp(0, cells - 1), weight * inside
