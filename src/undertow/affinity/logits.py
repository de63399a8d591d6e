"""Similarities as plain products, so that one kernel serves dot products, cosines and distances."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from undertow.affinity.settings import KernelSettings

# Queries per block of the dense denominators: a block's logits against a few thousand keys stay in the cache.
BLOCK = 64


def prepare(
    queries: Float[Tensor, "a s d"], keys: Float[Tensor, "a n d"], settings: KernelSettings
) -> tuple[Float[Tensor, "a s e"], Float[Tensor, "a n e"]]:
    """Returns vectors whose plain inner products are the logits: similarity over temperature.

    A distance becomes a product by two more dimensions: -|q - k|^2 = (2q, -|q|^2, 1) . (k, 1, -|k|^2). Its vectors are
    centred on the keys' mean first, which leaves distances alone and keeps the squares small, so that their difference
    loses no digits.
    """
    if settings.similarity == "dot":
        return queries / (math.sqrt(queries.shape[-1]) * settings.temperature), keys
    if settings.similarity == "cosine":
        normal = torch.nn.functional.normalize
        return normal(queries, dim=-1) / settings.temperature, normal(keys, dim=-1)
    centre = keys.mean(dim=1, keepdim=True)
    q, k = queries - centre, keys - centre
    q_ones, k_ones = torch.ones_like(q[..., :1]), torch.ones_like(k[..., :1])
    extended = torch.cat([2 * q, -q.square().sum(-1, keepdim=True), q_ones], dim=-1)
    return extended / settings.temperature, torch.cat([k, k_ones, -k.square().sum(-1, keepdim=True)], dim=-1)


def dense_denominators(queries: Float[Tensor, "a s e"], keys: Float[Tensor, "a n e"]) -> Float[Tensor, "a s"]:
    """Returns the log-sum-exp of every query's logits over all keys, block by block.

    On a CPU, small blocks that stay in the cache take about half the time of reading the log-sum-exp off a fused
    attention, which also multiplies by values. A GPU has a fused kernel that returns it.
    """
    if queries.device.type == "cuda":
        return _fused_denominators(queries, keys)
    result = torch.empty(queries.shape[:2])
    for head in range(queries.shape[0]):
        transposed = keys[head].T.contiguous()
        for start in range(0, queries.shape[1], BLOCK):
            logits = queries[head, start : start + BLOCK] @ transposed
            largest = logits.amax(dim=1, keepdim=True)
            total = logits.sub_(largest).exp_().sum(dim=1)
            result[head, start : start + BLOCK] = total.log_() + largest[:, 0]
    return result


def _fused_denominators(queries: Float[Tensor, "a s e"], keys: Float[Tensor, "a n e"]) -> Float[Tensor, "a s"]:
    """Returns the same from CUDA's memory-efficient attention, whose float32 path keeps the statistics exact."""
    pad = -queries.shape[-1] % 8
    q, k = (torch.nn.functional.pad(each, (0, pad))[None].contiguous() for each in (queries, keys))
    _, lse, _, _ = torch.ops.aten._scaled_dot_product_efficient_attention(q, k, k, None, True, scale=1.0)
    # The kernel pads the statistics to a multiple of 32 queries.
    return lse[0, :, : queries.shape[1]]
