"""One query's attention in full, for looking at it: every head's softmax over a frame, and what the kernel keeps."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from undertow.affinity.kernel import compute_affinity
from undertow.affinity.logits import prepare
from undertow.affinity.settings import KernelSettings


@dataclass(frozen=True)
class AttentionRow:
    """Where one token looks in one reference frame.

    Attributes:
        per_head: Each head's softmax over all keys.
        mixed: The mean of the heads.
        kept: What the kernel keeps of it after window and top-k, renormalised as the settings say.
    """

    per_head: Float[Tensor, "a s"]
    mixed: Float[Tensor, "s"]
    kept: Float[Tensor, "s"]


@torch.no_grad()
def attention_row(
    queries: Float[Tensor, "a s d"],
    keys: Float[Tensor, "a s d"],
    token: int,
    grid: tuple[int, int],
    settings: KernelSettings,
) -> AttentionRow:
    """Returns the attention of one token of a frame over a reference frame."""
    q, k = prepare(queries.float(), keys.float(), settings)
    per_head = torch.softmax(torch.einsum("ae,ase->as", q[:, token], k), dim=-1)
    affinity = compute_affinity(queries, [keys], grid, settings)
    kept = per_head.new_zeros(keys.shape[1])
    kept.index_add_(0, affinity.indices[token], affinity.weights[token])
    return AttentionRow(per_head, per_head.mean(dim=0), kept)
