"""The cross-frame kernel in the ways others compute it, with the same answer: full matrices, and DINO's own order."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from undertow.affinity import KernelSettings


def square_mask(grid: tuple[int, int], radius: int) -> Bool[Tensor, "s s"]:
    """Returns which tokens of a grid lie in the square window around which."""
    rows, columns = (torch.arange(size) for size in grid)
    near_rows, near_columns = ((x[:, None] - x).abs() <= radius for x in (rows, columns))
    return (near_rows[:, None, :, None] & near_columns[None, :, None, :]).reshape(grid[0] * grid[1], -1)


def dense(
    queries: Float[Tensor, "a s d"],
    references: Sequence[Float[Tensor, "a s d"]],
    labels: Float[Tensor, "r n s"],
    grid: tuple[int, int],
    kernel: KernelSettings,
) -> tuple[Float[Tensor, "n s"], Float[Tensor, "s k"]]:
    """Returns labels and weights by the softmax of one reference after the other as full matrices.

    The k best are kept as they come.
    """
    mask = square_mask(grid, max(grid) if kernel.radius is None else kernel.radius).to(queries.device)
    scaled = queries.float() / (math.sqrt(queries.shape[-1]) * kernel.temperature)
    values = scaled.new_zeros(scaled.shape[1], 0)
    indices = torch.zeros(scaled.shape[1], 0, dtype=torch.long, device=queries.device)
    for number, keys in enumerate(references):
        logits = scaled @ keys.float().mT
        if kernel.softmax_scope == "window":
            logits.masked_fill_(~mask, -torch.inf)
        best, where = (torch.softmax(logits, -1).mean(0) * mask).topk(min(kernel.topk, len(mask)))
        values, indices = torch.cat([values, best], 1), torch.cat([indices, where + number * len(mask)], 1)
        values, kept = values.topk(min(kernel.topk, values.shape[1]))
        indices = indices.gather(1, kept)
    weights = values / values.sum(1, keepdim=True)
    return (labels.transpose(0, 1).flatten(1)[:, indices] * weights).sum(-1), weights


def dino(
    queries: Float[Tensor, "a s d"],
    references: Sequence[Float[Tensor, "a s d"]],
    labels: Float[Tensor, "r n s"],
    grid: tuple[int, int],
    kernel: KernelSettings,
) -> tuple[Float[Tensor, "n s"], Float[Tensor, "s m"]]:
    """Returns labels and weights in the order of DINO's and DIFT's evaluations, all references at once.

    exp(cosine / temperature) as full matrices, masked, thresholded at the k-th best, divided. Heads stand side by side.
    """
    joined = [each.float().transpose(0, 1).flatten(1) for each in (queries, *references)]
    target, *sources = (torch.nn.functional.normalize(each, dim=-1) for each in joined)
    affinity = torch.exp(target @ torch.stack(sources).mT / kernel.temperature)
    affinity *= square_mask(grid, max(grid) if kernel.radius is None else kernel.radius).to(queries.device)
    affinity = affinity.transpose(0, 1).flatten(1)
    threshold = affinity.topk(min(kernel.topk, affinity.shape[1])).values[:, -1:]
    affinity[affinity < threshold] = 0
    affinity /= affinity.sum(1, keepdim=True)
    return labels.transpose(0, 1).flatten(1) @ affinity.T, affinity
