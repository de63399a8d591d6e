"""From a row of matching costs to a place: the best token, or a mean over the window around it."""

from typing import Literal, get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor

Decoding = Literal["token", "window", "parabola"]
DECODINGS: tuple[str, ...] = get_args(Decoding)


def decode(
    costs: Float[Tensor, "n s"], grid: tuple[int, int], decoding: Decoding, radius: int, power: float
) -> Float[Tensor, "n 2"]:
    """Returns the place (x, y) in cells where each row is best; the centre of the first cell is (0, 0).

    Args:
        costs: the larger the better, none negative.
        grid: (height, width) in cells.
        decoding: "token" is the best cell's centre; "window" the mean over the cells within `radius` of it (a square),
            weighted by the costs to the power of `power`; "parabola" the top of the parabolas through the logarithms of
            the best cell and its neighbours, in x and in y.
        radius: of the window.
        power: of its weights.
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
