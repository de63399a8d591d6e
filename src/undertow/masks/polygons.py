"""Masks as polygons along the edges of pixels, and back, without a difference.

A ring goes from corner to corner of pixels (the top left pixel reaches from 0 to 1), its mask on the right-hand side as
seen on a screen. Pieces that touch at a corner are pieces apart. A hole is joined to the ring around it by a slit of no
width, since most formats know polygons without holes.
"""

from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Bool, Float

Ring = list[tuple[int, int]]
# Right, down, left, up: the steps along a ring.
_STEPS = ((1, 0), (0, 1), (-1, 0), (0, -1))


def polygons_of(mask: Bool[np.ndarray, "h w"]) -> list[Ring]:
    """Returns one polygon (x, y) for each piece of a mask, the largest piece first, holes joined by slits.

    >>> polygons_of(np.array([[True, False], [True, True]]))
    [[(0, 0), (1, 0), (1, 1), (2, 1), (2, 2), (0, 2)]]
    """
    rings = _rings(mask)
    pieces = [ring for ring in rings if _area(ring) > 0]
    holes = sorted((ring for ring in rings if _area(ring) < 0), key=lambda ring: _corner(ring)[::-1])
    home = {point: place for place, ring in enumerate(pieces) for point in ring}
    for hole in holes:
        x, y = corner = _corner(hole)
        start = hole.index(corner)
        turned = hole[start:] + hole[: start + 1]
        # To the left of a hole's first corner is its own piece, up to the ring that the slit leads to.
        while (x, y) not in home:
            x -= 1
        place = home[x, y]
        at = pieces[place].index((x, y))
        pieces[place][at + 1 : at + 1] = [*turned, (x, y)]
        home |= dict.fromkeys(hole, place)
    pieces.sort(key=lambda ring: -_area(ring))
    return [_straightened(ring) for ring in pieces]


def mask_of(rings: Iterable[Float[np.ndarray, "n 2"] | Sequence[tuple[float, float]]], size: tuple[int, int]) -> Bool[
    np.ndarray, "h w"
]:  # fmt: skip
    """Returns the pixels whose centres lie in polygons (x, y): in an odd number of windings of each, in any of them.

    Args:
        rings: The polygons.
        size: Height and width of the mask.
    """
    height, width = size
    mask = np.zeros(size, bool)
    for ring in rings:
        points = np.asarray(ring, np.float64).reshape(-1, 2)
        ends = np.roll(points, -1, axis=0)
        low = np.clip(np.ceil(np.minimum(points[:, 1], ends[:, 1]) - 0.5), 0, height).astype(int)
        high = np.clip(np.ceil(np.maximum(points[:, 1], ends[:, 1]) - 0.5), 0, height).astype(int)
        counts = high - low
        edge = np.repeat(np.arange(len(points)), counts)
        rows = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts) + low[edge]
        slope = (rows + 0.5 - points[edge, 1]) / (ends[edge, 1] - points[edge, 1])
        x = points[edge, 0] + slope * (ends[edge, 0] - points[edge, 0])
        columns = np.clip(np.ceil(x - 0.5), 0, width).astype(int)
        turns = np.zeros((height, width + 1), np.int32)
        np.add.at(turns, (rows, columns), 1)
        mask |= (np.cumsum(turns, axis=1)[:, :width] & 1).astype(bool)
    return mask


def _rings(mask: Bool[np.ndarray, "h w"]) -> list[Ring]:
    """Returns the closed paths along the edges of a mask, each corner of a pixel on the way a point."""
    padded = np.pad(mask, 1)
    inside = padded[1:-1, 1:-1]
    # Where a pixel has nothing beside it: above, to the right, below, to the left; and where that edge starts.
    sides = ((padded[:-2, 1:-1], 0, 0), (padded[1:-1, 2:], 1, 0), (padded[2:, 1:-1], 1, 1), (padded[1:-1, :-2], 0, 1))
    leaving: dict[tuple[int, int], list[int]] = {}
    for direction, (beside, right, down) in enumerate(sides):
        rows, columns = np.nonzero(inside & ~beside)
        for point in zip((columns + right).tolist(), (rows + down).tolist(), strict=True):
            leaving.setdefault(point, []).append(direction)
    rings = []
    while leaving:
        start = next(iter(leaving))
        point, direction, ring = start, leaving[start][0], []
        while True:
            choices = leaving[point]
            # Two pixels that touch at a corner only: to the right, around the pixel that the path is on.
            direction = next(turn for turn in ((direction + 1) % 4, direction, (direction + 3) % 4) if turn in choices)
            choices.remove(direction)
            if not choices:
                del leaving[point]
            ring.append(point)
            point = point[0] + _STEPS[direction][0], point[1] + _STEPS[direction][1]
            if point == start and (direction + 1) % 4 not in leaving.get(point, ()):
                break
        rings.append(ring)
    return rings


def _area(ring: Ring) -> float:
    points = np.array(ring)
    x, y = points.T
    return float((x * np.roll(y, -1) - y * np.roll(x, -1)).sum()) / 2


def _corner(ring: Ring) -> tuple[int, int]:
    """Returns the topmost point of a ring, the leftmost of these."""
    return min(ring, key=lambda point: point[::-1])


def _straightened(ring: Ring) -> Ring:
    """Returns a ring without the points that lie on the way from one to another."""
    kept = []
    for before, point, after in zip([ring[-1], *ring[:-1]], ring, [*ring[1:], ring[0]], strict=True):
        step = (point[0] - before[0], point[1] - before[1]), (after[0] - point[0], after[1] - point[1])
        along = step[0][0] * step[1][1] == step[0][1] * step[1][0]
        forward = step[0][0] * step[1][0] + step[0][1] * step[1][1] > 0
        if not (along and forward):
            kept.append(point)
    return kept
