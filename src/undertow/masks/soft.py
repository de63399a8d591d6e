"""Between label maps and soft labels: exact area averages down to the grid, bilinear and argmax back up to pixels."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from undertow.base import MaskError
from undertow.masks.labels import VOID, LabelMap, object_ids, resize_nearest
from undertow.masks.mattes import SoftLabelMap

# Soft labels held at pixel size at a time by `upsample_argmax`, and the peak below which an object counts as gone.
BAND_VALUES = 1 << 22
VANISHED_PEAK = 0.2


@dataclass(frozen=True)
class UpsampledLabels:
    """A decided label map with, for every object, what the decision looked like.

    Attributes:
        labels: Label map (h, w).
        area: Pixels per object id, 0 for an object that won none.
        margin: Mean over the object's pixels of best minus second soft label, 0.0 if it has no pixels.
    """

    labels: LabelMap
    area: dict[int, int]
    margin: dict[int, float]


def soft_one_hot(
    labels: LabelMap, ids: Sequence[int], grid: tuple[int, int], mode: Literal["area", "nearest", "bilinear"] = "area"
) -> Float[Tensor, "m grid_h grid_w"]:
    """Returns soft labels (objects + 1, h, w) of a map on a token grid: background first, then `ids` in order.

    With "area" a value is the share of the grid cell that the object covers, exactly and for any ratio of sizes: the
    average over a rectangle is separable, so it is one matrix per axis. With "nearest" a cell has the label under its
    centre, which loses objects smaller than a cell; with "bilinear" it is between the four pixels round its centre.
    Void, and ids not asked for, count as background, so the channels of each cell sum to 1. The soft edges of a
    `SoftLabelMap` are averaged like that too, except with "nearest".

    Raises:
        MaskError: if `ids` repeat or contain 0 or void.
    """
    _check_ids(ids)
    if mode == "nearest":
        labels = resize_nearest(labels, grid)
    weights = _bilinear_matrix if mode == "bilinear" else _area_matrix
    rows, columns = (weights(old, new) for old, new in zip(labels.shape, grid, strict=True))
    soft = torch.zeros(len(ids) + 1, *grid)
    cover = labels.cover if isinstance(labels, SoftLabelMap) else {}
    for channel, object_id in enumerate(ids, start=1):
        inside = cover[object_id] / 255 if object_id in cover else np.asarray(labels == object_id)
        soft[channel] = rows @ torch.from_numpy(inside).to(torch.float64) @ columns.T
    soft[0] = (1 - soft[1:].sum(0)).clamp_(min=0)
    return soft


def too_small(labels: LabelMap, grid: tuple[int, int]) -> list[int]:
    """Returns the ids of objects that have the largest share of no cell of a token grid, ascending.

    Such an object's soft labels are everywhere weaker than another's or the background's, so that it is lost as soon
    as they are made a map again; a finer grid keeps it.
    """
    ids = object_ids(labels)
    winners = set(np.unique(soft_one_hot(labels, ids, grid).argmax(0).numpy()).tolist())
    return [object_id for channel, object_id in enumerate(ids, start=1) if channel not in winners]


def upsample_argmax(
    soft: Float[Tensor, "m h w"],
    ids: Sequence[int],
    size: tuple[int, int],
    channel_norm: Literal["none", "minmax"] = "none",
) -> UpsampledLabels:
    """Returns the label map that soft labels stand for at `size` (height, width): bilinear, then the largest wins.

    Bilinear as in `torch.nn.functional.interpolate(align_corners=False)`, with ties going to the background and then
    to the earlier id. Rows are done in bands, so memory is bounded whatever the size and the number of objects.

    "minmax" first stretches every channel to 0..1 over the grid, as DINO's and DIFT's evaluations do, which helps
    thin and fading objects against the background. An object whose peak is below 0.2 has vanished and is left out
    instead: stretching would make its residue as strong as any object. Margins are of the values compared.

    Args:
        soft: Soft labels, background first, then `ids` in order.
        ids: Object id of each further channel.
        size: Height and width of the map wanted.
        channel_norm: "none" or "minmax".

    Raises:
        MaskError: if the number of channels is not one more than the number of ids, or ids repeat.
    """
    _check_ids(ids)
    if soft.shape[0] != len(ids) + 1:
        raise MaskError(f"{soft.shape[0]} soft labels were given for background and {len(ids)} objects")
    soft = soft.detach().to(torch.float32)
    if channel_norm == "minmax":
        soft = _stretched(soft)
    (top, bottom, down), (left, right, across) = (
        _bilinear(old, new, soft.device) for old, new in zip(soft.shape[1:], size, strict=True)
    )
    names = np.array([0, *ids], np.uint16)
    labels = np.empty(size, np.uint16)
    area = torch.zeros(len(names), dtype=torch.int64, device=soft.device)
    gaps = torch.zeros(len(names), dtype=torch.float64)
    band = max(1, BAND_VALUES // (soft.shape[0] * size[1]))
    for start in range(0, size[0], band):
        part = slice(start, start + band)
        narrow = torch.lerp(soft[:, top[part]], soft[:, bottom[part]], down[part, None])
        values = torch.lerp(narrow[..., left], narrow[..., right], across)
        best, winner = values.max(0)
        labels[part] = names[winner.cpu().numpy()]
        area += torch.bincount(winner.flatten(), minlength=len(names))
        if len(ids):
            second = values.scatter_(0, winner[None], -torch.inf).amax(0)
            gap = (best - second).flatten().cpu().double()
            gaps += torch.bincount(winner.flatten().cpu(), gap, minlength=len(names))
    areas = [int(pixels) for pixels in area[1:]]
    means = [float(gap) / max(pixels, 1) for gap, pixels in zip(gaps[1:], areas, strict=True)]
    return UpsampledLabels(labels, dict(zip(ids, areas, strict=True)), dict(zip(ids, means, strict=True)))


def _area_matrix(old: int, new: int) -> Float[Tensor, "new old"]:
    """Returns the matrix that averages `old` pixels into `new` equal cells: overlap of pixel and cell over cell size.

    Lengths are in units of 1 / (old * new), so the overlaps are exact integers.
    """
    cell, pixel = torch.arange(new)[:, None] * old, torch.arange(old)[None] * new
    overlap = torch.minimum(cell + old, pixel + new) - torch.maximum(cell, pixel)
    return overlap.clamp(min=0).to(torch.float64) / old


def _bilinear_matrix(old: int, new: int) -> Float[Tensor, "new old"]:
    """Returns the matrix that takes from `old` pixels what lies at the centres of `new` equal cells."""
    below, above, share = _bilinear(old, new, torch.device("cpu"))
    matrix = torch.zeros(new, old, dtype=torch.float64)
    cells = torch.arange(new)
    matrix[cells, below] += 1 - share.double()
    matrix[cells, above] += share.double()
    return matrix


def _bilinear(
    old: int, new: int, device: torch.device
) -> tuple[Int[Tensor, " new"], Int[Tensor, " new"], Float[Tensor, " new"]]:
    """Returns, for each of `new` pixels, the two grid cells around its centre and the weight of the second."""
    centre = ((torch.arange(new, dtype=torch.float64, device=device) + 0.5) * old / new - 0.5).clamp(0, old - 1)
    before = centre.floor().to(torch.int64)
    return before, (before + 1).clamp(max=old - 1), (centre - before).to(torch.float32)


def _stretched(soft: Float[Tensor, "m h w"]) -> Float[Tensor, "m h w"]:
    """Returns every channel stretched to 0..1 over the grid, flat ones as they are, vanished objects as zero."""
    low, high = soft.amin((1, 2), keepdim=True), soft.amax((1, 2), keepdim=True)
    stretched = torch.where(high > low, (soft - low) / (high - low), soft)
    stretched[1:] *= high[1:] >= VANISHED_PEAK
    return stretched


def _check_ids(ids: Sequence[int]) -> None:
    """Raises `MaskError` unless `ids` are different object ids."""
    if len(set(ids)) != len(ids) or not all(0 < object_id < VOID for object_id in ids):
        raise MaskError(f"object ids {list(ids)} must differ and lie between 1 and {VOID - 1}")
