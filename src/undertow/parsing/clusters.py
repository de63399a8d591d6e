"""Clusters of tokens: k-means on any device, the same every time, and how many clusters there are.

k-means has greedy k-means++ seeding (Lloyd, 1982; Arthur and Vassilvitskii, 2007). Their number is found by recursive
normalised cuts: tokens are cut in two as long as that costs little (Shi and Malik, "Normalized Cuts and Image
Segmentation", 2000), with cosines raised to a power and the threshold on the cost, as DiffCut (Couairon et al., 2024)
has them for diffusion features. Only the number is used.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as functional
from jaxtyping import Float, Int
from torch import Tensor

from undertow.base import SettingsError

# Distances that are held at a time: 64 MB.
_MOST_DISTANCES = 1 << 24


@dataclass(frozen=True)
class Clusters:
    """A partition of points.

    Attributes:
        centres: Mean of each cluster, none of which is empty.
        assigned: Cluster of each point.
        inertia: Sum of squared distances to the centres.
    """

    centres: Float[Tensor, "k c"]
    assigned: Int[Tensor, " n"]
    inertia: float


@torch.no_grad()
def kmeans(
    points: Float[Tensor, "n c"], clusters: int, *, seed: int = 0, tries: int = 10, iterations: int = 100
) -> Clusters:
    """Returns the best of several partitions, by inertia.

    Args:
        points: What to part.
        clusters: How many; fewer come back where points coincide.
        seed: Of the first centres. They are drawn on the CPU, so that every device starts alike.
        tries: How often to start anew (scikit-learn's n_init).
        iterations: Most rounds of each try.

    Raises:
        SettingsError: if there are fewer points than clusters.
    """
    if not 1 <= clusters <= len(points):
        raise SettingsError(f"{clusters} clusters were asked of {len(points)} tokens; ask for 1 to {len(points)}")
    generator = torch.Generator().manual_seed(seed)
    points = points.float()
    best: Clusters | None = None
    for _ in range(tries):
        found = _lloyd(points, _seeded(points, clusters, generator), iterations)
        if best is None or found.inertia < best.inertia:
            best = found
    assert best is not None
    return best


def nearest(points: Float[Tensor, "n c"], centres: Float[Tensor, "k c"]) -> tuple[Int[Tensor, " n"], Tensor]:
    """Returns the nearest centre of each point and the squared distance to it, a part of the points at a time."""
    rows = max(1, _MOST_DISTANCES // len(centres))
    squares, found = centres.square().sum(1), []
    for start in range(0, len(points), rows):
        part = points[start : start + rows]
        found.append((part.square().sum(1, keepdim=True) + squares - 2 * part @ centres.T).min(1))
    return torch.cat([each.indices for each in found]), torch.cat([each.values for each in found]).clamp(min=0)


def _seeded(points: Float[Tensor, "n c"], clusters: int, generator: torch.Generator) -> Float[Tensor, "k c"]:
    """Returns first centres: each next one is the best of a few points drawn by their squared distance to the others.

    Best is the one that leaves the least sum of squared distances; 2 + ln k are drawn, as in scikit-learn.
    """
    # Round the mean squares are small, and their differences exact.
    points_at_mean = points - points.mean(0)
    squares = points_at_mean.square().sum(1)

    def distances(places: list[int]) -> Float[Tensor, "m n"]:
        apart = squares[places, None] + squares - 2 * points_at_mean[places] @ points_at_mean.T
        apart[range(len(places)), places] = 0
        return apart.clamp(min=0)

    drawn = 2 + int(math.log(clusters))
    chosen = [int(torch.randint(len(points), (1,), generator=generator))]
    distance = distances(chosen)[0]
    while len(chosen) < clusters:
        mass = distance.double().cpu().cumsum(0)
        at = torch.rand(drawn, generator=generator, dtype=torch.float64) * mass[-1]
        candidates = torch.searchsorted(mass, at, right=True).clamp(max=len(points) - 1).tolist()
        left = torch.minimum(distance, distances(candidates))
        best = int(left.sum(1).argmin())
        chosen.append(candidates[best])
        distance = left[best]
    return points[chosen]


def _lloyd(points: Float[Tensor, "n c"], centres: Float[Tensor, "k c"], iterations: int) -> Clusters:
    """Returns the partition that moving points and centres in turn ends at; centres left without points are dropped."""
    assigned, distance = nearest(points, centres)
    for _ in range(iterations):
        sizes = torch.bincount(assigned, minlength=len(centres))
        kept = sizes > 0
        sums = torch.zeros_like(centres).index_add_(0, assigned, points)
        centres = sums[kept] / sizes[kept, None]
        before, (assigned, distance) = (kept.cumsum(0) - 1)[assigned], nearest(points, centres)
        if torch.equal(before, assigned):
            break
    used = torch.bincount(assigned, minlength=len(centres)) > 0
    return Clusters(centres[used], (used.cumsum(0) - 1)[assigned], float(distance.double().sum()))


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
