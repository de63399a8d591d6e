"""Tiles of queries against the rectangle of keys that their windows touch, so that no N x N map is ever made."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

# Queries per side of a tile. Small tiles touch fewer keys outside their windows, large ones make better products.
TILE = 8


@dataclass(frozen=True)
class TileRow:
    """A row of `tiles` tiles: which queries it holds and which keys each tile sees.

    Attributes:
        queries: Token numbers by tile, (tiles, m); the last tiles of a grid repeat tokens of their neighbours.
        keys: Token numbers by tile, (tiles, n).
        allowed: Whether a key lies in the window of a query, (tiles, m, n), or None if every key does.
    """

    queries: Int[Tensor, "tiles m"]
    keys: Int[Tensor, "tiles n"]
    allowed: Bool[Tensor, "tiles m n"] | None


def tile_rows(
    grid: tuple[int, int], radius: int | None, window: Literal["square", "disc"], device: torch.device
) -> Iterator[TileRow]:
    """Yields the rows of tiles that cover a grid (height, width), for windows of the given kind and radius.

    Rectangles of keys are moved inside the grid where they would stick out; windows are clipped, not moved.
    """
    height, width = grid
    y_starts, y_size = _starts(height)
    x_starts, x_size = _starts(width)
    y_keys, y_span = _halo(y_starts, y_size, height, radius)
    x_keys, x_span = _halo(x_starts, x_size, width, radius)
    dx_query = _offsets(x_starts, x_size, device)  # (tiles, x_size)
    dx_key = _offsets(x_keys, x_span, device)
    for y_start, y_key in zip(y_starts, y_keys, strict=True):
        y_query = torch.arange(y_start, y_start + y_size, device=device)
        y_keyed = torch.arange(y_key, y_key + y_span, device=device)
        queries = (y_query[None, :, None] * width + dx_query[:, None, :]).flatten(1)
        keys = (y_keyed[None, :, None] * width + dx_key[:, None, :]).flatten(1)
        allowed = None
        if radius is not None:
            dy = (y_query[:, None] - y_keyed[None, :]).abs()
            dx = (dx_query[:, :, None] - dx_key[:, None, :]).abs()
            if window == "square":
                near_y, near_x = dy <= radius, dx <= radius
                both = near_y[None, :, None, :, None] & near_x[:, None, :, None, :]
            else:
                both = dy[None, :, None, :, None] ** 2 + dx[:, None, :, None, :] ** 2 < radius**2
            allowed = both.reshape(len(x_starts), y_size * x_size, y_span * x_span)
        yield TileRow(queries, keys, allowed)


def gather(values: Float[Tensor, "a s d"], tokens: Int[Tensor, "tiles n"]) -> Float[Tensor, "tiles a n d"]:
    """Returns the vectors of the tokens of each tile."""
    return values[:, tokens].transpose(0, 1)


def _starts(length: int) -> tuple[list[int], int]:
    """Returns where tiles start along one axis, the last one moved back inside, and their length."""
    size = min(TILE, length)
    return [min(start, length - size) for start in range(0, length, size)], size


def _halo(starts: list[int], size: int, length: int, radius: int | None) -> tuple[list[int], int]:
    """Returns where each tile's keys start along one axis and how many there are."""
    span = length if radius is None else min(length, size + 2 * radius)
    reach = 0 if radius is None else radius
    return [min(max(start - reach, 0), length - span) for start in starts], span


def _offsets(starts: list[int], size: int, device: torch.device) -> Int[Tensor, "tiles size"]:
    return torch.tensor(starts, device=device)[:, None] + torch.arange(size, device=device)
