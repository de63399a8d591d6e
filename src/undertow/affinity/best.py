"""The k best scores of every query, without sorting all of them, and the weights that they become."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from undertow.affinity.settings import KernelSettings
from undertow.affinity.similarity import log2_sum_exp2
from undertow.affinity.windows import Rectangle


@dataclass(frozen=True)
class Scores:
    """Scores of a tile's n queries against the m cells around it, on r references; of g heads that are ranked apart.

    Attributes:
        values: Weights, or their logarithms to the base 2; zero or minus infinity outside windows.
        first: Number of the first reference.
        around: The cells, row by row.
        grid: Rows and columns of tokens.
        log2_sum: The logarithm of the sum of all weights, where scores are not normalised.
    """

    values: Float[Tensor, "r g m n"]
    first: int
    around: Rectangle
    grid: tuple[int, int]
    log2_sum: Float[Tensor, "g n"] | None = None

    def best(self, k: int) -> tuple[Float[Tensor, "g n k"], Int[Tensor, "g n k"]]:
        """Returns the k best of each query and head, or all if there are fewer, and the tokens they belong to.

        They can only be in the k columns of cells whose best scores are the highest, so that the others need not be
        looked at again. Tokens are those of the references laid end to end.
        """
        (references, heads, cells, queries), width = self.values.shape, self.around.width
        height = cells // width
        columns = self.values.view(references, heads, height, width, queries).amax(dim=2)
        highest = columns.permute(1, 3, 0, 2).reshape(heads, queries, references * width)
        chosen = highest.topk(min(k, references * width), sorted=False).indices
        reference, column = chosen // width, chosen % width
        # Where the chosen columns begin in memory, and from there each of their cells.
        head, query, row = (torch.arange(count, device=chosen.device) for count in (heads, queries, height))
        begin = ((reference * heads + head[:, None, None]) * (height * width) + column) * queries + query[:, None]
        places = (begin[..., None] + row * (width * queries)).flatten(2)
        candidates = self.values.view(-1).index_select(0, places.flatten()).view(places.shape)
        best, where = candidates.topk(min(k, candidates.shape[-1]))
        of, row = where // height, where % height
        across = self.grid[1]
        begun = (
            (self.first + reference) * (self.grid[0] * across) + self.around.top * across + self.around.left + column
        )
        return best, begun.gather(2, of) + row * across


def keep_best(
    scores: list[Scores], window_sizes: list[int], settings: KernelSettings, *, logarithmic: bool
) -> tuple[Float[Tensor, "n k"], Int[Tensor, "n k"], Float[Tensor, "n"]]:
    """Returns the weights kept, the tokens that they belong to, and the mass kept.

    Args:
        scores: Those of a tile, which together are of all references.
        window_sizes: The most tokens in a window on each reference; beyond, all is outside.
        settings: The order of operations.
        logarithmic: Whether scores are logarithms.
    """
    if settings.topk_scope == "joint":
        k = min(settings.topk, sum(window_sizes))
        found = [each.best(k) for each in scores]
    else:
        single = [
            Scores(each.values[n : n + 1], each.first + n, each.around, each.grid)
            for each in scores
            for n in range(len(each.values))
        ]
        found = [each.best(min(settings.topk, size)) for each, size in zip(single, window_sizes, strict=True)]
    values, tokens = (torch.cat(each, dim=-1) for each in zip(*found, strict=True))
    if settings.topk_scope == "joint" and len(found) > 1:
        values, where = values.topk(min(k, values.shape[-1]))
        tokens = tokens.gather(2, where)

    # Heads that were kept apart so far now stand side by side in a token's row.
    values, tokens = (each.transpose(0, 1).flatten(1) for each in (values, tokens))
    if settings.logarithmic:
        every = torch.cat([each.log2_sum for each in scores if each.log2_sum is not None])
        mass = (log2_sum_exp2(values, 1) - log2_sum_exp2(every, 0)).exp2_().clamp_(max=1)
        # Less the largest, so that large logits neither overflow nor round off.
        weights = (values - values.amax(dim=-1, keepdim=True) if settings.renormalise else values).exp2_()
        kept = weights.sum(dim=-1)
    else:
        weights = values.exp2_() if logarithmic else values
        kept = weights.sum(dim=-1)
        mass = kept if settings.softmax_scope == "joint" else kept / len(window_sizes)
    if settings.renormalise:
        # Where every weight is too small for float32 nothing is carried, and nothing is divided by zero.
        weights = weights / kept.clamp(min=torch.finfo(kept.dtype).tiny)[:, None]
    return weights, tokens, mass
