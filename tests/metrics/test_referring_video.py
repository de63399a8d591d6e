import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from undertow.metrics import contour_accuracy, region_similarity
from undertow.metrics.referring_video import (
    ExpressionScores,
    score_expression,
    split_ignore,
    summarise_expressions,
    union_mask,
)

EMPTY = np.zeros((16, 20), bool)
UNIT = st.floats(0, 1)
SCORES = st.builds(ExpressionScores, UNIT, UNIT, st.just(3))


def box(left: int, width: int = 6) -> np.ndarray:
    mask = EMPTY.copy()
    mask[4:10, left : left + width] = True
    return mask


def test_a_perfect_prediction_scores_one_also_where_nothing_is() -> None:
    assert score_expression([box(3), EMPTY, box(5)], [box(3), EMPTY, box(5)]) == ExpressionScores(1.0, 1.0, 3)


def test_hand_computed_means() -> None:
    # Shifted by 2 of 6 columns: 4 common, 8 joint; nothing for something; something for nothing; missing.
    scores = score_expression([box(5), EMPTY, box(3), None], [box(3), box(3), EMPTY, box(3)])
    assert scores.region == pytest.approx((4 / 8 + 0 + 0 + 0) / 4)
    assert scores.contour == pytest.approx(contour_accuracy(box(5), box(3)) / 4)
    assert scores.combined == (scores.region + scores.contour) / 2 and scores.frames == 4


def test_a_missing_frame_is_not_an_empty_mask() -> None:
    assert score_expression([EMPTY], [EMPTY]) == ExpressionScores(1.0, 1.0, 1)
    assert score_expression([None], [EMPTY]) == ExpressionScores(0.0, 0.0, 1)
    assert score_expression(None, [EMPTY, box(3)]) == ExpressionScores(0.0, 0.0, 2)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 14), st.integers(0, 14)), min_size=1, max_size=5), st.randoms())
def test_equals_the_mean_over_frames_in_any_order(places: list, random) -> None:
    frames = [(box(one), box(other)) for one, other in places]
    scores = score_expression(*zip(*frames, strict=True))
    assert scores.region == pytest.approx(sum(region_similarity(*pair) for pair in frames) / len(frames))
    assert scores.contour == pytest.approx(sum(contour_accuracy(*pair) for pair in frames) / len(frames))
    assert 0 <= scores.combined <= 1
    random.shuffle(frames)
    again = score_expression(*zip(*frames, strict=True))
    assert (again.region, again.contour) == pytest.approx((scores.region, scores.contour))


def test_frames_may_stream() -> None:
    seen = []

    def truths():
        for left in range(4):
            seen.append(left)
            yield box(left)

    def predictions():
        for left in range(4):
            assert len(seen) <= left + 1
            yield box(left)

    assert score_expression(predictions(), truths()) == ExpressionScores(1.0, 1.0, 4)


def test_ignored_pixels_leave_both_masks() -> None:
    labels = np.zeros((16, 20), np.uint8)
    labels[4:10, 3:9] = 1
    labels[:, 9:] = 255
    true, void = split_ignore(labels)
    assert score_expression([box(3, width=12)], [true]).region < 1
    assert score_expression([box(3, width=12)], [true], [void]) == ExpressionScores(1.0, 1.0, 1)
    # Half of the object is outside the ignored region: 3 x 6 of 6 x 6 pixels, whatever lies within.
    assert score_expression([box(6, width=14)], [true], [void]).region == 0.5


def test_an_ignored_frame_scores_one_for_any_mask() -> None:
    true, void = split_ignore(np.full((16, 20), 255, np.uint8))
    assert score_expression([box(3)], [true], [void]) == ExpressionScores(1.0, 1.0, 1)


def test_annotations_with_other_values_are_refused() -> None:
    with pytest.raises(ValueError, match="found 2"):
        split_ignore(np.array([[0, 1, 2, 255]], np.uint8))
    true, void = split_ignore(np.array([[0, 1, 7]], np.uint8), ignore=7)
    assert true.tolist() == [[False, True, False]] and void.tolist() == [[False, False, True]]


def test_what_cannot_be_scored_is_refused() -> None:
    for pred in (None, []):
        with pytest.raises(ValueError, match="without annotated frames"):
            score_expression(pred, [])
    with pytest.raises(ValueError, match="zip"):
        score_expression([EMPTY], [EMPTY, EMPTY])
    with pytest.raises(ValueError, match="zip"):
        score_expression([EMPTY], [EMPTY], [])
    with pytest.raises(ValueError, match="one size"):
        score_expression([EMPTY[:5]], [EMPTY])
    with pytest.raises(ValueError, match="one size"):
        score_expression([None], [EMPTY], [EMPTY[:5]])


def test_mean_over_expressions_counts_missing_ones_as_zero() -> None:
    scores = {("dog", 0): ExpressionScores(0.8, 0.6, 100), ("dog", 1): ExpressionScores(0.4, 0.2, 2)}
    summary = summarise_expressions(scores)
    assert (summary.region, summary.contour, summary.combined) == pytest.approx((0.6, 0.4, 0.5))
    assert (summary.expressions, summary.missing) == (2, 0)
    summary = summarise_expressions(scores, expected=[("dog", 0), ("dog", 1), ("cat", 0), ("cat", 1)])
    assert (summary.region, summary.contour) == pytest.approx((0.3, 0.2))
    assert (summary.expressions, summary.missing) == (4, 2)


def test_nothing_and_everything_missing() -> None:
    assert np.isnan(summarise_expressions({}).combined)
    assert summarise_expressions({}, expected=["a"]).combined == 0.0


def test_an_expression_that_is_not_in_the_split_is_refused() -> None:
    with pytest.raises(ValueError, match="'b' is scored but not in the split"):
        summarise_expressions({"b": ExpressionScores(1.0, 1.0, 1)}, expected=["a"])


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.integers(0, 9), SCORES, min_size=1), st.dictionaries(st.integers(10, 19), SCORES, min_size=1))
def test_shards_put_together_are_the_whole(first: dict, second: dict) -> None:
    whole = summarise_expressions(second | first)
    parts = [summarise_expressions(part) for part in (first, second)]
    weights = [part.expressions for part in parts]
    assert whole.region == pytest.approx(np.average([part.region for part in parts], weights=weights))
    assert whole.contour == pytest.approx(np.average([part.contour for part in parts], weights=weights))
    assert 0 <= whole.combined <= 1


def test_union_of_the_referred_objects() -> None:
    union = union_mask([box(0), None, box(10)], (16, 20))
    np.testing.assert_array_equal(union, box(0) | box(10))
    assert not union_mask([], (16, 20)).any() and union_mask([None], (3, 4)).shape == (3, 4)
    with pytest.raises(ValueError, match="one size"):
        union_mask([box(0)], (16, 21))
