"""Where a point is in another frame: rows of costs, the place they are best at, and whether it can be seen there."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from undertow.affinity.similarity import LOG2_E, log2_denominators
from undertow.points.settings import Decoding


def decode(
    costs: Float[Tensor, "n s"], grid: tuple[int, int], decoding: Decoding, radius: int, power: float
) -> Float[Tensor, "n 2"]:
    """Returns the place (x, y) in cells where each row is best; the centre of the first cell is (0, 0).

    Args:
        costs: The larger the better, none negative.
        grid: (height, width) in cells.
        decoding: "token" is the best cell's centre; "window" the mean over the cells within `radius` of it (a square),
            weighted by the costs to the power of `power`; "parabola" the top of the parabolas through the logarithms of
            the best cell and its neighbours, in x and in y.
        radius: Of the window.
        power: Of its weights.
    """
    best = costs.argmax(-1)
    return refine(costs, best, grid, decoding, radius, power)


def refine(
    costs: Float[Tensor, "n s"],
    cells: Int[Tensor, "n"],
    grid: tuple[int, int],
    decoding: Decoding,
    radius: int,
    power: float,
) -> Float[Tensor, "n 2"]:
    """Returns the places near the given cells, see `decode`."""
    width = grid[1]
    centres = torch.stack([cells % width, cells // width], -1).float()
    if decoding == "token":
        return centres
    values, offsets = window(costs, cells, grid, radius if decoding == "window" else 1)
    if decoding == "window":
        peak = values.amax(-1, keepdim=True).clamp(min=1e-30)
        weights = (values / peak) ** power
        return centres + (weights[..., None] * offsets).sum(1) / weights.sum(-1)[:, None]
    logs = values.clamp(min=1e-30).log().reshape(-1, 3, 3)
    across, down = logs[:, 1, :], logs[:, :, 1]
    return centres + torch.stack([_top(across), _top(down)], -1)


def window(
    costs: Float[Tensor, "n s"], cells: Int[Tensor, "n"], grid: tuple[int, int], radius: int
) -> tuple[Float[Tensor, "n k"], Float[Tensor, "k 2"]]:
    """Returns the costs of the (2 radius + 1)² cells around each row's cell, 0 outside the grid, and their offsets."""
    height, width = grid
    steps = torch.arange(-radius, radius + 1, device=costs.device)
    down, across = (each.reshape(-1) for each in torch.meshgrid(steps, steps, indexing="ij"))
    rows, columns = cells[:, None] // width + down, cells[:, None] % width + across
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    index = rows.clamp(0, height - 1) * width + columns.clamp(0, width - 1)
    return costs.gather(1, index) * inside, torch.stack([across, down], -1).float()


def _top(logs: Float[Tensor, "n 3"]) -> Float[Tensor, "n"]:
    """Returns where the parabola through three logarithms at -1, 0 and 1 has its top, within half a cell."""
    left, middle, right = logs.unbind(-1)
    curvature = (left - 2 * middle + right).clamp(max=-1e-6)
    return (0.5 * (left - right) / curvature).clamp(-0.5, 0.5)


# Numbers in one temporary block: 64 MB in float32.
BLOCK = 1 << 24
# Smaller shares count as e^-40: products of two stay normal numbers, and a CPU is many times slower with others.
FLOOR = -40.0


def interpolate(
    descriptors: Float[Tensor, "a s d"], grid: tuple[int, int], places: Float[Tensor, "n 2"]
) -> Float[Tensor, "a n d"]:
    """Returns descriptors at places between cell centres, bilinear; beyond the outermost centres they are constant.

    Args:
        descriptors: Of the cells, row-major.
        grid: (height, width) in cells.
        places: (x, y) in cells; the centre of cell (row 0, column 0) is (0, 0).
    """
    height, width = grid
    x = places[:, 0].clamp(0, width - 1)
    y = places[:, 1].clamp(0, height - 1)
    left, top = x.floor().long().clamp(max=max(width - 2, 0)), y.floor().long().clamp(max=max(height - 2, 0))
    right, below = (left + 1).clamp(max=width - 1), (top + 1).clamp(max=height - 1)
    along, down = (x - left)[:, None], (y - top)[:, None]

    def at(row: Tensor, column: Tensor) -> Float[Tensor, "a n d"]:
        return descriptors[:, row * width + column].float()

    upper = at(top, left) * (1 - along) + at(top, right) * along
    lower = at(below, left) * (1 - along) + at(below, right) * along
    return upper * (1 - down) + lower * down


