import itertools
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from undertow.metrics.confusion import ConfusionMatrix
from undertow.metrics.matching import (
    UNMATCHED,
    VOID,
    apply_mapping,
    best_assignment,
    count_overlaps,
    match_clusters,
    match_hungarian,
    match_majority,
)

MODES = ("anchor-majority", "hungarian-per-frame", "hungarian-per-video", "majority-per-video")

tables = st.tuples(st.integers(1, 4), st.integers(1, 4)).flatmap(
    lambda shape: arrays.arrays(np.int64, shape, elements=st.integers(0, 6))
)


def best_total(overlaps: np.ndarray) -> int:
    """The most pixels any one-to-one matching shares, by trying them all."""
    table = overlaps if overlaps.shape[0] <= overlaps.shape[1] else overlaps.T
    rows = range(len(table))
    return max(
        sum(table[i, j] for i, j in zip(rows, order, strict=True))
        for order in itertools.permutations(range(table.shape[1]), len(table))
    )


def shared(overlaps: np.ndarray, mapping: np.ndarray) -> int:
    return sum(int(overlaps[k, label]) for k, label in enumerate(mapping) if label != UNMATCHED)


def test_overlaps_counted_by_hand():
    clusters = np.array([[0, 0, 1, 1, 2, -1]])
    labels = np.array([[0, VOID, 1, 0, 9, 0]])
    np.testing.assert_array_equal(count_overlaps(clusters, labels, 3, 2), [[1, 0], [1, 1], [0, 0]])


@settings(max_examples=60, deadline=None)
@given(arrays.arrays(np.int16, (2, 3, 4), elements=st.integers(-1, 4)))
def test_overlaps_equal_pixel_by_pixel_counting(maps):
    expected = np.zeros((3, 2), int)
    for cluster, label in zip(maps[0].ravel(), maps[1].ravel(), strict=True):
        if 0 <= cluster < 3 and 0 <= label < 2:
            expected[cluster, label] += 1
    np.testing.assert_array_equal(count_overlaps(*maps, 3, 2), expected)


def test_void_is_dropped_before_the_vote():
    clusters, labels = np.zeros((1, 10), int), np.array([[VOID] * 7 + [1, 1, 0]])
    np.testing.assert_array_equal(match_majority(count_overlaps(clusters, labels, 2, 3)), [1, UNMATCHED])


def test_majority_gives_ties_to_the_lower_label():
    np.testing.assert_array_equal(match_majority(np.array([[2, 2, 1], [0, 3, 3], [0, 0, 0]])), [0, 1, UNMATCHED])


def test_majority_may_give_one_label_to_many():
    np.testing.assert_array_equal(match_majority(np.array([[5, 1], [4, 0], [1, 0]])), [0, 0, 0])


def test_hungarian_prefers_the_whole_to_the_largest_pair():
    np.testing.assert_array_equal(match_hungarian(np.array([[10, 9], [9, 1]])), [1, 0])


def test_hungarian_leaves_surplus_clusters_unmatched():
    np.testing.assert_array_equal(match_hungarian(np.array([[1, 0], [5, 0], [0, 3]])), [UNMATCHED, 0, 1])
    np.testing.assert_array_equal(match_hungarian(np.array([[0, 4, 0]])), [1])


def test_hungarian_matches_nothing_with_nothing_in_common():
    np.testing.assert_array_equal(match_hungarian(np.array([[3, 0], [2, 0]])), [0, UNMATCHED])
    np.testing.assert_array_equal(match_hungarian(np.zeros((2, 2), int)), [UNMATCHED, UNMATCHED])


def test_hungarian_breaks_ties_the_same_way_each_time():
    tied = np.full((3, 3), 4)
    first = match_hungarian(tied)
    assert sorted(first) == [0, 1, 2]
    for _ in range(3):
        np.testing.assert_array_equal(match_hungarian(tied), first)


@settings(max_examples=60, deadline=None)
@given(tables)
def test_hungarian_is_best_and_one_to_one(overlaps):
    mapping = match_hungarian(overlaps)
    matched = mapping[mapping != UNMATCHED]
    assert len(set(matched.tolist())) == len(matched)
    assert shared(overlaps, mapping) == best_total(overlaps) <= shared(overlaps, match_majority(overlaps))


@settings(max_examples=60, deadline=None)
@given(tables, st.randoms(use_true_random=False))
def test_renaming_clusters_and_labels(overlaps, random):
    clusters, labels = (random.sample(range(size), size) for size in overlaps.shape)
    renamed = overlaps[np.ix_(clusters, labels)]
    assert shared(renamed, match_hungarian(renamed)) == shared(overlaps, match_hungarian(overlaps))
    assert shared(renamed, match_majority(renamed)) == shared(overlaps, match_majority(overlaps))
    np.testing.assert_array_equal(match_majority(overlaps[clusters]), match_majority(overlaps)[clusters])


