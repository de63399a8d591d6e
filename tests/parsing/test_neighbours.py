"""Nearest neighbours against loops; what is unlike all that is labelled."""

import pytest
import torch

from undertow.parsing import neighbours
from undertow.parsing.neighbours import Labelled, NearestNeighbours, find_new, settled, usual_distance


def numbered(start, count, classes=2):
    """Returns tokens that say which number they came as."""
    values = torch.arange(start, start + count).float()[:, None]
    return Labelled(values, torch.nn.functional.one_hot(values[:, 0].long() % 2, classes).float())


def test_neighbours_lend_their_mean_label(monkeypatch):
    monkeypatch.setattr(neighbours, "_MOST_DISTANCES", 200)
    tokens, targets = torch.randn(40, 6), torch.rand(40, 4)
    asked = torch.randn(11, 6)
    labels, distances = NearestNeighbours(tokens, targets, 4)(asked)
    for point, label, distance in zip(asked, labels, distances, strict=True):
        near = sorted(range(40), key=lambda i: float((tokens[i] - point).norm()))[:4]
        assert torch.allclose(label, targets[near].mean(0), atol=1e-5)
        assert float(distance) == pytest.approx(float((tokens[near] - point).norm(dim=1).mean()), rel=1e-4)


def test_fewer_tokens_than_neighbours_are_all_asked():
    tokens, targets = torch.randn(3, 6), torch.rand(3, 4)
    assert torch.allclose(NearestNeighbours(tokens, targets, 4)(torch.randn(2, 6))[0], targets.mean(0).expand(2, -1))


def test_classes_that_come_later_widen_the_labels():
    both = numbered(0, 2) + numbered(0, 3, classes=5)
    assert both.targets.shape == (5, 5) and not both.targets[:, 2:].any()


def test_a_sample_is_in_order_and_without_repeats():
    rows = numbered(0, 50)
    some = rows.sampled(20, (1, 2))
    values = some.tokens[:, 0].tolist()
    assert len(set(values)) == 20 and values == sorted(values)
    assert rows.sampled(50, (1,)) is rows


def test_usual_distance_leaves_the_token_itself_out():
    tokens = torch.arange(6).float()[:, None]
    # The two nearest others of the tokens 0 to 5 are at mean distances 1.5, 1, 1, 1, 1, 1.5.
    assert usual_distance(tokens, 2) == pytest.approx(1.0)
    assert usual_distance(tokens[:1], 4) == 0.0
    assert usual_distance(tokens[:2], 4) == pytest.approx(1.0)


def test_specks_are_no_cluster_and_patches_are():
    grid = (10, 10)
    distances = torch.ones(2, 10, 10)
    distances[0, 2, 2] = 9.0
    tokens = torch.randn(2, 100, 4)
    assert (find_new(tokens, distances.flatten(1), 3.0, grid) == -1).all()
    distances[1, 4:8, 4:8] = 9.0
    found = find_new(tokens, distances.flatten(1), 3.0, grid).reshape(2, 10, 10)
    assert (found[0] == -1).all()
    assert (found[1, 5:7, 5:7] == 0).all() and (found[1] == 0).sum() <= 16


def test_settled_wants_most_of_the_neighbourhood():
    mask = torch.zeros(1, 5, 5, dtype=torch.bool)
    mask[0, :, 3:] = True
    assert torch.equal(settled(mask), mask)
    line = torch.zeros(1, 5, 5, dtype=torch.bool)
    line[0, 2] = True
    assert not settled(line).any()
