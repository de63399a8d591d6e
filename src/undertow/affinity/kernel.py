"""The cross-frame kernel: which tokens of the references each token of a frame takes its labels from, and how much.

One tile of queries at a time: logits against the halo of each reference, exponentials over their denominators, heads
mixed, the k best kept. What is held grows with tiles x windows and with the result, never with the square of the tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from undertow.affinity.denominators import log2_denominators
from undertow.affinity.settings import KernelSettings
from undertow.affinity.similarity import Similarity, log2_sum_exp2
from undertow.affinity.windows import Rectangle, halo, tiles, window_bias, window_size
from undertow.base import SettingsError


@dataclass(frozen=True)
class Affinity:
    """The sparse kernel of one frame over its references.

    Attributes:
        indices: Where each kept weight points, in the references laid end to end: reference x s + token.
        weights: The kept weights; rows sum to one if renormalised. Where a window holds fewer than k tokens, the rest
            weigh zero. A row is all zeros only if every kept weight was too small for float32.
        mass: Share of the kernel that was kept, before renormalising, in [0, 1]. The whole is one per reference for
            softmax scopes "reference" and "window", one altogether for "joint", and all exponentials inside the
            windows for "none" and "survivors".
    """

    indices: Int[Tensor, "s k"]
    weights: Float[Tensor, "s k"]
    mass: Float[Tensor, "s"]

    def apply(self, labels: Float[Tensor, "r n s"]) -> Float[Tensor, "n s"]:
        """Returns the labels that each token takes over: the weighted sum of the references' soft labels.

        Args:
            labels: Soft labels of the references in their order, any number of channels, on any device.
        """
        if labels.shape[-1] != len(self.weights):
            raise SettingsError(
                f"labels have {labels.shape[-1]} tokens but the kernel {len(self.weights)}; bring them to its grid"
            )
        table = labels.transpose(0, 1).flatten(1)
        return (table[:, self.indices.to(table.device)] * self.weights.to(table.device)).sum(dim=-1)


@torch.no_grad()
def compute_affinity(
    queries: Float[Tensor, "a s d"],
    references: Sequence[Float[Tensor, "a s d"]],
    grid: tuple[int, int],
    settings: KernelSettings,
    head_weights: Float[Tensor, "a"] | None = None,
) -> Affinity:
    """Returns the kernel of one frame over its references, exactly as the settings define it.

    Of equal scores at the k-th place, exactly as many are kept as k allows; DINO's and DIFT's code keeps them all.

    Args:
        queries: The frame's queries (or features), float32 or bfloat16; all sums are float32.
        references: Keys (or features) of the references that exist, the anchor (frame 0) first.
        grid: Rows and columns of tokens; s is their product, row-major.
        settings: The order of operations.
        head_weights: Non-negative weight of each head, scaled to sum to one; equal if None. Heads of weight zero are
            left out.

    Raises:
        SettingsError: if shapes, grid and head weights do not fit together.
    """
    heads, weights = _check(queries, references, grid, head_weights)
    similarity = Similarity(queries[heads], settings)
    shifts: list[Tensor | None] = [None] * len(references)
    if settings.softmax_scope == "reference":
        # The weight of a head is a shift of its logits as well.
        shifts = [log2_denominators(similarity.queries, similarity.keys(keys[heads])) for keys in references]
    sizes = [window_size(settings.radius_of(r), grid) for r in range(len(references))]
    kept = sum(min(settings.topk, n) for n in sizes) if settings.topk_scope == "per_reference" else sum(sizes)
    width = kept if settings.topk_scope == "per_reference" else min(settings.topk, kept)
    width *= len(weights) if settings.topk_stage == "per_head" else 1
    indices = torch.zeros(*grid, width, dtype=torch.long, device=queries.device)
    values = torch.zeros(*grid, width, device=queries.device)
    mass = torch.zeros(grid, device=queries.device)
    for tile in tiles(grid):
        part = tile_affinity(tile, similarity, references, shifts, grid, settings, heads, weights)
        where = (slice(tile.top, tile.bottom), slice(tile.left, tile.right))
        shape = (tile.bottom - tile.top, tile.right - tile.left, -1)
        indices[where][..., : part.indices.shape[1]] = part.indices.view(shape)
        values[where][..., : part.weights.shape[1]] = part.weights.view(shape)
        mass[where] = part.mass.view(shape[:2])
    return Affinity(indices.flatten(0, 1), values.flatten(0, 1), mass.flatten())
