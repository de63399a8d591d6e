"""Windows without an N x N array: queries go tile by tile, each against the rectangle of keys that holds its windows.

An 8 x 8 tile with windows of radius 14 needs a halo of 36 x 36 keys, 14 % of a 96 x 96 grid. Halos are clipped at the
border, so that every key in one is a token of the grid; what lies in the halo but not in a query's window gets a logit
of minus infinity.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Bool, Float
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

    def moved(self, rows: int, columns: int) -> "Rectangle":
        """Returns this rectangle so many cells further down and to the right."""
        return Rectangle(self.top + rows, self.bottom + rows, self.left + columns, self.right + columns)

    @property
    def width(self) -> int:
        """The number of columns."""
        return self.right - self.left

    def view(self, values: Float[Tensor, "*b s d"], grid: tuple[int, int]) -> Float[Tensor, "*b h w d"]:
        """Returns the tokens of this rectangle out of those of a grid, without copying them."""
        return values.view(*values.shape[:-2], *grid, -1)[..., *self.slices, :]

    def cut(self, values: Float[Tensor, "*b s d"], grid: tuple[int, int]) -> Float[Tensor, "*b n d"]:
        """Returns the tokens of this rectangle out of those of a grid, row by row."""
        return self.view(values, grid).flatten(-3, -2)

    @property
    def slices(self) -> tuple[slice, slice]:
        """Its rows and columns, to index a grid with."""
        return slice(self.top, self.bottom), slice(self.left, self.right)


def strips(grid: tuple[int, int]) -> Iterator[Rectangle]:
    """Yields upright strips of a grid, as wide as a tile; the last may be narrower."""
    height, width = grid
    for left in range(0, width, TILE_SIDE):
        yield Rectangle(0, height, left, min(left + TILE_SIDE, width))


def tiles(strip: Rectangle) -> Iterator[Rectangle]:
    """Yields the tiles of a strip; the last may be lower."""
    for top in range(strip.top, strip.bottom, TILE_SIDE):
        yield Rectangle(top, min(top + TILE_SIDE, strip.bottom), strip.left, strip.right)


def around_tokens(tokens: Bool[Tensor, "h w"], radius: int | None) -> Bool[Tensor, "h w"]:
    """Returns the tokens of all tiles in which the square window of some token holds one of those given.

    Args:
        tokens: Those given.
        radius: Of the windows, in tokens; None if there are none.

    >>> around_tokens(torch.eye(1, 20).bool(), 3).sum().item()
    8
    """
    if radius is None:
        return torch.full_like(tokens, bool(tokens.any()))
    found, (height, width) = torch.zeros_like(tokens), tokens.shape
    for strip in strips((height, width)):
        for tile in tiles(strip):
            found[tile.slices] = tokens[halo(tile, radius, (height, width)).slices].any()
    return found


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


@lru_cache(maxsize=64)
def _window_bias(
    tile: Rectangle, around: Rectangle, radius: int, window: WindowShape, device: torch.device
) -> Float[Tensor, "m n"]:
    """Returns 0 where the m cells of a halo lie in the windows of the n cells of its tile, minus infinity elsewhere."""
    bias = torch.zeros(around.cells, tile.cells, device=device)
    dy = torch.arange(around.top, around.bottom)[:, None] - torch.arange(tile.top, tile.bottom)
    dx = torch.arange(around.left, around.right)[:, None] - torch.arange(tile.left, tile.right)
    if window == "square":
        outside = (dy.abs() > radius)[:, None, :, None] | (dx.abs() > radius)[None, :, None, :]
    else:
        outside = (dy**2)[:, None, :, None] + (dx**2)[None, :, None, :] >= radius**2
    return bias.masked_fill_(outside.flatten(2, 3).flatten(0, 1).to(device), -torch.inf)


def window_bias(
    tile: Rectangle, around: Rectangle, radius: int | None, window: WindowShape, device: torch.device
) -> Float[Tensor, "m n"]:
    """Returns 0 where the m cells of a halo lie in the windows of the n cells of its tile, minus infinity elsewhere.

    It is shared by all tiles whose halos are clipped alike, so it may not be changed.
    """
    if radius is None:
        # Without a window, all tiles have the whole grid around them, each at another place: nothing would be shared.
        return torch.zeros((), device=device).expand(around.cells, tile.cells)
    return _window_bias(tile.moved(-tile.top, -tile.left), around.moved(-tile.top, -tile.left), radius, window, device)


def window_size(radius: int | None, grid: tuple[int, int]) -> int:
    """Returns the largest number of cells that a window can hold.

    >>> window_size(14, (20, 96))
    580
    """
    height, width = grid
    if radius is None:
        return height * width
    return min(height, 2 * radius + 1) * min(width, 2 * radius + 1)


def halo_cells(radius: int | None, grid: tuple[int, int]) -> int:
    """Returns the largest number of cells that the halo of a tile can hold."""
    height, width = grid
    if radius is None:
        return height * width
    return min(height, 2 * radius + TILE_SIDE) * min(width, 2 * radius + TILE_SIDE)
