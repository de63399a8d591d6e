"""Windows without an N x N array: queries go tile by tile, each against the rectangle of keys that holds its windows.

An 8 x 8 tile with windows of radius 14 needs a halo of 36 x 36 keys, 14 % of a 96 x 96 grid. Halos are clipped at the
border, so that every key in one is a token of the grid; what lies in the halo but not in a query's window gets a logit
of minus infinity.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from undertow.affinity.settings import WindowShape

# Smaller tiles waste fewer pairs outside windows, larger ones waste less of the processor on small matrix products;
# 8 was the fastest of 6, 8, 12 and 16 on a CPU with windows of radius 14.
TILE_SIDE = 8


@dataclass(frozen=True)
class Rectangle:
    """A rectangle of grid cells: rows `top` to `bottom`, columns `left` to `right`, ends excluded."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def cells(self) -> int:
        """The number of cells."""
        return (self.bottom - self.top) * (self.right - self.left)

    def cut(self, values: Tensor, grid: tuple[int, int]) -> Tensor:
        """Returns the tokens of this rectangle out of (a, s, d), row-major, as (a, n, d)."""
        return values.view(len(values), *grid, -1)[:, self.top : self.bottom, self.left : self.right].flatten(1, 2)

    def tokens(self, width: int, device: torch.device) -> Int[Tensor, "n"]:
        """Returns the token numbers of this rectangle in a grid of `width` columns, row-major."""
        rows = torch.arange(self.top, self.bottom, device=device)
        columns = torch.arange(self.left, self.right, device=device)
        return (rows[:, None] * width + columns).flatten()


def tiles(grid: tuple[int, int], side: int = TILE_SIDE) -> Iterator[Rectangle]:
    """Yields the tiles of a grid, row by row; those at the far borders may be smaller."""
    height, width = grid
    for top in range(0, height, side):
        for left in range(0, width, side):
            yield Rectangle(top, min(top + side, height), left, min(left + side, width))


def halo(tile: Rectangle, radius: int | None, grid: tuple[int, int]) -> Rectangle:
    """Returns the smallest rectangle of the grid that holds the windows of a tile's cells.

    >>> halo(Rectangle(0, 4, 8, 12), 2, (10, 12))
    Rectangle(top=0, bottom=6, left=6, right=12)
    """
    height, width = grid
    if radius is None:
        return Rectangle(0, height, 0, width)
    return Rectangle(
        max(0, tile.top - radius),
        min(height, tile.bottom + radius),
        max(0, tile.left - radius),
        min(width, tile.right + radius),
    )


def window_bias(
    tile: Rectangle, around: Rectangle, radius: int | None, window: WindowShape, device: torch.device
) -> Float[Tensor, "n m"]:
    """Returns 0 where the m cells of a halo lie in the windows of the n cells of its tile, minus infinity elsewhere."""
    bias = torch.zeros(tile.cells, around.cells, device=device)
    if radius is None:
        return bias
    dy = torch.arange(tile.top, tile.bottom)[:, None] - torch.arange(around.top, around.bottom)
    dx = torch.arange(tile.left, tile.right)[:, None] - torch.arange(around.left, around.right)
    if window == "square":
        outside = (dy.abs() > radius)[:, None, :, None] | (dx.abs() > radius)[None, :, None, :]
    else:
        outside = (dy**2)[:, None, :, None] + (dx**2)[None, :, None, :] >= radius**2
    return bias.masked_fill_(outside.flatten(2, 3).flatten(0, 1).to(device), -torch.inf)


def window_size(radius: int | None, grid: tuple[int, int]) -> int:
    """Returns the largest number of cells that a window can hold.

    >>> window_size(14, (20, 96))
    580
    """
    height, width = grid
    if radius is None:
        return height * width
    return min(height, 2 * radius + 1) * min(width, 2 * radius + 1)
