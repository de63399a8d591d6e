"""Several models as one kernel, such as tiny+tiny-video: the similarities that each sees are added.

Every model is shown the frame at the size that gives it the grid of the first, at its own site and noise level. With
preset `drift`, each head of the first gets the mean logit over a partner's heads added, each at the temperature of its
model's card; with the presets that compare hidden states, cosines are added. Both are one product of longer vectors, so
that the kernel stays as it is.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as functional
from jaxtyping import Float, UInt8
from torch import Tensor

from undertow.affinity.settings import SimilarityKind
from undertow.observing.observer import FrameFeatures, Observer

if TYPE_CHECKING:
    from undertow.tracking.settings import ResolvedSettings

Heads = Float[Tensor, "a s d"]


class FusedObserver(Observer):
    """Shows frames to a model and its partners; but for `see`, all it does is the first model's."""

    def __init__(self, *args: Any, partners: Sequence[Observer], fused: "ResolvedSettings", **named: Any) -> None:
        """Takes the observers of the partners, and the numbers by which features are joined."""
        super().__init__(*args, **named)
        self._partners, self._fused = partners, fused

    def see(self, images: Sequence[UInt8[np.ndarray, "h w 3"]], indices: Sequence[int]) -> list[FrameFeatures]:
        """Returns the features of frames, those of all models in one; see `Observer.see`."""
        kernel, share = self._fused.kernel, self._fused.share / len(self._partners)
        heats = [kernel.temperature / each.temperature for each in self._fused.partners]
        seen = [super().see(images, indices), *(each.see(images, indices) for each in self._partners)]
        weights = [1 - self._fused.share, *(share * heat for heat in heats)]
        joined = []
        for features in zip(*seen, strict=True):
            keys = join([each.keys for each in features], weights, kernel.similarity)
            alike = all(each.queries is each.keys for each in features)
            queries = keys if alike else join([each.queries for each in features], weights, kernel.similarity)
            joined.append(FrameFeatures(queries, keys))
        return joined


def join(heads: Sequence[Heads], weights: Sequence[float], similarity: SimilarityKind) -> Heads:
    """Returns vectors whose similarity is a weighted sum of those of several models, for every head of the first.

    Args:
        heads: Queries, or keys, of each model for the same tokens.
        weights: Of each model's similarity, divided by the first one's temperature.
        similarity: What the kernel compares by. Of "dot" the scale 1/√d is that of each model's own heads; of "cosine"
            the sum is divided by the sum of the weights.
    """
    first, *others = heads
    alone = [torch.cat(each.unbind(), dim=-1) for each in others]
    if similarity == "cosine":
        parts = [functional.normalize(each, dim=-1) for each in (first, *alone)]
        scales = [weight**0.5 for weight in weights]
    else:
        parts = [first, *alone]
        width = first.shape[-1] + sum(each.shape[-1] for each in alone)
        # q·k of the whole is divided by √width, and of a partner it is a sum over heads instead of their mean.
        scales = [
            (weight * (width / each.shape[-1]) ** 0.5 / count) ** 0.5
            for weight, each, count in zip(weights, heads, [1, *(len(each) for each in others)], strict=True)
        ]
    return torch.cat(
        [part.expand(len(first), -1, -1) * scale for part, scale in zip(parts, scales, strict=True)], dim=-1
    )
