"""Labels carried by dense attention, with gradients and without a matrix of tokens by tokens.

Labels ride as the values of a fused attention, padded to the width of the keys, so that every head's A·m comes out
without A. Where a token may not see itself, blocks of rows are made and thrown away, forward and backward: taking the
self term off the fused result afterwards loses all digits where a token's attention is on itself but for a millionth.
"""

import math
from typing import Any

import torch
import torch.nn.functional as functional
from jaxtyping import Float
from torch import Tensor

from undertow.affinity import KernelSettings
from undertow.affinity.similarity import Similarity
from undertow.base import SettingsError

# Rows of a block: 4 MB of logits on a grid of 1600 tokens, 19 MB on one of 9216.
ROWS = 512


def check_tunable(kernel: KernelSettings) -> None:
    """Raises SettingsError if the kernel compares by distance, which no conditioning changes."""
    if kernel.similarity == "distance":
        raise SettingsError("pixels and latents are the same under any conditioning; tune drift, dift, dino or crw")


def carry_per_head(
    queries: Float[Tensor, "o a s d"],
    keys: Float[Tensor, "o a m d"],
    labels: Float[Tensor, "o c m"],
    kernel: KernelSettings,
    *,
    exclude_self: bool = False,
) -> Float[Tensor, "o a c s"]:
    """Returns the labels that every head's softmax over all keys gives each query, in float32.

    There is no window and no top-k, which would stop gradients (DRIFT, section 4.2).

    Args:
        queries: Queries (or features) of each of o objects.
        keys: Keys (or features).
        labels: Soft labels of the keys' tokens.
        kernel: For similarity and temperature.
        exclude_self: Whether query i does not see key i; both are then of one frame.

    Raises:
        SettingsError: if the kernel compares by distance.
    """
    check_tunable(kernel)
    # Similarities come out as logits to the base 2.
    similarity = Similarity(queries, kernel)
    ready, scale = similarity.queries, math.log(2)
    their_keys, values = similarity.keys(keys), labels.float()
    heads = queries.shape[1]
    if exclude_self:
        spread = values[:, None].expand(-1, heads, -1, -1).flatten(0, 1)
        rows = (ready * scale).flatten(0, 1)
        carried: Tensor = _OthersOnly.apply(rows, their_keys.flatten(0, 1), spread)  # type: ignore[no-untyped-call]
        return carried.view(-1, heads, *carried.shape[1:])
    # Fused kernels want values as wide as keys.
    width, parts = their_keys.shape[-1], []
    for part in torch.split(values, their_keys.shape[-1], dim=1):
        padded = functional.pad(part.transpose(1, 2), (0, width - part.shape[1]))
        spread = padded[:, None].expand(-1, heads, -1, -1)
        mixed = functional.scaled_dot_product_attention(ready, their_keys, spread, scale=scale)
        parts.append(mixed[..., : part.shape[1]])
    return torch.cat(parts, dim=-1).transpose(2, 3)


class _OthersOnly(torch.autograd.Function):
    """Softmax attention of tokens over all others but themselves, in blocks of rows."""

    @staticmethod
    def forward(
        ctx: Any, queries: Float[Tensor, "b s e"], keys: Float[Tensor, "b s e"], labels: Float[Tensor, "b c s"]
    ) -> Float[Tensor, "b c s"]:
        carried, sums = torch.empty_like(labels), queries.new_empty(queries.shape[:2])
        for start in range(0, queries.shape[1], ROWS):
            rows = slice(start, start + ROWS)
            logits = _logits(queries, keys, rows)
            sums[:, rows] = logits.logsumexp(-1)
            carried[..., rows] = labels @ (logits - sums[:, rows, None]).exp_().mT
        ctx.save_for_backward(queries, keys, labels, carried, sums)
        return carried

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        queries, keys, labels, carried, sums = ctx.saved_tensors
        (above,) = gradients
        to_queries, to_keys = torch.empty_like(queries), torch.zeros_like(keys)
        means = (above * carried).sum(1)
        for start in range(0, queries.shape[1], ROWS):
            rows = slice(start, start + ROWS)
            weights = (_logits(queries, keys, rows) - sums[:, rows, None]).exp_()
            # d softmax: p · (dp − Σ p dp), where Σ p dp of a row is what it carried times what comes from above.
            weights *= (above[..., rows].mT @ labels).sub_(means[:, rows, None])
            to_queries[:, rows] = weights @ keys
            to_keys += weights.mT @ queries[:, rows]
        return to_queries, to_keys, None


def _logits(queries: Float[Tensor, "b s e"], keys: Float[Tensor, "b s e"], rows: slice) -> Float[Tensor, "b n s"]:
    logits = queries[:, rows] @ keys.mT
    numbers = torch.arange(queries.shape[1], device=queries.device)[rows]
    logits[:, torch.arange(len(numbers), device=queries.device), numbers] = -torch.inf
    return logits
