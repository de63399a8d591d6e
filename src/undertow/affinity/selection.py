"""The k best scores of each token, as weights, with the share of the kernel that they hold."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from undertow.affinity.settings import KernelSettings
from undertow.affinity.similarity import log2_sum_exp2


def keep_best(
    scores: list[Float[Tensor, "g n m"]],
    window_sizes: list[int],
    settings: KernelSettings,
) -> tuple[Float[Tensor, "n k"], Int[Tensor, "n k"], Float[Tensor, "n"]]:
    """Returns weights, the columns they stand in when all scores are laid side by side, and the mass kept.

    Args:
        scores: One array per reference, as `Comparison.scores` returns them.
        window_sizes: The largest number of tokens in a window on each reference; what is beyond it is outside.
        settings: The order of operations.
    """
    every = torch.cat(scores, dim=-1)
    if settings.topk_scope == "joint":
        values, columns = every.topk(min(settings.topk, sum(window_sizes), every.shape[-1]))
    else:
        found, offset = [], 0
        for part, size in zip(scores, window_sizes, strict=True):
            best, where = part.topk(min(settings.topk, size, part.shape[-1]))
            found.append((best, where + offset))
            offset += part.shape[-1]
        values, columns = (torch.cat(each, dim=-1) for each in zip(*found, strict=True))

    # Heads that were kept apart so far now stand side by side in a token's row.
    values = _side_by_side(values)
    if settings.logarithmic:
        mass = (log2_sum_exp2(values) - log2_sum_exp2(_side_by_side(every))).exp2_().clamp_(max=1)
        # Less the largest, so that large logits neither overflow nor round off.
        weights = (values - values.amax(dim=-1, keepdim=True) if settings.renormalise else values).exp2_()
        kept = weights.sum(dim=-1)
    else:
        weights = values
        kept = weights.sum(dim=-1)
        mass = kept if settings.softmax_scope == "joint" else kept / len(scores)
    if settings.renormalise:
        # Where every weight is too small for float32 nothing is carried, and nothing is divided by zero.
        weights = weights / kept.clamp(min=torch.finfo(kept.dtype).tiny)[:, None]
    return weights, _side_by_side(columns), mass


def _side_by_side(values: Tensor) -> Tensor:
    """Returns groups beside each other: (g, n, k) as (n, g·k)."""
    return values.transpose(0, 1).flatten(1)
