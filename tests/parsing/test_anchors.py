"""Anchors: checked, brought to the grid, and their clusters named."""

import numpy as np
import pytest
import torch

from undertow.base import CueError, MaskError, MemoryBudgetError
from undertow.masks import VOID
from undertow.parsing.anchors import (
    balanced,
    check_anchors,
    class_shares,
    classes_of,
    majority,
    nearest_labels,
    token_labels,
)
from undertow.video import Video


@pytest.fixture
def video():
    return Video(np.zeros((3, 8, 12, 3), np.uint8))


def test_anchors_are_checked(video):
    labels = np.zeros((8, 12), np.uint8)
    labels[0, 0] = 255
    found = check_anchors(video, {2: labels, 1: labels.astype(np.uint16) + 3})
    assert list(found) == [1, 2]
    # In a map of classes 255 is a class; only 65535 is void.
    assert classes_of(found) == (0, 3, 255, 258)
    with pytest.raises(MaskError, match="10x8"):
        check_anchors(video, {0: np.zeros((8, 10), np.uint16)})
    with pytest.raises(CueError, match="anchor of frame 7"):
        check_anchors(video, {7: labels})
    with pytest.raises(CueError, match="void everywhere"):
        check_anchors(video, {0: np.full((8, 12), VOID, np.uint16)})


def test_a_depth_map_has_too_many_classes(video, monkeypatch):
    depths = np.arange(96, dtype=np.uint16).reshape(8, 12)
    monkeypatch.setattr("undertow.base.memory.available_memory", lambda: 8 * 96 * 96)
    check_anchors(video, {0: depths})
    # What is counted is all anchors together.
    with pytest.raises(MemoryBudgetError, match="the anchors have 97 classes"):
        check_anchors(video, {0: depths, 1: depths + 1})


def test_tokens_have_the_shares_of_what_they_cover():
    labels = np.array([[0, 0, 9, 9], [0, 9, 9, 9], [VOID, VOID, 9, 0], [VOID, 9, 0, VOID]], np.uint16)
    targets, known = token_labels(labels, (0, 9), (2, 2))
    assert known.tolist() == [True, True, False, True]
    assert torch.allclose(targets[[0, 1, 3]], torch.tensor([[0.75, 0.25], [0.0, 1.0], [2 / 3, 1 / 3]]))


def test_tokens_have_the_class_under_their_centre():
    labels = np.array([[0, 0, 9, 9], [0, 9, 9, 4], [VOID, VOID, 9, 0], [VOID, VOID, 0, 0]], np.uint16)
    targets, known = nearest_labels(labels, (0, 4, 9), (2, 2))
    assert known.tolist() == [True, True, False, True]
    assert targets[[0, 1, 3]].argmax(1).tolist() == [2, 1, 0]


def test_clusters_have_their_majority_and_void_has_no_vote():
    assigned = torch.tensor([0, 0, 0, 1, 1, 1, 1, 2])
    classes = torch.tensor([1, 0, 0, 1, 1, 0, 0, 0])
    known = torch.tensor([1, 1, 1, 1, 1, 1, 0, 0]).bool()
    targets, sure = majority(assigned, torch.nn.functional.one_hot(classes, 2).float(), known)
    assert targets.argmax(1)[:7].tolist() == [0, 0, 0, 1, 1, 1, 1]
    assert sure.tolist() == [True] * 7 + [False]


def test_small_classes_are_favoured():
    labels = np.zeros((4, 5), np.uint16)
    labels[0, 0], labels[1] = 7, VOID
    shares = class_shares({0: labels}, (0, 7))
    assert torch.allclose(shares, torch.tensor([14 / 15, 1 / 15]))
    maps = torch.tensor([0.8, 0.2, 0.0])[:, None, None]
    found = balanced(maps, shares, 0.5)[:, 0, 0]
    weighted = [0.8 / (14 / 15) ** 0.5, 0.2 / (1 / 15) ** 0.5, 0.0]
    assert torch.allclose(found, torch.tensor(weighted) / sum(weighted))
    assert torch.equal(balanced(maps, shares, 0.0), maps)
    # Where no anchor says how large classes are, none is favoured.
    assert torch.equal(balanced(maps, torch.zeros(0), 0.5), maps)
