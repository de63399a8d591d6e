"""The loss of tuning with its gradient in one sweep over blocks of rows.

A row of attention meets the loss of its own token only. So while a block of rows is at hand, its part of the loss and
of the gradients of queries, keys and head weights can be had from it: logits and exponentials are computed once, where
a forward and a backward compute them twice, and nothing of tokens by tokens is ever kept.
"""

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from undertow.affinity import KernelSettings
from undertow.affinity.similarity import Similarity
from undertow.tracking.tuning.attention import check_tunable

# Carried labels are kept this far from 0 and 1, whose logarithms are not finite.
CLAMP = 1e-6
# Rows of a block, as many as its logits have room for: 16 MB on a CPU, where more rows gain no time, 64 MB elsewhere.
ROWS_CPU, ROOM_CPU, ROOM = 256, 2**22, 2**24


def self_loss(
    queries: Float[Tensor, "o a s d"],
    keys: Float[Tensor, "o a s d"],
    masks: Float[Tensor, "o s"],
    head_weights: Float[Tensor, "o a"],
    kernel: KernelSettings,
    *,
    exclude_self: bool = False,
) -> Float[Tensor, "o"]:
    """Returns each object's binary cross-entropy of its mask carried within the frame (DRIFT, equations 4 and 5).

    The same as `carry_per_head`, heads mixed, and `cross_entropy` of that.

    Args:
        queries: Queries (or features) under each object's conditioning.
        keys: Keys (or features).
        masks: Each object's soft mask.
        head_weights: How its heads are mixed.
        kernel: For similarity and temperature.
        exclude_self: Whether a token does not see itself.

    Raises:
        SettingsError: if the kernel compares by distance.
    """
    check_tunable(kernel)
    similarity = Similarity(queries, kernel)
    # Similarities come out as logits to the base 2.
    ready, theirs = similarity.queries * math.log(2), similarity.keys(keys)
    wanted = torch.is_grad_enabled()
    losses: Tensor = _SelfLoss.apply(ready, theirs, masks, head_weights, exclude_self, wanted)  # type: ignore[no-untyped-call]
    return losses


def cross_entropy(mixed: Float[Tensor, "o s"], masks: Float[Tensor, "o s"]) -> Float[Tensor, "o"]:
    """Returns the binary cross-entropy of soft masks, averaged over tokens."""
    found = mixed.clamp(CLAMP, 1 - CLAMP)
    return -(masks * found.log() + (1 - masks) * (1 - found).log()).mean(-1)


class _SelfLoss(torch.autograd.Function):
    """`self_loss` of ready queries and keys; gradients are made forward, and scaled backward."""

    @staticmethod
    def forward(
        ctx: Any,
        queries: Float[Tensor, "o a s e"],
        keys: Float[Tensor, "o a s e"],
        masks: Float[Tensor, "o s"],
        head_weights: Float[Tensor, "o a"],
        exclude_self: bool,
        wanted: bool,
    ) -> Float[Tensor, "o"]:
        losses = queries.new_zeros(len(queries))
        gradients = [torch.zeros_like(each) for each in (queries, keys, head_weights)] if wanted else []
        for place in range(len(queries)):
            own = [each[place] for each in (queries, keys, masks, head_weights)]
            losses[place] = _of_one(own, [each[place] for each in gradients], exclude_self)
        ctx.save_for_backward(*gradients)
        return losses

    @staticmethod
    def backward(ctx: Any, *above: Tensor) -> tuple[Tensor | None, ...]:
        (scale,) = above
        to_queries, to_keys, to_weights = ctx.saved_tensors
        each = scale[:, None, None, None]
        return to_queries * each, to_keys * each, None, to_weights * scale[:, None], None, None


def _of_one(own: list[Tensor], gradients: list[Tensor], exclude_self: bool) -> Tensor:
    """Returns the loss of one object and, where there is room for them, adds up its gradients."""
    queries, keys, mask, weights = own
    heads, tokens, _ = queries.shape
    on_cpu = queries.device.type == "cpu"
    rows_at_once = max(1, (ROOM_CPU if on_cpu else ROOM) // (heads * tokens))
    rows_at_once = min(rows_at_once, ROWS_CPU) if on_cpu else rows_at_once
    loss, places = queries.new_zeros(()), torch.arange(tokens, device=queries.device)
    for start in range(0, tokens, rows_at_once):
        rows = slice(start, start + rows_at_once)
        logits, wanted = queries[:, rows] @ keys.mT, mask[rows]
        if exclude_self:
            logits[:, torch.arange(len(wanted), device=logits.device), places[rows]] = -torch.inf
        attention = logits.softmax(-1)
        carried = attention @ mask
        mixed = weights @ carried
        found = mixed.clamp(CLAMP, 1 - CLAMP)
        loss -= (wanted * found.log() + (1 - wanted) * (1 - found).log()).sum()
        if not gradients:
            continue
        to_queries, to_keys, to_weights = gradients
        above = ((1 - wanted) / (1 - found) - wanted / found) * (mixed == found) / tokens
        to_weights += carried @ above
        # d softmax: p · (m_j − Σ p m), for labels m; what comes from above is a factor of a whole row.
        spread = torch.sub(mask, carried[..., None], out=logits).mul_(attention)
        factor = (weights[:, None] * above)[..., None]
        to_queries[:, rows] = (spread @ keys) * factor
        to_keys += spread.mT @ (queries[:, rows] * factor)
    return loss / tokens
