"""How many clusters there are: tokens are cut in two as long as that costs little (recursive normalised cuts).

Source: Shi and Malik, "Normalized Cuts and Image Segmentation", 2000; with cosines raised to a power and the threshold
on the cost, as DiffCut (Couairon et al., 2024) has them for diffusion features. Only the number is used.
"""

import numpy as np
import torch
import torch.nn.functional as functional
from jaxtyping import Float, Int
from torch import Tensor

# Parts of fewer tokens are not cut any further.
_LEAST = 8


@torch.no_grad()
def count_clusters(
    points: Float[Tensor, "n c"],
    *,
    seed: int = 0,
    most: int = 40,
    threshold: float = 0.5,
    power: float = 10.0,
    sample: int = 1024,
) -> int:
    """Returns the number of clusters of tokens, by recursive normalised cuts.

    Args:
        points: Features of the tokens.
        seed: Of the sample.
        most: Where to stop.
        threshold: Greatest cost, of 2, at which a part is cut.
        power: What similarities, the cosines that are above 0, are raised to.
        sample: How many tokens are looked at; the work grows with its cube.
    """
    if len(points) > sample:
        rows = np.random.default_rng(seed).choice(len(points), sample, replace=False)
        points = points[torch.from_numpy(np.sort(rows)).to(points.device)]
    unit = functional.normalize(points.float(), dim=1)
    weights = (unit @ unit.T).clamp(min=0).pow(power).double().cpu()
    # The cheapest cut of all parts comes first, so that `most` leaves out those that matter least.
    parts = [_cheapest_cut(weights, torch.arange(len(weights)))]
    while len(parts) < min(most, len(points)):
        best = min(range(len(parts)), key=lambda number: parts[number][0])
        cost, one, other = parts[best]
        if cost >= threshold:
            break
        parts[best : best + 1] = [_cheapest_cut(weights, one), _cheapest_cut(weights, other)]
    return len(parts)


def _cheapest_cut(
    weights: Float[Tensor, "n n"], part: Int[Tensor, " p"]
) -> tuple[float, Int[Tensor, " a"], Int[Tensor, " b"]]:
    """Returns the cost of the best cut of a part along its second eigenvector, and its two sides.

    The cost of sides A and B is cut(A, B) / assoc(A) + cut(A, B) / assoc(B), within the part.
    """
    if len(part) < 2 * _LEAST:
        return 2.0, part, part[:0]
    own = weights[part][:, part]
    degree = own.sum(1)
    scale = degree.rsqrt()
    vector = torch.linalg.eigh(scale[:, None] * own * scale).eigenvectors[:, -2] * scale
    order = vector.argsort()
    own, degree = own[order][:, order], degree[order]
    # Links inside of the first i tokens, for every i at once.
    inside = own.cumsum(0).cumsum(1).diagonal()
    assoc, total = degree.cumsum(0), degree.sum()
    cut = assoc - inside
    costs = (cut / assoc + cut / (total - assoc).clamp(min=1e-12))[_LEAST - 1 : len(part) - _LEAST]
    place = int(costs.argmin()) + _LEAST
    return float(costs.min()), part[order[:place]], part[order[place:]]
