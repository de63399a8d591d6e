"""Follows points of one frame into other frames: rows of costs, the place they are best at, and how sure that is.

Each point is by itself: nothing here depends on which other points are asked for. What is compared are queries and
keys, hidden states, latents or pixels, all as plain dot products.

A video model sees frames in chunks that cover the video, each with the anchor frame first. DiffTrack (arXiv 2506.17220)
lets every chunk span the whole video at a coarse rate: full attention over time then carries each point over large
motions in one step. Its reference code moves such a chunk on by one frame at a time until every frame was seen, and
averages the costs of frames seen repeatedly. Here the default is as few chunks as cover the video, interleaved in the
same way; `overlap` is the published procedure.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as functional
from jaxtyping import Float, Int
from torch import Tensor

from undertow.observing.observer import FrameFeatures
from undertow.points.matching import (
    FLOOR,
    Evidence,
    backward_rows,
    decode,
    forward_rows,
    interpolate,
    log_denominators,
    refine,
    window,
)
from undertow.points.settings import Cover, ResolvedPoints


def cover(frames: Sequence[int], anchor: int, size: int, plan: Cover = "minimal") -> list[tuple[int, ...]]:
    """Returns chunks of at most `size` frames, each with `anchor` first, that together hold every frame.

    Args:
        frames: Frame numbers, in order, the anchor among them.
        anchor: The frame that every chunk begins with.
        size: Most frames in a chunk, 2 or more.
        plan: "minimal" for ⌈(T - 1) / (size - 1)⌉ chunks of every n-th frame, "overlap" for DiffTrack's, whose frames
            are ⌊T / (size - 1)⌋ apart and which begin one frame later each, "consecutive" for neighbours.
    """
    others = [frame for frame in frames if frame != anchor]
    room = size - 1
    if not others:
        return [(anchor,)]
    if plan == "overlap":
        interval = max(1, len(frames) // room)
        chunks, seen = [], 0
        for start in range(len(others)):
            part = others[start::interval][:room]
            chunks.append((anchor, *part))
            seen = len({frame for chunk in chunks for frame in chunk[1:]}) if start >= interval - 1 else 0
            if seen == len(others):
                break
        return chunks
    count = -(-len(others) // room)
    if plan == "consecutive":
        return [(anchor, *others[start : start + room]) for start in range(0, len(others), room)]
    return [(anchor, *others[start::count]) for start in range(count)]


HALF = torch.finfo(torch.float16).max


def descriptors(seen: FrameFeatures, settings: ResolvedPoints) -> FrameFeatures:
    """Returns a frame's features such that a logit is the dot product of two times `ResolvedPoints.scale`.

    Where there are several sites, logits are summed over them, head by head, before any softmax, as DiffTrack's code
    does it: their features stand one behind the other. They are on the CPU, where they are kept.

    Args:
        seen: What an observer of the settings' source made of the frame.
        settings: Of the run.
    """
    if settings.source in ("pixels", "latents"):
        return _distances(seen.keys, centre=0.5 if settings.source == "pixels" else 0.0)
    if settings.source == "features":
        states = _half(_behind(functional.normalize(seen.keys.float(), dim=-1), len(settings.sites)))
        return FrameFeatures(states, states)
    heads = slice(None) if settings.heads is None else list(settings.heads)
    queries, keys = (_behind(each, len(settings.sites))[heads] for each in (seen.queries, seen.keys))
    return FrameFeatures(_half(queries), _half(keys))


def _behind(values: Float[Tensor, "la s d"], sites: int) -> Float[Tensor, "a s ld"]:
    """Returns the heads of several sites, which come site by site, with the channels of a head behind each other."""
    return values.reshape(sites, -1, *values.shape[1:]).permute(1, 2, 0, 3).flatten(2)


def _distances(values: Float[Tensor, "1 s c"], centre: float) -> FrameFeatures:
    """Returns queries and keys whose dot products are −|a − b|² = 2 a·b − |b|² − |a|².

    A common `centre` is taken off, so that the squares stay small. They are kept in float32, as half the digits would
    not tell near matches apart.
    """
    centred = values.float() - centre
    squares = centred.square().sum(-1, keepdim=True)
    ones = torch.ones_like(squares)
    queries = torch.cat([2 * centred, -ones, -squares], dim=-1)
    keys = torch.cat([centred, squares, ones], dim=-1)
    return FrameFeatures(queries.cpu(), keys.cpu())


def _half(values: Float[Tensor, "a s d"]) -> Float[Tensor, "a s d"]:
    """Returns values as they are kept: float16, of which a frame takes half the room."""
    return values.float().clamp(-HALF, HALF).half().cpu()


# Length of a jump, in tokens, beyond which it costs no more.
LIMIT = 6.0


def peaks(costs: Float[Tensor, "n s"], grid: tuple[int, int], count: int) -> Int[Tensor, "n k"]:
    """Returns the best `count` cells of each row that no neighbour exceeds, best first; the best cell is the first.

    Args:
        costs: The larger the better, from 0 to 1.
        grid: (height, width) in cells.
        count: How many; where there are fewer peaks, cells beside them fill up.
    """
    maps = costs.reshape(len(costs), 1, *grid)
    top = functional.max_pool2d(maps, 3, 1, 1)
    # Costs are at most 1, so that what is no peak comes after all peaks.
    ranked = torch.where(maps == top, maps, maps - 2).flatten(1)
    return ranked.topk(min(count, costs.shape[1]), dim=-1).indices


def best_path(
    start: Float[Tensor, "n 2"],
    places: Sequence[Float[Tensor, "n k 2"]],
    scores: Sequence[Float[Tensor, "n k"]],
    weight: float,
) -> list[Int[Tensor, "n"]]:
    """Returns which candidate of each frame lies on the best path.

    Args:
        start: Where each point begins, in cells.
        places: Candidates of the frames in the order of the walk.
        scores: How good each is, as a logarithm.
        weight: Cost of a jump by one token.
    """
    if not places:
        return []
    before, total = start[:, None], start.new_zeros(len(start), 1)
    came = []
    for here, score in zip(places, scores, strict=True):
        jump = (here[:, :, None] - before[:, None]).square().sum(-1).clamp(max=LIMIT**2)
        best, from_where = (total[:, None] - weight * jump).max(-1)
        came.append(from_where)
        before, total = here, best + score
    chosen = [total.argmax(-1)]
    for from_where in came[:0:-1]:
        chosen.append(from_where.gather(1, chosen[-1][:, None])[:, 0])
    return chosen[::-1]


Pair = tuple[FrameFeatures, FrameFeatures]
"""Features of a frame that points are known in and of one that they are looked for in, seen together."""


@dataclass(frozen=True)
class Step:
    """Where points may be in one frame, best first; without smoothing there is one candidate.

    Attributes:
        places: (x, y) in cells; the centre of the first cell is (0, 0).
        scores: Logarithm of each place's cost.
        evidence: What visibility is judged by.
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
    """Returns where points may be in another frame; arguments are those of `search`."""
    found, scores, forward = search(pairs, places, settings, recent)
    return Step(found, scores, judge(pairs[0], places, found, forward, settings))


def search(
    pairs: Sequence[Pair],
    places: Float[Tensor, "n 2"],
    settings: ResolvedPoints,
    recent: tuple[Sequence[Pair], Float[Tensor, "n 2"], Tensor] | None = None,
) -> tuple[Float[Tensor, "n k 2"], Float[Tensor, "n k"], Float[Tensor, "n s"]]:
    """Returns the places of another frame that match best, the logarithms of their costs, and the forward softmax.

    Args:
        pairs: Features of the points' own frame and of the frame searched; costs are averaged over several pairs.
        places: Of the points in their own frame, in cells.
        settings: Of the run.
        recent: The same of the frame before: pairs, places there, and which points could be seen there. Where they
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
    return found, scores, forward


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


def judge(
    pair: Pair,
    places: Float[Tensor, "n 2"],
    found: Float[Tensor, "n k 2"],
    forward: Float[Tensor, "n s"],
    settings: ResolvedPoints,
) -> Evidence:
    """Returns the evidence for places (x, y) of another frame: the forward mass round them, and where they match back.

    Args:
        pair: Features of the points' own frame and of the other one.
        places: Of the points in their own frame, in cells.
        found: The places, in cells.
        forward: Softmax of each point over the other frame.
        settings: Of the run.
    """
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
