"""The microscope: one token's attention over one reference, dense and as the kernel keeps it."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from undertow.affinity.kernel import checked_head_weights, compute_affinity
from undertow.affinity.settings import KernelSettings
from undertow.affinity.similarity import Similarity, log2_sum_exp2
from undertow.base import SettingsError


@dataclass(frozen=True)
class AttentionRow:
    """Where one token looks in a reference.

    Attributes:
        per_head: Each head's softmax over all tokens of the reference; rows sum to one.
        mixed: The heads' weighted sum.
        kept: What the kernel makes of it: window, top-k and the rest of the settings.
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
    head_weights: Float[Tensor, "a"] | None = None,
) -> AttentionRow:
    """Returns where a frame's token (row x columns + column) looks in one reference.

    The reference is taken as a recent frame: a first frame that is free of the window is not assumed.

    Raises:
        SettingsError: if there is no such token, or shapes, grid and head weights do not fit together.
    """
    weights = checked_head_weights(queries, [keys], grid, head_weights)
    if not 0 <= token < queries.shape[1]:
        raise SettingsError(f"token {token} is not on a {grid[0]}x{grid[1]} grid; give 0 to {queries.shape[1] - 1}")
    similarity = Similarity(queries, settings)
    logits = (similarity.queries[:, token, None] @ similarity.keys(keys).mT).squeeze(1)
    per_head = (logits - log2_sum_exp2(logits)[:, None]).exp2()
    affinity = compute_affinity(queries, [keys], grid, replace(settings, first_frame_unrestricted=False), weights)
    kept = torch.zeros_like(per_head[0]).index_add(0, affinity.indices[token], affinity.weights[token])
    return AttentionRow(per_head, weights @ per_head, kept)
