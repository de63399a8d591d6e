"""Similarities as one matrix product: queries made ready once, keys slice by slice, logits to the base 2.

Logits come out as similarity / temperature x log2(e), because exp2 takes a third of the time of exp on a CPU
(torch 2.13); exp2 of them is exp of the logits meant. Everything is float32, also from bfloat16 queries and keys: their
rounding is then the only difference.
"""

import math
from collections.abc import Iterator

import torch
import torch.nn.functional as functional
from jaxtyping import Float, Int
from torch import Tensor

from undertow.affinity.settings import KernelSettings

LOG2_E = math.log2(math.e)
# What is raised is at least this much: below float32's normal numbers a CPU takes ten times as long, and a sum of
# exponentials that are at most one has no use for them.
LEAST_LOGIT = -120.0
# Every query or key.
ALL = slice(None)


class Similarity:
    """One frame's queries, ready to be compared with keys: `queries @ keys(values).mT` is the logits to the base 2.

    Attributes:
        queries: (a, s, e), where e is d, or d + 2 for distances.
        safe: Whether no logit can be so large that exponentials of all could not be summed in float32 as they are.
    """

    queries: Float[Tensor, "a s e"]

    def __init__(self, queries: Float[Tensor, "a s d"], settings: KernelSettings):
        self._kind = settings.similarity
        factor = LOG2_E / settings.temperature
        self.safe = self._kind == "cosine" and factor <= SAFE_LOGIT
        self._scale = 1 / (settings.temperature * queries.shape[-1] ** 0.5)
        fused = self._kind == "dot" and queries.device.type == "cpu" and _fits_bfloat16(queries)
        self._exact = queries.bfloat16() if fused else None
        values = queries.float()
        if self._kind == "dot":
            self.queries = values * (factor / values.shape[-1] ** 0.5)
        elif self._kind == "cosine":
            self.queries = functional.normalize(values, dim=-1) * factor
        else:
            # −|q − k|² = 2 q·k − |k|² − |q|² loses digits where vectors are long and close; a common centre taken off
            # both makes them short.
            self._centre = values.mean(dim=1, keepdim=True)
            values = values - self._centre
            squares = values.square().sum(-1, keepdim=True)
            self.queries = torch.cat([2 * values, -torch.ones_like(squares), -squares], dim=-1) * factor

    def keys(self, values: Float[Tensor, "a m d"]) -> Float[Tensor, "a m e"]:
        """Returns keys ready for the product."""
        values = values.float()
        if self._kind == "dot":
            return values
        if self._kind == "cosine":
            return functional.normalize(values, dim=-1)
        values = values - self._centre
        squares = values.square().sum(-1, keepdim=True)
        return torch.cat([values, squares, torch.ones_like(squares)], dim=-1)

    def log2_denominators(
        self, values: Float[Tensor, "a s d"], rows: Int[Tensor, "n"] | slice = ALL
    ) -> Float[Tensor, "a n"]:
        """Returns log2(Σ_j 2^logit_ij) of some queries i over all keys j, which are given as they come.

        These are the dense denominators of DRIFT's order. A network in bfloat16 gives queries and keys that bfloat16
        holds exactly. Where the processor has instructions for whole matrices of those (AMX), PyTorch's fused attention
        uses them, and sums in float32; it also multiplies by values, which nobody needs here, but takes less than half
        the time all the same.

        Args:
            values: Keys of a frame on the same grid.
            rows: Numbers of the queries.
        """
        if self._exact is not None and _fits_bfloat16(values):
            keys = values.bfloat16()[None]
            fused = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
            sums: Tensor = fused(self._exact[None, :, rows], keys, keys, scale=self._scale)[1][0]
            return sums * LOG2_E
        return log2_denominators(self.queries, self.keys(values), rows)


def _fits_bfloat16(values: Tensor) -> bool:
    """Returns whether bfloat16 holds some numbers exactly, on a processor that multiplies matrices of it."""
    return torch.cpu._is_amx_tile_supported() and torch.equal(values.bfloat16().to(values.dtype), values)


