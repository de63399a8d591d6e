"""k-means against loops, and what it does with points that are few or alike."""

import pytest
import torch

from undertow.base import SettingsError
from undertow.parsing import clusters
from undertow.parsing.clusters import kmeans, nearest


def blobs(count, each=40, spread=0.05, seed=0):
    generator = torch.Generator().manual_seed(seed)
    centres = torch.nn.functional.normalize(torch.randn(count, 16, generator=generator), dim=1)
    truth = torch.arange(count).repeat_interleave(each)
    return centres[truth] + spread * torch.randn(count * each, 16, generator=generator), truth


def test_nearest_is_the_least_distance(monkeypatch):
    monkeypatch.setattr(clusters, "_MOST_DISTANCES", 40)
    points, centres = torch.randn(30, 5), torch.randn(7, 5)
    number, squared = nearest(points, centres)
    distances = torch.stack([torch.stack([((p - c) ** 2).sum() for c in centres]) for p in points])
    assert torch.equal(number, distances.argmin(1))
    assert torch.allclose(squared, distances.amin(1), atol=1e-4)


def test_one_round_moves_centres_to_the_means_of_their_points():
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(50, 3, generator=generator)
    # Each centre is a point, so that none is without any.
    start = points[:4]
    found = clusters._lloyd(points, start, iterations=1)
    first = [min(range(4), key=lambda k: float(((p - start[k]) ** 2).sum())) for p in points]
    means = [torch.stack([p for p, k in zip(points, first, strict=True) if k == number]).mean(0) for number in range(4)]
    assert torch.allclose(found.centres, torch.stack(means), atol=1e-5)
    second = [min(range(4), key=lambda k: float(((p - means[k]) ** 2).sum())) for p in points]
    assert found.assigned.tolist() == second
    inertia = sum(float(((p - means[k]) ** 2).sum()) for p, k in zip(points, second, strict=True))
    assert found.inertia == pytest.approx(inertia, rel=1e-4)


def test_separate_groups_are_found_and_always_the_same():
    points, truth = blobs(6)
    found = kmeans(points, 6, seed=3)
    pairs = {(int(a), int(b)) for a, b in zip(found.assigned, truth, strict=True)}
    assert len(pairs) == 6
    assert torch.equal(found.assigned, kmeans(points, 6, seed=3).assigned)


def test_it_is_as_good_as_that_of_scikit_learn():
    cluster = pytest.importorskip("sklearn.cluster", reason="scikit-learn is not installed")
    ours, theirs, plain = [], [], []
    for seed in range(12):
        points, _ = blobs(20, each=15, spread=0.2, seed=seed)
        ours.append(kmeans(points, 20, seed=seed, tries=1).inertia)
        theirs.append(cluster.KMeans(20, n_init=1, random_state=seed).fit(points.numpy()).inertia_)
        generator = torch.Generator().manual_seed(seed)
        start = points[torch.randperm(len(points), generator=generator)[:20]]
        plain.append(clusters._lloyd(points, start, iterations=100).inertia)
    assert sum(ours) / sum(theirs) < 1.02 < sum(plain) / sum(theirs)


def test_more_tries_are_never_worse():
    points, _ = blobs(9, each=10, spread=0.3)
    assert kmeans(points, 9, tries=10).inertia <= kmeans(points, 9, tries=1).inertia


def test_points_that_coincide_make_fewer_clusters():
    points = torch.tensor([[0.0, 1.0], [2.0, 3.0]]).repeat(10, 1)
    found = kmeans(points, 5)
    assert len(found.centres) == 2
    assert sorted(found.assigned.unique().tolist()) == [0, 1]
    assert found.inertia == pytest.approx(0)


@pytest.mark.parametrize("count", [0, 11])
def test_a_number_that_cannot_be_is_refused(count):
    with pytest.raises(SettingsError, match="10 tokens"):
        kmeans(torch.randn(10, 2), count)
