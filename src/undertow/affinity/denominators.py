"""The dense softmax denominators of DRIFT's order, without the dense softmax.

A token's weight inside its window needs the sum of exponentials over all keys of the reference. Blocks of queries
meet blocks of keys in a buffer that stays in the processor's cache; only the sums leave it. PyTorch's fused attention
returns the same sums, but multiplies by values too, which nobody needs here, and takes twice as long on a CPU.
"""

import torch
from jaxtyping import Float
from torch import Tensor

# Sides of a block: 1 MB of logits on a CPU (two cores' second-level caches), large launches on a GPU.
CPU_BLOCK = 512
GPU_BLOCK = 4096

# Base-2 logits up to this size can be raised and summed over 2^26 keys in float32 as they are.
SAFE_LOGIT = 100.0


def log2_denominators(queries: Float[Tensor, "a s e"], keys: Float[Tensor, "a m e"]) -> Float[Tensor, "a s"]:
    """Returns log2(Σ_j 2^(q_i·k_j)) for every head and query i, over all keys j.

    Args:
        queries: Queries made ready by `Similarity`.
        keys: All keys of one reference, made ready by `Similarity`.
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
