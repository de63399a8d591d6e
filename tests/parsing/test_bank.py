"""The reservoir against algorithm R one token at a time; what is unlike all that is labelled."""

import numpy as np
import pytest
import torch

from undertow.parsing.bank import FeatureBank, Labelled
from undertow.parsing.novelty import find_new, settled, usual_distance


def numbered(start, count, classes=2):
    """Returns tokens that say which number they came as."""
    values = torch.arange(start, start + count).float()[:, None]
    return Labelled(values, torch.nn.functional.one_hot(values[:, 0].long() % 2, classes).float())


def test_the_reservoir_is_algorithm_r():
    bank, kept, seen = FeatureBank(10, seed=4), [], 0
    for count in (7, 5, 40, 1, 100):
        bank = bank.add(numbered(seen, count))
        first = min(count, 10 - len(kept))
        kept += range(seen, seen + first)
        generator = np.random.default_rng((4, seen + first))
        # Token i, counted from 0, draws a place among i + 1.
        places = generator.integers(0, seen + first + 1 + np.arange(count - first))
        for number, place in zip(range(seen + first, seen + count), places, strict=True):
            if place < 10:
                kept[place] = number
        seen += count
        assert bank.seen == seen
        assert bank.kept.tokens[:, 0].tolist() == kept
        assert bank.kept.targets.argmax(1).tolist() == [number % 2 for number in kept]


def test_every_token_has_the_same_chance():
    counts = np.zeros(60)
    for seed in range(400):
        bank = FeatureBank(12, seed=seed)
        for start in range(0, 60, 20):
            bank = bank.add(numbered(start, 20))
        counts[bank.kept.tokens[:, 0].int().numpy()] += 1
    # Expected 80 each, with a standard deviation of 8.
    assert counts.sum() == 400 * 12
    assert np.abs(counts.reshape(3, 20).mean(1) - 80).max() < 4 * 8 / np.sqrt(20)


def test_classes_that_come_later_widen_the_labels():
    bank = FeatureBank(4).add(numbered(0, 4)).add(numbered(4, 200, classes=3))
    assert bank.kept.targets.shape == (4, 3)
    both = numbered(0, 2) + numbered(0, 3, classes=5)
    assert both.targets.shape == (5, 5) and not both.targets[:, 2:].any()
    assert FeatureBank(4).add(Labelled(torch.zeros(0, 1), torch.zeros(0, 2))).kept is None


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