def log2_sum_exp2(logits: Tensor, dim: int, room: Tensor | None = None, *, safe: bool = False) -> Tensor:
    """Returns log2(Σ 2^logits) over an axis, for any size of logits; very small where none is finite.

    Exponentials are written into `room`, a flat tensor, if one is given. Logits that are `safe` are raised as they are.
    """
    out = None if room is None else room[: logits.numel()].view(logits.shape)
    if safe:
        return torch.exp2(logits, out=out).sum(dim=dim).log2_()
    peak = logits.amax(dim=dim, keepdim=True).clamp_(min=torch.finfo(logits.dtype).min)
    shifted = torch.sub(logits, peak, out=out).clamp_(min=LEAST_LOGIT)
    return shifted.exp2_().sum(dim=dim).log2_().add_(peak.squeeze(dim))


# Sides of a block: 1 MB of logits on a CPU (two cores' second-level caches), large launches on a GPU.
CPU_BLOCK = 512
GPU_BLOCK = 4096

# Base-2 logits up to this size can be raised and summed over 2^26 keys in float32 as they are.
SAFE_LOGIT = 100.0

# Exponentials of logits are summed over 2^ROOM of what is at least the largest: small enough to leave digits above
# LEAST_LOGIT, large enough to leave room for logits that are larger.
ROOM = 60.0


def log2_denominators(
    queries: Float[Tensor, "a s e"], keys: Float[Tensor, "a m e"], rows: Int[Tensor, "n"] | slice = ALL
) -> Float[Tensor, "a n"]:
    """Returns log2(Σ_j 2^(q_i·k_j)) of every head and some queries i over all keys j; both as `Similarity` makes them.

    Blocks of queries meet blocks of keys in a buffer that stays in the processor's cache; only the sums leave it.
    PyTorch's fused attention returns the same sums, but in float32 takes twice as long on a CPU.

    A query's largest logit is not looked for. What it makes with the key at its own place, where frames are mostly
    alike, bounds it from below. Only where it is so much larger that the sum overflows, it is summed once more.
    """
    own = keys if keys.shape == queries.shape else keys[:, :1]
    found = (queries * own).sum(dim=-1)[:, rows].add_(ROOM)
    queries = queries[:, rows]
    _sum_up(queries, keys, found)
    for head, wrong in enumerate(found == torch.inf):
        if wrong.any():
            some = queries[head : head + 1, wrong]
            peaks = torch.full_like(some[..., 0], -torch.inf)
            for where, block in _blocks(some, keys[head : head + 1]):
                peaks[where] = torch.maximum(peaks[where], block.amax(dim=-1))
            _sum_up(some, keys[head : head + 1], peaks)
            found[head, wrong] = peaks[0]
    return found


def _sum_up(queries: Float[Tensor, "a s e"], keys: Float[Tensor, "a m e"], shifts: Float[Tensor, "a s"]) -> None:
    """Overwrites what is taken off the logits of each query, by the logarithm of the sum of their exponentials.

    It is infinite where logits are larger than that by about 128.
    """
    sums = torch.zeros_like(shifts)
    for rows, block in _blocks(queries, keys):
        block.sub_(shifts[rows][:, None]).clamp_(min=LEAST_LOGIT)
        sums[rows] += block.exp2_().sum(dim=-1)
    shifts.add_(sums.log2_())


def _blocks(
    queries: Float[Tensor, "a s e"], keys: Float[Tensor, "a m e"]
) -> Iterator[tuple[tuple[int, slice], Float[Tensor, "n m"]]]:
    """Yields logits of some queries, which are named, and some keys, in a buffer that is used again."""
    side = CPU_BLOCK if queries.device.type == "cpu" else GPU_BLOCK
    buffer = queries.new_empty(side * side)
    for head in range(len(queries)):
        for some_keys in torch.split(keys[head], side):
            for start in range(0, queries.shape[1], side):
                rows = head, slice(start, start + side)
                some_queries = queries[rows]
                block = buffer[: len(some_queries) * len(some_keys)].view(len(some_queries), len(some_keys))
                yield rows, torch.mm(some_queries, some_keys.T, out=block)
