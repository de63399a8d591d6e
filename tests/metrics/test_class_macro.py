import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from undertow.metrics.class_macro import ClassMacroEvaluator

ROWS = st.lists(
    st.tuples(st.sampled_from("uvw"), st.sampled_from(["sky", "dog"]), st.integers(0, 5), st.integers(0, 5)), min_size=1
)


def bar(length: int) -> np.ndarray:
    return np.arange(10)[None] < length


def evaluated(rows: list) -> ClassMacroEvaluator:
    evaluator = ClassMacroEvaluator()
    for video, category, pred, true in rows:
        evaluator.update(video, category, bar(pred), bar(true))
    return evaluator


def reference(rows: list) -> float:
    """Frames, then videos, then classes, by lists."""
    classes = []
    for category in {row[1] for row in rows}:
        videos = []
        for video in {row[0] for row in rows if row[1] == category}:
            frames = [
                min(pred, true) / max(pred, true) if max(pred, true) else 1.0
                for name, kind, pred, true in rows
                if (name, kind) == (video, category)
            ]
            videos.append(sum(frames) / len(frames))
        classes.append(sum(videos) / len(videos))
    return sum(classes) / len(classes)


def test_hand_computed_values() -> None:
    evaluator = ClassMacroEvaluator()
    # Sky: one video of three frames, 1, 1/2 and 1 (nothing for nothing).
    for pred, true in ((4, 4), (2, 4), (0, 0)):
        evaluator.update("u", "sky", bar(pred), bar(true))
    # Dog: two videos of one frame, 1/5 and 0 (missing, though there is nothing to find).
    evaluator.update("u", "dog", bar(1), bar(5))
    assert evaluator.update("v", "dog", None, bar(0)) == 0.0
    result = evaluator.result()
    assert result.classes == pytest.approx({"sky": 2.5 / 3, "dog": 0.1})
    assert list(result.classes) == ["sky", "dog"]
    assert result.mean == pytest.approx((2.5 / 3 + 0.1) / 2)
    assert (result.videos, result.left_out) == (3, 0)


def test_pairs_that_are_not_exhaustive_may_be_left_out() -> None:
    evaluator = evaluated([("u", "sky", 4, 4), ("u", "dog", 5, 1), ("v", "dog", 3, 3)])
    result = evaluator.result(leave_out=[("u", "dog"), ("w", "dog")])
    assert result.classes == {"sky": 1.0, "dog": 1.0}
    assert (result.mean, result.videos, result.left_out) == (1.0, 2, 1)
    # A class of which nothing is left does not count as 0, and the scores are still there.
    assert evaluator.result(leave_out=[("u", "dog"), ("v", "dog")]).classes == {"sky": 1.0}
    assert evaluator.result().mean == pytest.approx((1 + (0.2 + 1) / 2) / 2)


def test_nothing_to_score_is_not_a_number() -> None:
    assert np.isnan(ClassMacroEvaluator().result().mean)


def test_void_leaves_both_masks() -> None:
    evaluator = ClassMacroEvaluator()
    assert evaluator.update("u", "sky", bar(8), bar(4), void=~bar(4)) == 1.0
    assert evaluator.update("u", "sky", bar(8), bar(0), void=bar(10)) == 1.0


@settings(max_examples=60, deadline=None)
@given(ROWS, st.randoms())
def test_equals_the_definition_in_any_order(rows: list, random) -> None:
    result = evaluated(rows).result()
    assert result.mean == pytest.approx(reference(rows)) and 0 <= result.mean <= 1
    random.shuffle(rows)
    assert evaluated(rows).result().mean == pytest.approx(result.mean)


@settings(max_examples=60, deadline=None)
@given(ROWS, st.integers(0, 8))
def test_merged_shards_are_the_whole(rows: list, cut: int) -> None:
    first, second = evaluated(rows[:cut]), evaluated(rows[cut:])
    first.merge(second)
    merged, whole = first.result(), evaluated(rows).result()
    assert merged.classes == pytest.approx(whole.classes) and merged.videos == whole.videos


def test_sizes_must_agree() -> None:
    with pytest.raises(ValueError, match="one size"):
        ClassMacroEvaluator().update("u", "sky", bar(3)[:, :5], bar(3))
