"""Referring expressions on images and on videos, and masks through an autoencoder."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from undertow.metrics import contour_accuracy, region_similarity
from undertow.metrics.referring import (
    ExpressionScores,
    MaskReconstruction,
    ReferringImageEvaluator,
    mask_reconstruction,
    score_expression,
    split_ignore,
    summarise_expressions,
    union_mask,
)

BITS = st.lists(st.booleans(), min_size=12, max_size=12).map(lambda bits: np.array(bits).reshape(3, 4))
EXPRESSIONS = st.lists(st.tuples(st.none() | BITS, BITS), min_size=1, max_size=6)


def row(*columns: int) -> np.ndarray:
    mask = np.zeros((3, 10), bool)
    mask[1, list(columns)] = True
    return mask


def evaluated(pairs: list) -> ReferringImageEvaluator:
    evaluator = ReferringImageEvaluator()
    for pred, true in pairs:
        evaluator.update(pred, true)
    return evaluator


def reference(pairs: list) -> tuple[float, float, dict[float, float]]:
    """The three definitions, pixel by pixel."""
    common, joint, ious = 0, 0, []
    for pred, true in pairs:
        inside = {(y, x) for y, x in np.argwhere(true)}
        found = set() if pred is None else {(y, x) for y, x in np.argwhere(pred)}
        common += len(inside & found)
        joint += len(inside | found)
        ious.append(len(inside & found) / len(inside | found) if inside | found else 0.0)
    precision = {x: sum(iou >= x for iou in ious) / len(ious) for x in (0.5, 0.6, 0.7, 0.8, 0.9)}
    return common / joint if joint else float("nan"), sum(ious) / len(ious), precision


def test_hand_computed_values() -> None:
    evaluator = ReferringImageEvaluator()
    assert evaluator.update(row(0, 1, 2, 3), row(0, 1, 2, 3)) == 1.0
    assert evaluator.update(row(0, 1), row(1, 2, 3)) == 1 / 4
    # Exactly one half counts for P@0.5.
    assert evaluator.update(row(5), row(5, 6)) == 0.5
    # No prediction: IoU 0, and the truth's six pixels are in the unions.
    assert evaluator.update(None, row(0, 1, 2, 3, 4, 5)) == 0.0
    result = evaluator.result()
    assert result.overall_iou == (4 + 1 + 1 + 0) / (4 + 4 + 2 + 6)
    assert result.mean_iou == pytest.approx((1 + 0.25 + 0.5 + 0) / 4)
    assert result.precision == {0.5: 0.5, 0.6: 0.25, 0.7: 0.25, 0.8: 0.25, 0.9: 0.25}
    assert (result.expressions, result.missing) == (4, 1)
    assert np.isnan(result.point_accuracy)


def test_empty_masks_score_zero_here() -> None:
    evaluator = ReferringImageEvaluator()
    assert evaluator.update(row(), row()) == 0.0
    assert evaluator.result().mean_iou == 0.0 and np.isnan(evaluator.result().overall_iou)


def test_no_expressions_are_not_a_number() -> None:
    result = ReferringImageEvaluator().result()
    assert result.expressions == 0
    assert all(np.isnan([result.overall_iou, result.mean_iou, result.point_accuracy, *result.precision.values()]))


@settings(max_examples=60, deadline=None)
@given(EXPRESSIONS)
def test_equals_the_definitions(pairs: list) -> None:
    result = evaluated(pairs).result()
    overall, average, precision = reference(pairs)
    assert result.overall_iou == pytest.approx(overall, nan_ok=True)
    assert result.mean_iou == pytest.approx(average)
    assert result.precision == pytest.approx(precision)
    assert 0 <= result.mean_iou <= 1 and list(result.precision.values()) == sorted(precision.values(), reverse=True)


@settings(max_examples=60, deadline=None)
@given(EXPRESSIONS, st.integers(0, 6))
def test_merged_shards_in_any_order_are_the_whole(pairs: list, cut: int) -> None:
    first, second = evaluated(pairs[cut:]), evaluated(pairs[:cut])
    first.merge(second)
    merged, whole = dataclasses.asdict(first.result()), dataclasses.asdict(evaluated(pairs).result())
    assert merged["precision"] == whole["precision"]
    # Equal to the last bit, in whatever order the shards come.
    for name in ("overall_iou", "mean_iou", "expressions", "missing"):
        assert merged[name] == pytest.approx(whole[name], rel=0, abs=0, nan_ok=True)


def test_points_are_asked_by_pixel() -> None:
    evaluator = ReferringImageEvaluator()
    # Pixel (row 1, column 4) covers x in [4, 5) and y in [1, 2).
    for point in [(4.0, 1.0), (4.999, 1.999), (5.0, 1.5), (4.5, 2.0), (-0.5, 1.5), (10.0, 1.0), (4.5, -3.0)]:
        evaluator.update(row(4), row(4), point)
    assert evaluator.result().point_accuracy == 2 / 7
    # A method that points but not here has missed.
    evaluator.update(None, row(4))
    assert evaluator.result().point_accuracy == 2 / 8


def test_a_merge_keeps_points_and_refuses_other_thresholds() -> None:
    first, second = ReferringImageEvaluator(), ReferringImageEvaluator()
    first.update(row(4), row(4))
    second.update(row(4), row(4), (4.5, 1.5))
    first.merge(second)
    assert first.result().point_accuracy == 1 / 2
    with pytest.raises(ValueError, match="cannot be merged"):
        first.merge(ReferringImageEvaluator(thresholds=[0.5]))


def test_what_cannot_be_scored_is_refused_and_not_counted() -> None:
    evaluator = ReferringImageEvaluator()
    with pytest.raises(ValueError, match="one size"):
        evaluator.update(np.zeros((3, 9), bool), row(1))
    with pytest.raises(ValueError, match="two-dimensional"):
        evaluator.update(None, np.zeros(9, bool))
    with pytest.raises(ValueError, match="finite"):
        evaluator.update(row(1), row(1), (float("nan"), 1.0))
    assert evaluator.result().expressions == 0


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


def masks(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).random((count, 4, 5)) < 0.4


def as_channels(values: np.ndarray, channels: int = 3) -> np.ndarray:
    return np.repeat(values[:, None].astype(np.float32), channels, axis=1)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 4), st.integers(0, 2**32 - 1), st.integers(1, 3))
def test_a_faithful_round_trip_is_perfect(count: int, seed: int, channels: int) -> None:
    given_masks = masks(count, seed)
    assert mask_reconstruction(as_channels(given_masks, channels), given_masks) == MaskReconstruction(0.0, 1.0, count)


def test_reconstruction_by_hand() -> None:
    mask = np.array([[[True, True, False, False]]])
    # Channel means 0.75, 0.5, 0.25 and 0.75: the second is not above the threshold, the fourth wrongly is.
    decoded = np.array([[[[0.5, 0.5, 0.25, 1.0]], [[1.0, 0.5, 0.25, 0.5]]]])
    result = mask_reconstruction(decoded, mask)
    assert result.error == pytest.approx((0.25 + 0.5 + 0.25 + 0.75) / 4)
    assert result.mean_iou == pytest.approx(1 / 3)
    assert mask_reconstruction(decoded, mask, threshold=0.25).mean_iou == pytest.approx(2 / 3)


def test_channels_are_averaged_before_the_error() -> None:
    mask = np.ones((1, 1, 1), bool)
    # 0.5 too much and 0.5 too little: no error of the mean.
    assert mask_reconstruction(np.array([[[[1.5]], [[0.5]]]]), mask).error == 0.0


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_equals_the_definition(count: int, seed: int) -> None:
    given_masks = masks(count, seed)
    decoded = np.random.default_rng(seed + 1).normal(0.5, 0.4, (count, 2, 4, 5))
    errors, ious = [], []
    for number in range(count):
        common = joint = 0
        for y, x in np.ndindex(4, 5):
            value, true = decoded[number, :, y, x].mean(), given_masks[number, y, x]
            errors.append(abs(value - true))
            common += (value > 0.5) and true
            joint += (value > 0.5) or true
        ious.append(common / joint if joint else 1.0)
    result = mask_reconstruction(decoded, given_masks)
    assert (result.error, result.mean_iou) == pytest.approx((np.mean(errors), np.mean(ious)))


def test_an_empty_mask_that_stays_empty_is_perfect() -> None:
    result = mask_reconstruction(np.full((1, 3, 2, 2), 0.1), np.zeros((1, 2, 2), bool))
    assert result.mean_iou == 1.0 and result.error == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("decoded", "mask"),
    [((0, 3, 2, 2), (0, 2, 2)), ((1, 3, 2, 2), (1, 2, 3)), ((2, 3, 2, 2), (1, 2, 2)), ((3, 2, 2), (3, 2, 2))],
)
def test_shapes_must_fit(decoded: tuple, mask: tuple) -> None:
    with pytest.raises(ValueError, match="do not fit"):
        mask_reconstruction(np.zeros(decoded), np.zeros(mask, bool))


def test_overflow_is_refused() -> None:
    with pytest.raises(ValueError, match="not finite"):
        mask_reconstruction(np.full((1, 3, 2, 2), np.inf), np.zeros((1, 2, 2), bool))
