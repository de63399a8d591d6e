"""Nearest neighbours against loops; scikit-learn's classifiers behind the same face."""

import sys

import pytest
import torch

from undertow.base import SettingsError
from undertow.parsing import classifiers
from undertow.parsing.classifiers import NearestNeighbours, fit_classifier


def rows(count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    classes = torch.randint(3, (count,), generator=generator)
    tokens = torch.randn(count, 6, generator=generator) + 4 * torch.nn.functional.one_hot(classes, 6)
    return tokens, torch.nn.functional.one_hot(classes, 4).float()


def test_neighbours_lend_their_mean_label(monkeypatch):
    monkeypatch.setattr(classifiers, "_MOST_DISTANCES", 200)
    tokens, targets = rows(40)
    targets = torch.rand(40, 4)
    asked = torch.randn(11, 6)
    labels, distances = NearestNeighbours(tokens, targets, 4).with_distances(asked)
    for point, label, distance in zip(asked, labels, distances, strict=True):
        near = sorted(range(40), key=lambda i: float((tokens[i] - point).norm()))[:4]
        assert torch.allclose(label, targets[near].mean(0), atol=1e-5)
        assert float(distance) == pytest.approx(float((tokens[near] - point).norm(dim=1).mean()), rel=1e-4)


def test_fewer_tokens_than_neighbours_are_all_asked():
    tokens, targets = rows(3)
    assert torch.allclose(NearestNeighbours(tokens, targets, 4)(torch.randn(2, 6)), targets.mean(0).expand(2, -1))


@pytest.mark.parametrize("name", ["knn", "mlp", "forest", "adaboost"])
def test_classifiers_tell_separate_classes_apart(name):
    if name != "knn":
        pytest.importorskip("sklearn")
    classifier = fit_classifier(name, *rows(120), seed=1)
    tokens, targets = rows(60, seed=1)
    found = classifier(tokens)
    assert found.shape == (60, 4)
    assert torch.allclose(found.sum(1), torch.ones(60), atol=1e-5)
    assert (found.argmax(1) == targets.argmax(1)).float().mean() > 0.9
    # Class 3 was never seen.
    assert not found[:, 3].any()
    assert torch.equal(found, fit_classifier(name, *rows(120), seed=1)(tokens))


def test_adaboost_is_certain_since_its_probabilities_hardly_differ():
    pytest.importorskip("sklearn")
    found = fit_classifier("adaboost", *rows(120), seed=1)(rows(60, seed=1)[0])
    assert found.max(1).values.eq(1).all()


def test_without_scikit_learn_a_sentence_says_so(monkeypatch):
    for module in ("sklearn.neural_network", "sklearn.ensemble"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(SettingsError, match=r"undertow\[parse\]"):
        fit_classifier("mlp", *rows(5))
