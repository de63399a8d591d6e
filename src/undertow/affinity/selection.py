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
    head_weights: Float[Tensor, "a"],
) -> tuple[Float[Tensor, "n k"], Int[Tensor, "n k"], Float[Tensor, "n"]]:
    """Returns weights, the columns they stand in when all scores are laid side by side, and the mass kept.

    Args:
        scores: One array per reference, as `Comparison.scores` returns them.
        window_sizes: The largest number of tokens in a window on each reference; what is beyond it is outside.
        settings: The order of operations.
        head_weights: Weight of each head, for scores that still have heads.
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

    scope = settings.softmax_scope
    # For scores of one group this is 1; for scores per head, what the head weighs in the end.
    share = head_weights[:, None, None] if len(values) > 1 else torch.ones(1, 1, 1, device=values.device)
    if scope == "survivors":
        kept = log2_sum_exp2(values)
        mass = ((kept - log2_sum_exp2(every)).exp2_() * share[..., 0]).sum(dim=0)
        weights = _side_by_side((values - kept[..., None]).exp2_() * share)
    elif scope == "none":
        values, every = _side_by_side(values), _side_by_side(every)
        kept = log2_sum_exp2(values)
        mass = (kept - log2_sum_exp2(every)).exp2_()
        weights = (values - kept[..., None] if settings.renormalise else values).exp2_()
    else:
        weights = _side_by_side(values)
        kept = weights.sum(dim=-1)
        mass = kept if scope == "joint" else kept / len(scores)
        if settings.renormalise:
            weights = weights / kept.clamp(min=torch.finfo(kept.dtype).tiny)[:, None]
    return weights, _side_by_side(columns), mass


def _side_by_side(values: Tensor) -> Tensor:
    """Returns groups beside each other: (g, n, k) as (n, g·k)."""
    return values.transpose(0, 1).flatten(1)
