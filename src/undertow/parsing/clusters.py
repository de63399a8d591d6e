"""Clusters of tokens: k-means on any device, the same every time.

Seeding is that of greedy k-means++ (Lloyd, 1982; Arthur and Vassilvitskii, 2007).
"""

import math
from dataclasses import dataclass

import torch
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
