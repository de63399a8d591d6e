"""Whether a point can be seen: the model's own doubt, and whether the way back leads to where it came from."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Evidence:
    """What is known of matches.

    Attributes:
        mass: share of the forward softmax in the 3 x 3 tokens round the place found.
        gap: distance, in tokens, between the point and where matching back from the place found ends.
    """

    mass: Float[Tensor, "n k"]
    gap: Float[Tensor, "n k"]


@dataclass(frozen=True)
class VisibilityModel:
    """A logistic model of being seen.

    The defaults were fitted on validation worlds alone, by `benchmarks/quality/calibrate_points.py`.

    Attributes:
        bias: log-odds where both terms are zero.
        mass: weight of the logarithm of the mass.
        gap: weight of log(1 + gap).
    """

    bias: float = 2.09
    mass: float = -0.63
    gap: float = -0.83

    def confidence(self, evidence: Evidence) -> Float[Tensor, "n k"]:
        """Returns the probability that each point is seen where it was found."""
        odds = self.bias + self.mass * evidence.mass.clamp(min=1e-6).log() + self.gap * evidence.gap.log1p()
        return torch.sigmoid(odds)
