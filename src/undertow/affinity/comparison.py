"""One frame compared with its references: scores of each tile of queries against the halos around it."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from undertow.affinity.settings import KernelSettings
from undertow.affinity.similarity import Similarity, log2_denominators, log2_sum_exp2
from undertow.affinity.windows import Rectangle, halo, window_bias


def keep_best(
    scores: list[Float[Tensor, "g n m"]], window_sizes: list[int], settings: KernelSettings
) -> tuple[Float[Tensor, "n k"], Int[Tensor, "n k"], Float[Tensor, "n"]]:
    """Returns weights, the columns they stand in when all scores are laid side by side, and the mass kept.

    There is one array of scores per reference, as `Comparison.scores` returns them; beyond `window_sizes`, the most
    tokens in a window on each, all is outside.
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


class Comparison:
    """Queries of one frame, keys of its references, and what a softmax over whole references needs.

    Args:
        queries: (a, s, d).
        references: Keys of each reference, (a, s, d).
        grid: Rows and columns of tokens.
        settings: The order of operations.
        head_weights: Weight of each head; heads of weight zero are left out.
    """

    def __init__(
        self,
        queries: Float[Tensor, "a s d"],
        references: Sequence[Float[Tensor, "a s d"]],
        grid: tuple[int, int],
        settings: KernelSettings,
        head_weights: Float[Tensor, "a"],
    ):
        self.grid = grid
        self.settings = settings
        used = head_weights > 0
        self.head_weights = head_weights[used]
        # A slice cuts keys without copying them.
        heads = slice(None) if bool(used.all()) else used
        self._similarity = Similarity(queries[heads], settings)
        # Made ready once for all tiles, whose halos overlap many times; float32 keys of dot products are not copied.
        self._references = [self._similarity.keys(keys[heads]) for keys in references]
        self._denominators: list[Tensor] = []
        if settings.softmax_scope == "reference":
            self._denominators = [log2_denominators(self._similarity.queries, keys) for keys in self._references]

    def scores(self, tile: Rectangle) -> tuple[list[Float[Tensor, "g n m"]], Int[Tensor, "c"]]:
        """Returns the scores of a tile's n tokens, and which token of the references each column is.

        Scores are weights; for softmax scopes "none" and "survivors" they are log2 of weights. There is one array per
        reference, with g = 1, or one per head if the best are chosen per head. Outside windows a weight is zero.
        """
        width = self.grid[1]
        tokens = self.grid[0] * width
        device = self._similarity.queries.device
        queries = tile.cut(self._similarity.queries, self.grid)
        parts, columns = [], []
        bias, bias_of = None, None
        for number, reference in enumerate(self._references):
            radius = self.settings.radius_of(number)
            around = halo(tile, radius, self.grid)
            if bias is None or bias_of != radius:
                bias, bias_of = window_bias(tile, around, radius, self.settings.window, device), radius
            start = bias
            if self._denominators:
                start = bias - tile.cut(self._denominators[number][..., None], self.grid)
            keys = around.cut(reference, self.grid)
            logits = torch.baddbmm(start, queries, keys.mT)
            parts.append(logits if self.settings.softmax_scope == "joint" else self._mix(logits))
            columns.append(around.tokens(width, device) + number * tokens)
        if self.settings.softmax_scope == "joint":
            sizes = [part.shape[-1] for part in parts]
            parts = list(torch.split(self._mix(torch.cat(parts, dim=-1)), sizes, dim=-1))
        return parts, torch.cat(columns)

    def _mix(self, logits: Float[Tensor, "a n m"]) -> Float[Tensor, "g n m"]:
        """Returns scores from logits (which it uses up): the softmax of the settings, heads weighted and summed."""
        scope, stage = self.settings.softmax_scope, self.settings.topk_stage
        weights = self.head_weights[:, None, None]
        if self.settings.logarithmic:
            if scope == "survivors" and stage == "mixed":
                return (logits * weights).sum(dim=0, keepdim=True)
            logits += weights.log2()
            if stage == "per_head" or len(logits) == 1:
                return logits
            # Exponentials are summed over heads; their logarithm is kept, since they may be of any size.
            peak = logits.amax(dim=0, keepdim=True).clamp(min=torch.finfo(logits.dtype).min)
            return (logits - peak).exp2_().sum(dim=0, keepdim=True).log2_() + peak
        if scope != "reference":
            logits -= log2_sum_exp2(logits)[..., None]
        logits += weights.log2()
        shares = logits.exp2_()
        return shares if stage == "per_head" else shares.sum(dim=0, keepdim=True)
