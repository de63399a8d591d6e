"""Connected regions of a class, followed through time by the pixels they share from one frame to the next."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Int32


class RegionTracks:
    """The connected regions of one class, those that share pixels in neighbouring frames being one.

    Pixels are connected through their four sides. What is kept is one number per region and frame.
    """

    def __init__(self) -> None:
        """Starts without frames."""
        self._first: list[int] = []
        self._parent: list[int] = []
        self._size: list[int] = []
        self._before: Int32[np.ndarray, "h w"] | None = None

    def add(self, inside: Bool[np.ndarray, "h w"]) -> None:
        """Takes the class's pixels in the next frame."""
        regions, count = connected_regions(inside)
        start = len(self._parent)
        self._first.append(start)
        self._parent.extend(range(start, start + count))
        self._size.extend(np.bincount(regions.ravel(), minlength=count + 1)[1:].tolist())
        if self._before is not None:
            shared = (regions > 0) & (self._before > 0)
            pairs = np.unique(np.stack([self._before[shared], regions[shared]], 1), axis=0)
            earlier = self._first[-2]
            for old, new in pairs.tolist():
                self._join(earlier + old - 1, start + new - 1)
        self._before = regions

    def largest(
        self, place: int, inside: Bool[np.ndarray, "h w"], count: int
    ) -> Iterator[tuple[int, Bool[np.ndarray, "h w"]]]:
        """Yields the rank (0 for the largest) and pixels of each of the `count` largest regions that a frame has."""
        regions, found = connected_regions(inside)
        ranks = {root: rank for rank, root in enumerate(self._ranked()[:count])}
        for number in range(1, found + 1):
            rank = ranks.get(self._root(self._first[place] + number - 1))
            if rank is not None:
                yield rank, regions == number

    def _ranked(self) -> list[int]:
        """Returns the regions by their pixels over all frames, the largest first."""
        totals: dict[int, int] = {}
        for number, size in enumerate(self._size):
            root = self._root(number)
            totals[root] = totals.get(root, 0) + size
        return sorted(totals, key=lambda root: (-totals[root], root))

    def _root(self, number: int) -> int:
        while self._parent[number] != number:
            self._parent[number] = self._parent[self._parent[number]]
            number = self._parent[number]
        return number

    def _join(self, one: int, other: int) -> None:
        low, high = sorted((self._root(one), self._root(other)))
        self._parent[high] = low


def connected_regions(inside: Bool[np.ndarray, "h w"]) -> tuple[Int32[np.ndarray, "h w"], int]:
    """Returns the number of the connected region of each pixel, from 1 in reading order (0 outside), and how many.

    Runs of a row are joined with the runs of the row above that they touch, so that work goes with the number of runs.
    """
    padded = np.pad(inside, ((0, 0), (1, 1)))
    rows, columns = np.nonzero(padded[:, 1:] != padded[:, :-1])
    # Every run begins and ends at a change; all of it in reading order.
    row, begin, end = rows[::2], columns[::2], columns[1::2]
    parent = np.arange(len(row))
    starts = np.searchsorted(row, np.arange(inside.shape[0] + 1))

    def root(run: int) -> int:
        while parent[run] != run:
            parent[run] = parent[parent[run]]
            run = parent[run]
        return run

    for line in range(1, inside.shape[0]):
        above, here = starts[line - 1], starts[line]
        while above < starts[line] and here < starts[line + 1]:
            if begin[above] < end[here] and begin[here] < end[above]:
                low, high = sorted((root(above), root(here)))
                parent[high] = low
            if end[above] < end[here]:
                above += 1
            else:
                here += 1
    roots = np.array([root(run) for run in range(len(row))], np.int64)
    numbers, places = np.unique(roots, return_inverse=True)
    regions = np.zeros(inside.shape, np.int32)
    for line, first, last, place in zip(row, begin, end, places, strict=True):
        regions[line, first:last] = place + 1
    return regions, len(numbers)
