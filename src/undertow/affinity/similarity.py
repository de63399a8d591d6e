"""Similarities as one matrix product: queries made ready once, keys slice by slice, logits to the base 2.

Logits come out as similarity / temperature x log2(e), because exp2 takes a third of the time of exp on a CPU
(torch 2.13); exp2 of them is exp of the logits meant. Everything is float32, also from bfloat16 queries and keys: their
rounding is then the only difference.
"""

import math

import torch
import torch.nn.functional as functional
from jaxtyping import Float
from torch import Tensor

from undertow.affinity.settings import KernelSettings

LOG2_E = math.log2(math.e)


class Similarity:
    """One frame's queries, ready to be compared with keys: `queries @ keys(values).mT` is the logits to the base 2.

    Attributes:
        queries: (a, s, e), where e is d, or d + 2 for distances.
    """

    queries: Float[Tensor, "a s e"]

    def __init__(self, queries: Float[Tensor, "a s d"], settings: KernelSettings):
        self._kind = settings.similarity
        factor = LOG2_E / settings.temperature
        values = queries.float()
        if self._kind == "dot":
            self.queries = values * (factor / values.shape[-1] ** 0.5)
        elif self._kind == "cosine":
            self.queries = functional.normalize(values, dim=-1) * factor
        else:
            # −|q − k|² = 2 q·k − |k|² − |q|² loses digits where vectors are long and close; a common centre taken off
            # both makes them short.
            self._centre = values.mean(dim=1, keepdim=True)
            values = values - self._centre
            squares = values.square().sum(-1, keepdim=True)
            self.queries = torch.cat([2 * values, -torch.ones_like(squares), -squares], dim=-1) * factor

    def keys(self, values: Float[Tensor, "a m d"]) -> Float[Tensor, "a m e"]:
        """Returns keys ready for the product."""
        values = values.float()
        if self._kind == "dot":
            return values
        if self._kind == "cosine":
            return functional.normalize(values, dim=-1)
        values = values - self._centre
        squares = values.square().sum(-1, keepdim=True)
        return torch.cat([values, squares, torch.ones_like(squares)], dim=-1)


def log2_sum_exp2(logits: Tensor) -> Tensor:
    """Returns log2(Σ 2^logits) over the last axis, for any size of logits, as long as one is finite."""
    peak = logits.amax(dim=-1, keepdim=True)
    return (logits - peak).exp2_().sum(dim=-1).log2_().add_(peak.squeeze(-1))
