"""Follows points of one frame into other frames: rows of costs, the place they are best at, and how sure that is.

Each point is by itself: nothing here depends on which other points are asked for.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from undertow.observing.observer import FrameFeatures
from undertow.points.matching import FLOOR, backward_rows, forward_rows, interpolate, log_denominators
from undertow.points.paths import peaks
from undertow.points.positions import decode, refine, window
from undertow.points.settings import ResolvedPoints
from undertow.points.visibility import Evidence

Pair = tuple[FrameFeatures, FrameFeatures]
"""Features of a frame that points are known in and of one that they are looked for in, seen together."""


@dataclass(frozen=True)
class Step:
    """Where points may be in one frame, best first; without smoothing there is one candidate.

    Attributes:
        places: (x, y) in cells; the centre of the first cell is (0, 0).
        scores: logarithm of each place's cost.
        evidence: what visibility is judged by.
    """

    places: Float[Tensor, "n k 2"]
    scores: Float[Tensor, "n k"]
    evidence: Evidence


def step(
    pairs: Sequence[Pair],
    places: Float[Tensor, "n 2"],
    settings: ResolvedPoints,
    recent: tuple[Sequence[Pair], Float[Tensor, "n 2"], Tensor] | None = None,
) -> Step:
    """Returns where points may be in another frame.

    Args:
        pairs: features of the points' own frame and of the frame searched; costs are averaged over several pairs.
        places: of the points in their own frame, in cells.
        settings: of the run.
        recent: the same of the frame before: pairs, places there, and which points could be seen there. Where they
            could, costs are the weighted geometric mean of both.
    """
    near, shares = _consulted(places, settings)
    costs, forward = _mean_costs(pairs, near, settings)
    if recent is not None:
        before, from_places, seen = recent
        there, _ = _mean_costs(before, from_places, settings)
        there = (there * _within(from_places, settings)).clamp(min=math.exp(FLOOR))
        blended = costs ** (1 - settings.recent) * there**settings.recent
        costs = torch.where(seen[:, None], blended, costs)
    cells = peaks(costs, settings.grid, settings.candidates)
    scores = costs.gather(1, cells).clamp(min=math.exp(2 * FLOOR)).log()
    found = torch.stack(
        [
            refine(costs, each, settings.grid, settings.decoding, settings.radius, settings.power)
            for each in cells.unbind(1)
        ],
        dim=1,
    )
    if settings.lookup == "matches":
        # The mean of what the four tokens around a point match.
        found = (found[:, 0].reshape(-1, 4, 2) * shares[..., None]).sum(1)[:, None]
        forward = (forward.reshape(len(places), 4, -1) * shares[..., None]).sum(1)
        scores = scores.reshape(-1, 4)[:, :1]
    return Step(found, scores, _evidence(pairs[0], places, found, forward, settings))


def _consulted(
    places: Float[Tensor, "n 2"], settings: ResolvedPoints
) -> tuple[Float[Tensor, "m 2"], Float[Tensor, "n k"]]:
    """Returns the places whose costs are computed, and each one's share in its point: one place, or four tokens."""
    if settings.lookup == "descriptor":
        return places, places.new_ones(len(places), 1)
    height, width = settings.grid
    # DiffTrack samples its table of matches with grid_sample, whose coordinates it normalises by w - W/1024 where
    # corners are aligned to w - 1, W being the picture's width and 16 its stride.
    slack = settings.input_size[1] / 1024
    scale = places.new_tensor([(width - 1) / (width - slack), (height - 1) / (height - slack)])
    at = places * scale
    limit = places.new_tensor([width - 1, height - 1])
    at = at.clamp(min=0).minimum(limit)
    low = at.floor()
    part = at - low
    corners, shares = [], []
    for down in (0, 1):
        for across in (0, 1):
            corners.append((low + places.new_tensor([across, down])).minimum(limit))
            along = part[:, 0] if across else 1 - part[:, 0]
            shares.append(along * (part[:, 1] if down else 1 - part[:, 1]))
    return torch.stack(corners, 1).flatten(0, 1), torch.stack(shares, 1)


def _mean_costs(
    pairs: Sequence[Pair], places: Float[Tensor, "n 2"], settings: ResolvedPoints
) -> tuple[Float[Tensor, "n s"], Float[Tensor, "n s"]]:
    """Returns the matching costs of places, and their forward softmax, both averaged over pairs."""
    costs, forwards = [], []
    for source, target in pairs:
        rows = forward_rows(interpolate(source.queries, settings.grid, places), target.keys, settings.scale)
        forwards.append(rows)
        if settings.combination == "forward":
            costs.append(rows)
            continue
        denominators = log_denominators(target.queries, source.keys, settings.scale)
        keys = interpolate(source.keys, settings.grid, places)
        back = backward_rows(keys, target.queries, denominators, settings.scale)
        costs.append(rows * back if settings.combination == "product" else (rows + back) / 2)
    return torch.stack(costs).mean(0), torch.stack(forwards).mean(0)


def _within(places: Float[Tensor, "n 2"], settings: ResolvedPoints) -> Tensor:
    """Tells which tokens (n, s) are no further than `reach` from each place, in x and in y."""
    height, width = settings.grid
    rows, columns = (torch.arange(side, device=places.device) for side in (height, width))
    down = (rows - places[:, 1:]).abs() <= settings.reach
    across = (columns - places[:, :1]).abs() <= settings.reach
    return (down[:, :, None] & across[:, None, :]).flatten(1)


def _evidence(
    pair: Pair,
    places: Float[Tensor, "n 2"],
    found: Float[Tensor, "n k 2"],
    forward: Float[Tensor, "n s"],
    settings: ResolvedPoints,
) -> Evidence:
    """Returns the forward mass round the places found, and how far from the points the way back leads."""
    source, target = pair
    height, width = settings.grid
    count = found.shape[1]
    columns, rows = found.round().long().unbind(-1)
    cells = rows.clamp(0, height - 1) * width + columns.clamp(0, width - 1)
    mass = torch.stack([window(forward, each, settings.grid, 1)[0].sum(-1) for each in cells.unbind(1)], dim=1)
    there = interpolate(target.queries, settings.grid, found.flatten(0, 1))
    back = forward_rows(there, source.keys, settings.scale)
    returned = decode(back, settings.grid, settings.decoding, settings.radius, settings.power)
    return Evidence(mass, (returned.reshape(-1, count, 2) - places[:, None]).norm(dim=-1))
