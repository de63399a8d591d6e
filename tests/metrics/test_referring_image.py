import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from undertow.metrics.referring_image import ReferringImageEvaluator

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
