"""Soft masks that take on the edges of the image: bilateral upsampling of a coarse grid, and a random field.

`upsample_guided` is joint bilateral upsampling (Kopf et al., 2007). `refine_crf` is mean-field inference of a dense CRF
(Krähenbühl and Koltun, 2011) whose neighbourhoods are dilated 5 x 5 windows with kernels adapted to each pixel (Su et
al., "Pixel-adaptive convolutional neural networks", 2019; used for masks by Uziel et al., 2023, and DRIFT). Written
from the equations. Nothing is fitted to a video here, as some of these do.
"""

import math
from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as functional
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from undertow.base import MaskError
from undertow.refinement.settings import CrfSettings, GuidedSettings

# Where no cell around a pixel has its colour, nearness alone decides.
LEAST_ALIKE = 1e-6


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
    # So scaled that a weight is e^-|difference|^2.
    colours = torch.from_numpy(image.copy()).to(soft.device).float().movedim(-1, 0) / (settings.colour * 2**0.5)
    cells = torch.cat([functional.adaptive_avg_pool2d(colours, (grid[0], grid[1])), soft])
    reach = torch.arange(-settings.radius, settings.radius + 1, device=soft.device)
    (down, far_down), (across, far_across) = (
        _neighbours(new, old, reach, settings.near) for new, old in zip((height, width), grid, strict=True)
    )
    result, first = soft.new_empty(len(soft), height, width), 0
    # Rows of pixels in one row of cells have the same cells around them.
    for count in torch.unique_consecutive(down[settings.radius], return_counts=True)[1].tolist():
        rows = slice(first, first + count)
        around = cells[:, down[:, first]][:, :, across]
        near = far_down[:, None, rows, None] * far_across[:, None]
        result[:, rows] = _band(colours[:, rows], around, near)
        first += count
    return result


def _neighbours(
    pixels: int, cells: int, reach: Int[Tensor, "k"], near: float
) -> tuple[Int[Tensor, "k pixels"], Float[Tensor, "k pixels"]]:
    """Returns the cells around each pixel along one axis, and the weights of their distance, 0 outside the grid."""
    # Cell c reaches from c to c + 1.
    centres = (torch.arange(pixels, device=reach.device) + 0.5) * cells / pixels
    cell = centres.floor().long() + reach[:, None]
    weight = (-0.5 * ((cell + 0.5 - centres) / near).square()).exp()
    return cell.clamp(0, cells - 1), weight * ((cell >= 0) & (cell < cells))


def _band(
    colours: Float[Tensor, "3 b w"], around: Float[Tensor, "3+n k k w"], near: Float[Tensor, "k k b w"]
) -> Float[Tensor, "n b w"]:
    """Returns a band of rows of the result.

    Args:
        colours: Those of its pixels.
        around: Colours and soft masks of the cells around each column of pixels.
        near: Weights of the distance of the cells.
    """
    total = around.new_zeros(len(around) - 3, *colours.shape[1:])
    weights = torch.zeros_like(total[0])
    # One row of cells at a time stays in the processor's cache.
    for row, far in zip(around.unbind(1), near, strict=True):
        unlike = (colours[:, None] - row[:3, :, None]).square_().sum(0)
        # Cut off before, not after: numbers that are nearly zero take a processor many times as long.
        weight = unlike.clamp_(max=-math.log(LEAST_ALIKE)).neg_().exp_().mul_(far)
        weights += weight.sum(0)
        for mask, each in zip(row[3:], total, strict=True):
            each += (weight * mask[:, None]).sum(0)
    return total / weights


@torch.no_grad()
def refine_crf(
    soft: Float[Tensor, "n h w"], image: UInt8[np.ndarray, "h w 3"], settings: CrfSettings | None = None
) -> Float[Tensor, "n h w"]:
    """Returns soft masks in which pixels agree with those of like colour, on the device of those given.

    Each step takes log Q_i ← u log U_i + Σ_kernels w Σ_j exp(-½|f_i - f_j|²) Q_j and makes Q sum to one, with features
    f of position over the window's reach and colour over `colour`. Labels that differ all disagree alike (Potts).
    What is held is three times the masks, and one map per pair of opposite neighbours.

    Args:
        soft: Background and objects; their sum over n is 1 everywhere.
        image: The frame at the masks' size.
        settings: Weights and reach.

    Raises:
        MaskError: if masks and image differ in size, or there are fewer than two masks.
    """
    settings = settings or CrfSettings()
    if tuple(soft.shape[1:]) != image.shape[:2]:
        raise MaskError(f"soft masks are {tuple(soft.shape[1:])} but the image {image.shape[:2]}; resize the masks")
    if len(soft) < 2:
        raise MaskError("a CRF decides between masks; give the background as the first")
    colours = torch.from_numpy(image.copy()).to(soft.device).float().movedim(-1, 0) / settings.colour
    pairs = list(_pairs(colours, settings))
    given = settings.unary * soft.float().clamp(settings.certain, 1 - settings.certain).log()
    beliefs = given.softmax(0)
    for _ in range(settings.steps):
        message = given.clone()
        for here, there, affinity in pairs:
            # One map serves both directions: i hears j as loudly as j hears i.
            message[(..., *here)] += affinity * beliefs[(..., *there)]
            message[(..., *there)] += affinity * beliefs[(..., *here)]
        beliefs = message.softmax(0)
    return beliefs


Window = tuple[slice, slice]


def _pairs(
    colours: Float[Tensor, "3 h w"], settings: CrfSettings
) -> Iterator[tuple[Window, Window, Float[Tensor, "a b"]]]:
    """Yields, for every pair of opposite neighbours, two shifted views of the image and how much they agree."""
    height, width = colours.shape[1:]
    radius = settings.radius
    for dilation in settings.dilations:
        for down in range(radius + 1):
            for right in range(-radius, radius + 1):
                if (down, right) <= (0, 0):
                    continue
                dy, dx = down * dilation, right * dilation
                if dy >= height or abs(dx) >= width:
                    continue
                here = slice(0, height - dy), slice(max(0, -dx), width - max(0, dx))
                there = slice(dy, height), slice(max(0, dx), width - max(0, -dx))
                # Positions are over the window's reach, so the same for every dilation.
                apart = (down**2 + right**2) / radius**2
                unlike = (colours[(..., *here)] - colours[(..., *there)]).square().sum(0)
                yield here, there, settings.pairwise * (-0.5 * (unlike + apart)).exp()
