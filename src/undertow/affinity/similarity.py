"""Similarities as one matrix product: queries made ready once, keys slice by slice, logits to the base 2.

Logits come out as similarity / temperature x log2(e), because exp2 takes a third of the time of exp on a CPU
(torch 2.13); exp2 of them is exp of the logits meant. Everything is float32, also from bfloat16 queries and keys: their
rounding is then the only difference.
"""

import math

import torch
import torch.nn.functional as functional
from jaxtyping import Float
from torch import Tensor

from undertow.affinity.settings import KernelSettings

LOG2_E = math.log2(math.e)


class Similarity:
    """One frame's queries, ready to be compared with keys: `queries @ keys(values).mT` is the logits to the base 2.

    Attributes:
        queries: (a, s, e), where e is d, or d + 2 for distances.
    """

    queries: Float[Tensor, "a s e"]

    def __init__(self, queries: Float[Tensor, "a s d"], settings: KernelSettings):
        self._kind = settings.similarity
        factor = LOG2_E / settings.temperature
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


def log2_sum_exp2(logits: Tensor) -> Tensor:
    """Returns log2(Σ 2^logits) over the last axis, for any size of logits, as long as one is finite."""
    peak = logits.amax(dim=-1, keepdim=True)
    return (logits - peak).exp2_().sum(dim=-1).log2_().add_(peak.squeeze(-1))


# Sides of a block: 1 MB of logits on a CPU (two cores' second-level caches), large launches on a GPU.
CPU_BLOCK = 512
GPU_BLOCK = 4096

# Base-2 logits up to this size can be raised and summed over 2^26 keys in float32 as they are.
SAFE_LOGIT = 100.0


def log2_denominators(queries: Float[Tensor, "a s e"], keys: Float[Tensor, "a m e"]) -> Float[Tensor, "a s"]:
    """Returns log2(Σ_j 2^(q_i·k_j)) for every head and query i, over all keys j; both as `Similarity` makes them.

    These are the dense denominators of DRIFT's order. Blocks of queries meet blocks of keys in a buffer that stays in
    the processor's cache; only the sums leave it. PyTorch's fused attention returns the same sums, but multiplies by
    values too, which nobody needs here, and takes twice as long on a CPU.
    """
    heads, tokens, _ = queries.shape
    side = CPU_BLOCK if queries.device.type == "cpu" else GPU_BLOCK
    buffer = queries.new_empty(side * side)
    sums = queries.new_zeros(heads, tokens)
    # |q·k| ≤ |q||k|: with vectors this short no exponential can overflow, and a running maximum would be wasted.
    safe = bool(queries.norm(dim=-1).max() * keys.norm(dim=-1).max() <= SAFE_LOGIT)
    peaks = torch.zeros_like(sums) if safe else torch.full_like(sums, -torch.inf)
    for head in range(heads):
        for some_keys in torch.split(keys[head], side):
            for start in range(0, tokens, side):
                rows = (head, slice(start, start + side))
                some_queries = queries[rows]
                block = buffer[: len(some_queries) * len(some_keys)].view(len(some_queries), len(some_keys))
                torch.mm(some_queries, some_keys.T, out=block)
                if not safe:
                    peak = torch.maximum(peaks[rows], block.amax(dim=-1))
                    sums[rows] *= (peaks[rows] - peak).exp2_()
                    peaks[rows] = peak
                    block -= peak[:, None]
                sums[rows] += block.exp2_().sum(dim=-1)
    return sums.log2_().add_(peaks)
