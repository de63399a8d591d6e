"""One frame compared with its references: scores of each tile of queries against the halos around it."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from undertow.affinity.denominators import log2_denominators
from undertow.affinity.settings import KernelSettings
from undertow.affinity.similarity import Similarity, log2_sum_exp2
from undertow.affinity.windows import Rectangle, halo, window_bias


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
