"""From word maps to a heat map, its peaks, and the mask that fits it best.

RefAM takes one argmax as one point for SAM, and any of its three masks. Of its correct points a good part is lost
there: 68.9 % of points lie inside the object and the masks have a J of 54.5. So every candidate mask, of several peaks,
is scored by how much hotter it is inside than outside, times the segmenter's own quality.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from undertow.grounding.words import Place

# Least factor of the ramp of a place word, so that a strong map elsewhere can still win (HybridGL's ramps end at 0).
FLOOR = 0.1


@dataclass(frozen=True)
class Peak:
    """A local maximum of a heat map.

    Attributes:
        x: In pixels of the picture, to the right.
        y: Down.
        value: Of the map there.
    """

    x: float
    y: float
    value: float


@dataclass(frozen=True)
class Candidate:
    """A mask that may be what an expression names.

    Attributes:
        mask: At the picture's size.
        score: Mean heat inside minus mean heat outside, of a map with a standard deviation of one, times `quality`.
        quality: What the segmenter says of its mask, in [0, 1].
        made_of: The prompt that made it, for people to read.
    """

    mask: Bool[np.ndarray, "h w"]
    score: float
    quality: float
    made_of: str


class Proposer(Protocol):
    """Makes candidate masks of a picture's heat map."""

    def __call__(
        self, image: UInt8[np.ndarray, "h w 3"], heat: Float[Tensor, "gh gw"], peaks: Sequence[Peak]
    ) -> Sequence[tuple[Bool[np.ndarray, "h w"], float, str]]:
        """Returns masks at the picture's size, the quality of each, and what it was made of."""


def spatial_bias(size: tuple[int, int], places: Sequence[Place], floor: float = FLOOR) -> Float[Tensor, "h w"]:
    """Returns what a map is multiplied by where words speak of places: ramps from one border to the other.

    `left` is 1 at the left border and `floor` at the right one, `middle` is 1 at the centre and falls to both borders
    in each direction. Several places are multiplied.

    Args:
        size: (height, width) of the map.
        places: Such as ("top", "left").
        floor: Least value of one ramp.
    """
    rows, columns = ((torch.arange(count) + 0.5) / count for count in size)
    down, across = rows[:, None].expand(size), columns[None].expand(size)
    ramps = {
        "left": 1 - across,
        "right": across,
        "top": 1 - down,
        "bottom": down,
        "middle": (1 - (2 * across - 1).abs()) * (1 - (2 * down - 1).abs()),
    }
    bias = torch.ones(size)
    for place in places:
        bias = bias * (floor + (1 - floor) * ramps[place])
    return bias


def find_peaks(
    heat: Float[Tensor, "gh gw"], size: tuple[int, int], count: int = 3, least: float = 0.8, apart: float = 0.1
) -> list[Peak]:
    """Returns the highest places of a heat map in pixels of the picture, the highest first.

    A peak below `least` of the first, measured from the map's median, or nearer than `apart` of the picture's diagonal
    to a higher one, is none.

    Args:
        heat: The map; cell (i, j) has its centre at ((j + 0.5) * width / gw, (i + 0.5) * height / gh).
        size: (height, width) of the picture.
        count: Most peaks.
        least: Share of the first peak's height over the median.
        apart: Share of the diagonal.
    """
    rows, columns = heat.shape
    floor = float(heat.median())
    first = float(heat.max())
    found: list[Peak] = []
    for place in heat.flatten().argsort(descending=True, stable=True).tolist():
        value = float(heat.flatten()[place])
        if len(found) == count or (found and value - floor < least * (first - floor)):
            break
        row, column = divmod(place, columns)
        x, y = (column + 0.5) * size[1] / columns, (row + 0.5) * size[0] / rows
        if all(np.hypot(x - each.x, y - each.y) > apart * np.hypot(*size) for each in found):
            found.append(Peak(x, y, value))
    return found


def contrast(heat: Float[Tensor, "gh gw"]) -> float:
    """Returns how far a map's highest value stands over its mean, in standard deviations; 0 of a flat map."""
    spread = float(heat.std(correction=0))
    return 0.0 if spread <= 1e-6 * max(1.0, float(heat.abs().max())) else float((heat.max() - heat.mean()) / spread)


def points_into(heat: Float[Tensor, "gh gw"], mask: Bool[np.ndarray, "h w"]) -> bool:
    """Returns whether the hottest place of a map is in a mask of the picture."""
    place = divmod(int(heat.argmax()), heat.shape[1])
    row, column = (int((at + 0.5) * of / cells) for at, of, cells in zip(place, mask.shape, heat.shape, strict=True))
    return bool(mask[row, column])


def score_masks(
    heat: Float[Tensor, "gh gw"], proposals: Sequence[tuple[Bool[np.ndarray, "h w"], float, str]]
) -> list[Candidate]:
    """Returns proposals as candidates, the best first; empty masks and those of the whole picture are skipped.

    Args:
        heat: The map.
        proposals: Masks with their qualities and names, as a `Proposer` returns them.
    """
    rows, columns = heat.shape
    candidates = []
    for mask, quality, made_of in proposals:
        if not mask.any() or mask.all():
            continue
        # Heat is compared where it was made: each cell counts by how much of it the mask covers.
        inside = _covered(mask, (rows, columns))
        values = (heat.double() - heat.mean()) / max(float(heat.std(correction=0)), 1e-12)
        outside = 1 - inside
        gap = (values * inside).sum() / inside.sum() - (values * outside).sum() / outside.sum()
        candidates.append(Candidate(mask, float(gap) * quality, quality, made_of))
    return sorted(candidates, key=lambda each: -each.score)


def mean_inside(heat: Float[Tensor, "gh gw"], mask: Bool[np.ndarray, "h w"]) -> float:
    """Returns the mean of a map inside a mask of the picture; 0 inside none."""
    inside = _covered(mask, (heat.shape[0], heat.shape[1]))
    return float((heat.double() * inside).sum() / inside.sum().clamp(min=1e-9))


def _covered(mask: Bool[np.ndarray, "h w"], grid: tuple[int, int]) -> Float[Tensor, "gh gw"]:
    """Returns how much of each cell of a map a mask covers."""
    return torch.nn.functional.adaptive_avg_pool2d(torch.from_numpy(mask)[None, None].double(), grid)[0, 0]
