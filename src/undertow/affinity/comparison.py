"""One frame compared with its references: scores of each tile of queries against the halos around it."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
import torch.nn.functional as functional
from jaxtyping import Bool, Float
from torch import Tensor

from undertow.affinity.best import Scores
from undertow.affinity.motion import Nearness
from undertow.affinity.settings import KernelSettings
from undertow.affinity.similarity import ALL, LEAST_LOGIT, Similarity, log2_sum_exp2
from undertow.affinity.threads import in_threads
from undertow.affinity.windows import TILE_SIDE, Rectangle, around_tokens, halo, halo_cells, tiles, window_bias

# Bytes of logits that are worked on together; on a CPU they stay in a core's second-level cache.
CPU_BYTES = 1 << 20
GPU_BYTES = 1 << 28


class _Alike:
    """References whose windows are of one size, and room for the scores of a tile against all of them."""

    def __init__(self, radius: int | None, numbers: list[int], keys: list[Float[Tensor, "a s d"]], room: Tensor):
        self.radius, self.numbers, self.room = radius, numbers, room
        self._keys = keys
        self._cut: tuple[Rectangle, Tensor] | None = None

    def columns(self, strip: Rectangle, grid: tuple[int, int]) -> Float[Tensor, "r a cells d"]:
        """Returns the keys of all rows that lie around a strip, which are cut out once for all of its tiles."""
        around = halo(strip, self.radius, grid)
        if self._cut is None or self._cut[0] != around:
            self._cut = around, torch.stack([around.view(keys, grid) for keys in self._keys]).flatten(2, 3)
        return self._cut[1]

    def values(self, *shape: int) -> Tensor:
        """Returns the room in some shape."""
        return self.room[: torch.Size(shape).numel()].view(shape)


@dataclass(frozen=True)
class _Room:
    """Where one thread works: memory that is taken once, as what is asked for anew has to be cleared each time.

    Attributes:
        alike: References by the size of their windows, with room for their scores.
        step: How many references are worked on together.
        scratch: Room for their logits.
    """

    alike: list[_Alike]
    step: int
    scratch: Tensor


class Comparison:
    """Queries of one frame, keys of its references, and what a softmax over whole references needs.

    Args:
        queries: (a, s, d).
        references: Keys of each reference, (a, s, d).
        grid: Rows and columns of tokens.
        settings: The order of operations.
        head_weights: Weight of each head; heads of weight zero are skipped.
        places: Where the tokens of each reference are expected; see `compute_affinity`.
        wanted: The queries that are asked for, all if None.

    Attributes:
        heads: Number of heads that are ranked apart.
        logarithmic: Whether scores are logarithms of weights to the base 2. For ranking they are as good, unless
            weights of several heads are to be summed before.
    """

    def __init__(
        self,
        queries: Float[Tensor, "a s d"],
        references: Sequence[Float[Tensor, "a s d"]],
        grid: tuple[int, int],
        settings: KernelSettings,
        head_weights: Float[Tensor, "a"],
        places: Sequence[Float[Tensor, "3 s"] | None] | None = None,
        wanted: Bool[Tensor, "s"] | None = None,
    ):
        self._grid, self._settings = grid, settings
        self._wanted = None if wanted is None else wanted.cpu().view(grid)
        used = head_weights > 0
        self._weights = head_weights[used][:, None, None]
        self._apart = apart = len(self._weights) == 1 or settings.topk_stage == "per_head"
        self.heads = len(self._weights) if apart else 1
        self.logarithmic = settings.logarithmic or apart
        # A slice cuts keys without copying them.
        chosen = slice(None) if bool(used.all()) else used
        similarity = Similarity(queries[chosen], settings)
        self._queries = similarity.queries
        self._safe = similarity.safe
        keys = [similarity.keys(each[chosen]) for each in references]
        if places is not None and settings.radius is not None:
            nearness = Nearness(grid, settings.radius, queries.device)
            self._queries = nearness.queries(self._queries)
            keys = [nearness.keys(*each) for each in zip(keys, places, strict=True)]
            # Where every reference is expected elsewhere, all weights may be too small to be summed as they are.
            self._safe = self._safe and any(each is None for each in places)
        self._denominators: Tensor | None = None
        if settings.softmax_scope == "reference":
            self._denominators = denominators = queries.new_zeros(len(keys), *queries[chosen].shape[:2]).float()
            # Tiles are compared as a whole.
            rows = ALL if self._wanted is None else around_tokens(self._wanted, 0).flatten().nonzero()[:, 0]

            def sum_up(numbers: Iterator[int]) -> None:
                for number in numbers:
                    denominators[number, :, rows] = similarity.log2_denominators(references[number][chosen], rows)

            in_threads(sum_up, range(len(keys)), queries.device)
            # A last number of 1, which takes the denominator off in the product.
            keys = [functional.pad(each, (0, 1), value=1.0) for each in keys]
        self._keys = keys

    def scores(self, strips: Iterable[Rectangle]) -> Iterator[tuple[Rectangle, list[Scores]]]:
        """Yields the tiles of some strips and, for each size of window, their scores, which the next overwrite.

        Tiles with no query that is wanted are left out.
        """
        room = self._room()
        for strip in strips:
            for tile in tiles(strip):
                if self._wanted is None or bool(self._wanted[tile.slices].any()):
                    yield tile, self._scores(tile, strip, room)

    def _room(self) -> _Room:
        radii = list(map(self._settings.radius_of, range(len(self._keys))))
        cells = TILE_SIDE**2 * max(halo_cells(radius, self._grid) for radius in set(radii))
        alike, new = [], self._queries.new_empty
        for radius, group in groupby(range(len(self._keys)), radii.__getitem__):
            numbers = list(group)
            values = new(len(numbers) * self.heads * TILE_SIDE**2 * halo_cells(radius, self._grid))
            alike.append(_Alike(radius, numbers, [self._keys[number] for number in numbers], values))
        limit = CPU_BYTES if self._queries.device.type == "cpu" else GPU_BYTES
        step = max(1, limit // (self._queries.itemsize * len(self._weights) * cells))
        return _Room(alike, step, new(min(step, len(self._keys)) * len(self._weights) * cells))

    def _scores(self, tile: Rectangle, strip: Rectangle, room: _Room) -> list[Scores]:
        scope, every = self._settings.softmax_scope, []
        whole: Tensor | float = 0.0
        if scope == "joint":
            sums = [log2_sum_exp2(x, 2) for alike in room.alike for _, x in self._logits(tile, strip, room, alike)]
            whole = log2_sum_exp2(torch.cat(sums), 0)[:, None]
        for alike in room.alike:
            around = halo(tile, alike.radius, self._grid)
            values, sums = alike.values(len(alike.numbers), self.heads, around.cells, tile.cells), []
            for some, logits in self._logits(tile, strip, room, alike, values if self._apart else None):
                if scope in ("window", "joint"):
                    logits -= whole if scope == "joint" else log2_sum_exp2(logits, 2)[:, :, None]
                self._mix(logits, values[some])
                if self._settings.logarithmic:
                    sums.append(log2_sum_exp2(values[some], 2, room=room.scratch, safe=self._safe))
            log2_sum = log2_sum_exp2(torch.cat(sums), 0) if sums else None
            every.append(Scores(values, alike.numbers[0], around, self._grid, log2_sum))
        return every

    def _logits(
        self,
        tile: Rectangle,
        strip: Rectangle,
        room: _Room,
        alike: _Alike,
        out: Float[Tensor, "r a m n"] | None = None,
    ) -> Iterator[tuple[slice, Float[Tensor, "some a m n"]]]:
        """Yields some references at a time, and the logits of a tile's n queries against the m cells around it.

        The cells come first, so that sums and maxima over them are made of many queries at once. Logits are in
        `out`, or else overwritten by the next.
        """
        around = halo(tile, alike.radius, self._grid)
        bias = window_bias(tile, around, alike.radius, self._settings.window, self._queries.device)
        queries = tile.cut(self._queries, self._grid).mT
        keys = alike.columns(strip, self._grid)[:, :, around.top * around.width : around.bottom * around.width]
        for first in range(0, len(keys), room.step):
            some = slice(first, first + room.step)
            shape = (len(keys[some]), len(queries), *bias.shape)
            logits = room.scratch[: torch.Size(shape).numel()].view(shape) if out is None else out[some]
            batch = queries.expand(len(logits), -1, -1, -1)
            if self._denominators is not None:
                off = tile.cut(self._denominators[alike.numbers[some]][..., None], self._grid).mT
                batch = torch.cat([batch, -off], dim=2)
            torch.bmm(keys[some].flatten(0, 1), batch.flatten(0, 1), out=logits.flatten(0, 1))
            logits += bias
            yield some, logits

    def _mix(self, logits: Float[Tensor, "r a m n"], out: Float[Tensor, "r g m n"]) -> None:
        """Writes the scores that logits make, which it uses up: heads are weighted and, unless ranked apart, summed."""
        if self._apart:
            # They are in their place already.
            if len(self._weights) > 1:
                logits += self._weights.log2()
        elif self._settings.softmax_scope == "survivors":
            torch.sum(logits.mul_(self._weights), dim=1, keepdim=True, out=out)
        elif self.logarithmic:
            # Exponentials are summed over heads; their logarithm is kept, since they may be of any size.
            out.copy_(log2_sum_exp2(logits.add_(self._weights.log2()), 1)[:, None])
        else:
            # What is outside a window, or as good as zero, becomes zero.
            shares = logits.add_(self._weights.log2()).clamp_(min=LEAST_LOGIT).exp2_().sub_(2**LEAST_LOGIT)
            torch.sum(shares, dim=1, keepdim=True, out=out)