def test_modes_differ_as_they_are_defined():
    # Two clusters that swap their labels between the frames, the second frame being the larger.
    overlaps = np.array([[[4, 0], [0, 3]], [[0, 9], [5, 0]]])
    np.testing.assert_array_equal(match_clusters(overlaps, "anchor-majority"), [[0, 1], [0, 1]])
    np.testing.assert_array_equal(match_clusters(overlaps, "anchor-majority", (1,)), [[1, 0], [1, 0]])
    np.testing.assert_array_equal(match_clusters(overlaps, "anchor-majority", (0, 1)), [[1, 0], [1, 0]])
    np.testing.assert_array_equal(match_clusters(overlaps, "hungarian-per-frame"), [[0, 1], [1, 0]])
    np.testing.assert_array_equal(match_clusters(overlaps, "hungarian-per-video"), [[1, 0], [1, 0]])
    overlaps[1, 1, 0], overlaps[0, 1, 1] = 0, 0
    np.testing.assert_array_equal(match_clusters(overlaps, "majority-per-video"), [[1, UNMATCHED]] * 2)


def test_clusters_that_the_anchor_does_not_show_stay_unknown():
    overlaps = np.array([[[4, 0], [0, 0]], [[4, 0], [0, 5]]])
    mapping = match_clusters(overlaps, "anchor-majority")
    np.testing.assert_array_equal(mapping, [[0, UNMATCHED]] * 2)
    labels = apply_mapping(np.array([[0, 1, -1, 2]]), mapping[1])
    np.testing.assert_array_equal(labels, [[0, VOID, VOID, VOID]])
    assert labels.dtype == np.uint16
    matrix = ConfusionMatrix(2)
    matrix.update(labels, np.array([[0, 1, 1, 1]]))
    assert matrix.scores().unknown == 3 and matrix.scores().mean_iou() == 1 / 2


@pytest.mark.parametrize("mode", MODES)
def test_clusters_that_are_the_labels_are_found(mode):
    labels = np.random.default_rng(0).integers(0, 4, (3, 8, 8))
    names = np.array([2, 0, 3, 1])
    overlaps = np.stack([count_overlaps(names[frame], frame, 4, 4) for frame in labels])
    for frame, mapping in zip(labels, match_clusters(overlaps, mode), strict=True):
        np.testing.assert_array_equal(apply_mapping(names[frame], mapping), frame)


@pytest.mark.parametrize("mode", MODES)
def test_no_frames(mode):
    overlaps = np.zeros((0, 3, 2), int)
    if mode == "anchor-majority":
        with pytest.raises(ValueError, match="anchors"):
            match_clusters(overlaps, mode)
    else:
        assert match_clusters(overlaps, mode).shape == (0, 3)


def test_no_labels_and_no_clusters():
    for match in (match_majority, match_hungarian):
        np.testing.assert_array_equal(match(np.zeros((2, 0), int)), [UNMATCHED, UNMATCHED])
        assert match(np.zeros((0, 2), int)).shape == (0,)
    np.testing.assert_array_equal(apply_mapping(np.array([0, -1]), np.zeros(0, int)), [VOID, VOID])


def test_arguments_that_make_no_sense():
    overlaps = np.ones((2, 3, 3), int)
    with pytest.raises(ValueError, match="matching mode is one of anchor-majority, hungarian"):
        match_clusters(overlaps, "best")
    for anchors in ((), (2,), (-1,)):
        with pytest.raises(ValueError, match="anchors must be frames"):
            match_clusters(overlaps, "anchor-majority", anchors)
    with pytest.raises(ValueError, match="one size"):
        count_overlaps(np.zeros((2, 3), int), np.zeros((3, 2), int), 2, 2)


def greatest_sum(scores: np.ndarray) -> float:
    """Tries every way."""
    rows, columns = scores.shape
    if rows > columns:
        return greatest_sum(scores.T)
    return max(
        sum(scores[row, column] for row, column in enumerate(chosen))
        for chosen in itertools.permutations(range(columns), rows)
    )


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 4), st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_no_assignment_is_better(rows: int, columns: int, seed: int) -> None:
    scores = np.random.default_rng(seed).integers(-3, 4, (rows, columns)) / 3
    first, second = best_assignment(scores)
    assert scores[first, second].sum() == pytest.approx(greatest_sum(scores))
    assert len(set(first)) == len(set(second)) == min(rows, columns)
    assert first.tolist() == sorted(first)


def test_the_best_sum_is_not_the_greedy_one() -> None:
    # Greedy takes 0.9 and is left with 0.1; the other diagonal has 0.8 + 0.8.
    rows, columns = best_assignment(np.array([[0.9, 0.8], [0.8, 0.1]]))
    assert (rows.tolist(), columns.tolist()) == ([0, 1], [1, 0])


@pytest.mark.parametrize("scores", [np.zeros(3), np.array([[1.0, np.nan]]), np.array([[np.inf]])])
def test_scores_must_be_a_matrix_of_numbers(scores: np.ndarray) -> None:
    with pytest.raises(ValueError, match="matrix of finite numbers"):
        best_assignment(scores)


def test_without_scipy_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    with pytest.raises(ImportError, match=r"pip install 'undertow\[bench\]'"):
        best_assignment(np.eye(2))
