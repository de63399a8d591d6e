"""The cross-frame kernel: which tokens of the references each token of a frame takes its labels from, and how much.

One tile of queries at a time: logits against the halo of each reference, exponentials over their denominators, heads
mixed, the k best kept. What is held grows with the tokens and the window, never with the square of the tokens.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from undertow.affinity.best import keep_best
from undertow.affinity.comparison import Comparison
from undertow.affinity.settings import KernelSettings
from undertow.affinity.similarity import Similarity, log2_sum_exp2
from undertow.affinity.threads import in_threads
from undertow.affinity.windows import Rectangle, strips, window_size
from undertow.base import SettingsError


@dataclass(frozen=True)
class Affinity:
    """The sparse kernel of one frame over its references.

    Attributes:
        indices: Where each kept weight points, in the references laid end to end: reference x s + token.
        weights: The kept weights, float32; rows sum to one if renormalised. Where a window holds fewer than k tokens,
            the rest weigh zero. A row is zero altogether only if all of its weights were too small for float32,
            or if its query was not wanted.
        mass: Share of the kernel that was kept, before renormalising, in [0, 1]. The whole is one per reference for
            softmax scopes "reference" and "window", one altogether for "joint", and all exponentials inside the
            windows for "none" and "survivors".
    """

    indices: Int[Tensor, "s k"]
    weights: Float[Tensor, "s k"]
    mass: Float[Tensor, "s"]

    def apply(self, labels: Float[Tensor, "r n s"]) -> Float[Tensor, "n s"]:
        """Returns the labels that each token takes over: the weighted sum of the references' soft labels.

        They are those of the references in their order, with any number of channels, on any device.

        Raises:
            SettingsError: if the labels are not on the kernel's grid.
        """
        if labels.shape[-1] != len(self.weights):
            raise SettingsError(
                f"labels have {labels.shape[-1]} tokens but the kernel {len(self.weights)}; bring them to its grid"
            )
        end_to_end = labels.transpose(0, 1).flatten(1)
        return (end_to_end[:, self.indices.to(labels.device)] * self.weights.to(labels.device)).sum(dim=-1)

    def only(self, wanted: Bool[Tensor, "s"]) -> "Affinity":
        """Returns the kernel in which rows of queries that are not wanted are zero."""
        asked = wanted.to(self.weights.device)
        return Affinity(self.indices * asked[:, None], self.weights * asked[:, None], self.mass * asked)


@torch.no_grad()
def compute_affinity(
    queries: Float[Tensor, "a s d"],
    references: Sequence[Float[Tensor, "a s d"]],
    grid: tuple[int, int],
    settings: KernelSettings,
    head_weights: Float[Tensor, "a"] | None = None,
    places: Sequence[Float[Tensor, "3 s"] | None] | None = None,
    wanted: Bool[Tensor, "s"] | None = None,
) -> Affinity:
    """Returns the kernel of one frame over its references, exactly as the settings define it.

    Of equal scores at the k-th place only as many are kept as k allows, where DINO's and DIFT's code keeps them all.

    Args:
        queries: The frame's queries (or features), float32 or bfloat16. All arithmetic is float32.
        references: Keys (or features) of the references that exist, the anchor (frame 0) first.
        grid: Rows and columns of tokens; s is their product, row-major.
        settings: The order of operations.
        head_weights: Non-negative weight of each head, scaled here to sum to one; equal if None. Heads of weight zero
            are skipped.
        places: For each reference, row and column at which each of its tokens is expected in the frame, and from 0 to 1
            how far that is to be believed; None for a reference whose tokens may be anywhere. Weights, before the k
            best are kept, fall with the distance from there as a Gaussian does, of a quarter of the radius.
        wanted: The queries that are asked for, all if None. Rows of others are zero. Tiles of 8 x 8 in which none is
            wanted are left out.

    Raises:
        SettingsError: if shapes, grid and head weights do not fit together, or places are given without a radius.
    """
    weights = checked_head_weights(queries, references, grid, head_weights)
    if places is not None and settings.radius is None:
        raise SettingsError("tokens are expected near their places within a window; give a radius, or no places")
    comparison = Comparison(queries, references, grid, settings, weights, places, wanted)
    sizes = [window_size(settings.radius_of(number), grid) for number in range(len(references))]
    joint = settings.topk_scope == "joint"
    k = min(settings.topk, sum(sizes)) if joint else sum(min(settings.topk, size) for size in sizes)
    k *= comparison.heads
    indices = torch.zeros(*grid, k, dtype=torch.long, device=queries.device)
    kept = torch.zeros(*grid, k, device=queries.device)
    mass = torch.zeros(grid, device=queries.device)

    def fill(some: Iterator[Rectangle]) -> None:
        for tile, scores in comparison.scores(some):
            values, pointed_at, share = keep_best(scores, sizes, settings, logarithmic=comparison.logarithmic)
            rows, columns, shape = *tile.slices, (-1, tile.width, values.shape[1])
            # Near the border a halo may hold fewer than k tokens; the rest of the row keeps weight zero.
            indices[rows, columns, : values.shape[1]] = pointed_at.view(shape)
            kept[rows, columns, : values.shape[1]] = values.view(shape)
            mass[rows, columns] = share.view(shape[:2])

    in_threads(fill, strips(grid), queries.device)
    found = Affinity(indices.flatten(0, 1), kept.flatten(0, 1), mass.flatten())
    return found if wanted is None else found.only(wanted)


def checked_head_weights(
    queries: Float[Tensor, "a s d"],
    references: Sequence[Float[Tensor, "a s d"]],
    grid: tuple[int, int],
    head_weights: Float[Tensor, "a"] | None,
) -> Float[Tensor, "a"]:
    """Returns head weights that sum to one, after checking that everything fits together.

    Raises:
        SettingsError: if it does not.
    """
    if queries.ndim != 3 or queries.shape[1] != grid[0] * grid[1]:
        raise SettingsError(
            f"a {grid[0]}x{grid[1]} grid has {grid[0] * grid[1]} tokens but queries have shape {tuple(queries.shape)}"
        )
    if not references:
        raise SettingsError("there is no reference to compare with; give at least one")
    for number, keys in enumerate(references):
        if keys.shape != queries.shape:
            raise SettingsError(
                f"reference {number} has shape {tuple(keys.shape)} but the queries {tuple(queries.shape)}; "
                "observe both with the same model and size"
            )
    heads = queries.shape[0]
    if head_weights is None:
        return torch.full((heads,), 1 / heads, device=queries.device)
    weights = head_weights.to(queries.device, torch.float32)
    if weights.shape != (heads,):
        raise SettingsError(f"{weights.numel()} head weights were given for {heads} heads; give one each")
    if not bool(torch.isfinite(weights).all() and (weights >= 0).all() and weights.sum() > 0):
        raise SettingsError(
            f"head weights are {weights.tolist()}; none may be negative, and at least one must be above 0"
        )
    return weights / weights.sum()


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
    per_head = (logits - log2_sum_exp2(logits, 1)[:, None]).exp2()
    affinity = compute_affinity(queries, [keys], grid, replace(settings, first_frame_unrestricted=False), weights)
    kept = torch.zeros_like(per_head[0]).index_add(0, affinity.indices[token], affinity.weights[token])
    return AttentionRow(per_head, weights @ per_head, kept)