def forward_rows(
    descriptors: Float[Tensor, "a n d"], keys: Float[Tensor, "a s d"], scale: float
) -> Float[Tensor, "n s"]:
    """Returns the head-mean of each point's softmax over the tokens of a frame.

    Args:
        descriptors: Queries of the points, in their own frame.
        keys: Of the frame that is searched.
        scale: Logits are q·k times this.
    """
    rows = []
    step = max(1, BLOCK // (keys.shape[0] * keys.shape[1]))
    keys = keys.float().mT
    for block in torch.split(descriptors, step, dim=1):
        logits = (block.float() @ keys) * scale
        rows.append((logits - logits.logsumexp(-1, keepdim=True)).clamp_(min=FLOOR).exp_().mean(0))
    return torch.cat(rows) if rows else descriptors.new_zeros(0, keys.shape[-1])


def log_denominators(
    queries: Float[Tensor, "a s d"], keys: Float[Tensor, "a m d"], scale: float
) -> Float[Tensor, "a s"]:
    """Returns the log-sum-exp of every query's logits over all keys.

    Args:
        queries: Of the frame that is searched.
        keys: Of the points' own frame.
        scale: Logits are q·k times this.
    """
    return log2_denominators(queries.float() * (scale * LOG2_E), keys.float()) / LOG2_E


def backward_rows(
    descriptors: Float[Tensor, "a n d"],
    queries: Float[Tensor, "a s d"],
    denominators: Float[Tensor, "a s"],
    scale: float,
) -> Float[Tensor, "n s"]:
    """Returns the head-mean of how much of each token's softmax over the points' own frame falls on each point.

    Args:
        descriptors: Keys of the points, in their own frame.
        queries: Of the frame that is searched.
        denominators: Of these queries, see `log_denominators`.
        scale: Logits are q·k times this.
    """
    rows = []
    step = max(1, BLOCK // (queries.shape[0] * queries.shape[1]))
    queries = queries.float().mT
    for block in torch.split(descriptors, step, dim=1):
        rows.append(((block.float() @ queries) * scale - denominators[:, None]).clamp_(min=FLOOR).exp_().mean(0))
    return torch.cat(rows) if rows else descriptors.new_zeros(0, queries.shape[-1])


@dataclass(frozen=True)
class Evidence:
    """What is known of matches.

    Attributes:
        mass: Share of the forward softmax in the 3 x 3 tokens round the place found.
        gap: Distance, in tokens, between the point and where matching back from the place found ends.
    """

    mass: Float[Tensor, "n k"]
    gap: Float[Tensor, "n k"]


@dataclass(frozen=True)
class VisibilityModel:
    """A logistic model of being seen.

    The defaults were fitted on validation worlds alone, by `benchmarks/quality/calibrate_points.py`.

    Attributes:
        bias: Log-odds where both terms are zero.
        mass: Weight of the logarithm of the mass.
        gap: Weight of log(1 + gap).
    """

    bias: float = 2.09
    mass: float = -0.63
    gap: float = -0.83

    def confidence(self, evidence: Evidence) -> Float[Tensor, "n k"]:
        """Returns the probability that each point is seen where it was found."""
        odds = self.bias + self.mass * evidence.mass.clamp(min=1e-6).log() + self.gap * evidence.gap.log1p()
        return torch.sigmoid(odds)
