import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from undertow.metrics import ObjectScores, contour_accuracy, region_similarity
from undertow.metrics.ref_davis import (
    MODES,
    RefDavisEvaluator,
    annotator_expressions,
    compete,
    compete_by_heat,
    independent,
    separate,
    summarise_annotators,
)

VOID = 65535
PLACES = ((2, 2), (2, 16), (14, 9))


def boxes(*moves: int) -> np.ndarray:
    """One box per object, moved to the right."""
    masks = np.zeros((len(moves), 24, 32), bool)
    for mask, move, (top, left) in zip(masks, moves, PLACES, strict=False):
        mask[top : top + 8, left + move : left + move + 8] = True
    return masks


def labelled(masks: np.ndarray) -> np.ndarray:
    labels = np.zeros(masks.shape[1:], np.uint16)
    for number, mask in enumerate(masks, start=1):
        labels[mask] = number
    return labels


def run(mode: str, frames: list, objects: int) -> dict[int, ObjectScores]:
    evaluator = RefDavisEvaluator(objects, mode)
    for pred, true in frames:
        evaluator.update(pred, true)
    return evaluator.result()


def reference(frames: list, objects: int, *, matched: bool) -> list[float]:
    """Mean (J + F) / 2 of each object under the best of all one-to-one assignments, or that by name."""
    count = max(objects, len(frames[0][0]))
    table = np.zeros((count, objects))
    for pred, true in frames:
        void = true == VOID
        padded = [*pred, *[np.zeros_like(void)] * (count - len(pred))]
        for row, column in itertools.product(range(count), range(objects)):
            masks = padded[row], true == column + 1, void
            table[row, column] += (region_similarity(*masks) + contour_accuracy(*masks)) / 2 / len(frames)
    ways = itertools.permutations(range(count), objects) if matched else [range(objects)]
    return max(([table[row, column] for column, row in enumerate(way)] for way in ways), key=sum)


def test_the_strongest_object_wins_each_pixel() -> None:
    soft = np.array([[[0.6, 0.9, 0.49, 0.5, 0.7, 0.0]], [[0.8, 0.4, 0.49, 0.3, 0.7, 0.0]]])
    # 0.49 is taken for 0, which is below the background's 0.1; of equals the first object wins.
    assert compete(soft).tolist() == [[2, 1, 0, 1, 1, 0]]
    assert compete(soft).dtype == np.uint16
    assert not compete(np.zeros((0, 2, 3))).any()


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 4), st.integers(0, 2**32 - 1))
def test_competition_equals_its_definition(objects: int, seed: int) -> None:
    soft = np.random.default_rng(seed).integers(0, 11, (objects, 3, 4)) / 10
    labels = compete(soft)
    for y, x in np.ndindex(3, 4):
        wanted = [0.1] + [value if value >= 0.5 else 0.0 for value in soft[:, y, x]]
        assert labels[y, x] == wanted.index(max(wanted))


def test_independent_masks_overlap_and_leave_out_one_half() -> None:
    soft = np.array([[[0.6, 0.5]], [[0.51, 0.2]]])
    assert independent(soft).tolist() == [[[True, False]], [[True, False]]]


def test_overlaps_of_hard_masks_go_to_the_heat() -> None:
    masks = np.array([[[1, 1, 1, 0]], [[0, 1, 1, 0]]], bool)
    assert compete_by_heat(masks, np.array([0.2, 0.3])).tolist() == [[1, 2, 2, 0]]
    heat = np.array([[[-5.0, 0.4, 0.1, 9.0]], [[7.0, 0.3, 0.2, 9.0]]])
    # Where an object is not, its heat has no say.
    assert compete_by_heat(masks, heat).tolist() == [[1, 1, 2, 0]]
    assert compete_by_heat(masks, np.array([0.3, 0.3])).tolist() == [[1, 1, 1, 0]]
    assert not compete_by_heat(np.zeros((0, 2, 3), bool), np.zeros(0)).any()
    with pytest.raises(ValueError, match="does not fit"):
        compete_by_heat(masks, np.zeros(3))


def test_separate_undoes_labelling() -> None:
    np.testing.assert_array_equal(separate(labelled(boxes(0, 1, 2)), 3), boxes(0, 1, 2))
    assert not separate(labelled(boxes(0)), 2)[1].any()


@pytest.mark.parametrize("mode", MODES)
def test_a_perfect_prediction_scores_one_on_all_frames(mode: str) -> None:
    frames = [(boxes(step, step), labelled(boxes(step, step))) for step in range(3)]
    result = run(mode, frames, 2)
    assert list(result) == [1, 2]
    for scores in result.values():
        assert scores.region.tolist() == scores.contour.tolist() == [1.0, 1.0, 1.0]


def test_swapped_names_are_forgiven_by_matching_only() -> None:
    frames = [(boxes(step, step)[::-1], labelled(boxes(step, step))) for step in range(3)]
    for mode, expected in (("referformer", 1.0), ("rem", 1.0), ("strict", 0.0)):
        assert [scores.region.mean() for scores in run(mode, frames, 2).values()] == [expected] * 2


def test_a_swap_halfway_is_not_forgiven() -> None:
    frames = [(boxes(0, 0)[:: 1 if step < 2 else -1], labelled(boxes(0, 0))) for step in range(3)]
    for scores in run("rem", frames, 2).values():
        assert scores.region.tolist() == [1.0, 1.0, 0.0]


def test_the_assigned_mask_is_scored_under_its_object() -> None:
    # The first mask is object 2 moved by two, the second object 1 in place.
    frames = [(np.stack([boxes(0, 2)[1], boxes(0)[0]]), labelled(boxes(0, 0)))]
    result = run("referformer", frames, 2)
    assert result[1].region.tolist() == [1.0]
    assert result[2].region.tolist() == [6 / 10]


@pytest.mark.parametrize("mode", ["strict", "rem"])
@settings(max_examples=15, deadline=None)
@given(
    objects=st.integers(1, 3),
    frames=st.lists(
        st.tuples(st.permutations(range(3)), st.lists(st.integers(0, 6), min_size=3, max_size=3)), min_size=1
    ),
    masks=st.integers(1, 3),
)
def test_equals_trying_every_assignment(mode: str, objects: int, frames: list, masks: int) -> None:
    masks = min(masks, objects) if mode == "strict" else masks
    pairs = [(boxes(*moves)[list(order)][:masks], labelled(boxes(0, 1, 2)[:objects])) for order, moves in frames[:3]]
    found = [scores.combined.mean() for scores in run(mode, pairs, objects).values()]
    expected = reference(pairs, objects, matched=mode == "rem")
    assert sum(found) == pytest.approx(sum(expected))
    assert all(0 <= score <= 1 for score in found)
    if mode == "strict":
        assert found == pytest.approx(expected)


@settings(max_examples=15, deadline=None)
@given(st.permutations(range(3)), st.lists(st.integers(0, 6), min_size=3, max_size=3))
def test_matching_does_not_care_for_the_order_of_the_masks(order: list, moves: list) -> None:
    truth = labelled(boxes(0, 1, 2))
    plain = run("rem", [(boxes(*moves), truth)], 3)
    mixed = run("rem", [(boxes(*moves)[list(order)], truth)], 3)
    totals = [sum(scores.combined.sum() for scores in each.values()) for each in (plain, mixed)]
    assert totals[0] == pytest.approx(totals[1])
    by_name = run("strict", [(boxes(*moves), truth)], 3)
    assert sum(scores.combined.sum() for scores in by_name.values()) <= totals[0] + 1e-12


@pytest.mark.parametrize("mode", MODES)
def test_a_single_object_on_a_single_frame(mode: str) -> None:
    result = run(mode, [(boxes(2), labelled(boxes(0)))], 1)
    assert result[1].region.tolist() == [6 / 10] and len(result[1].contour) == 1


@pytest.mark.parametrize("mode", MODES)
def test_objects_without_a_mask_have_an_empty_one(mode: str) -> None:
    gone = labelled(boxes(0))
    frames = [(boxes(0), labelled(boxes(0, 0))), (boxes(0), gone)]
    result = run(mode, frames, 2)
    assert result[1].region.tolist() == [1.0, 1.0]
    # Right on the frame where the second object is gone.
    assert result[2].region.tolist() == result[2].contour.tolist() == [0.0, 1.0]


@pytest.mark.parametrize("mode", MODES)
def test_a_missing_frame_scores_zero_even_for_objects_that_are_gone(mode: str) -> None:
    frames = [(boxes(0, 0), labelled(boxes(0, 0))), (None, labelled(boxes(0)))]
    result = run(mode, frames, 2)
    assert result[1].region.tolist() == result[2].region.tolist() == [1.0, 0.0]
    nothing = run(mode, [(None, labelled(boxes(0)))], 1)
    assert nothing[1].region.tolist() == nothing[1].contour.tolist() == [0.0]


def test_matching_may_leave_masks_out() -> None:
    extra = np.stack([boxes(5)[0], boxes(0)[0], np.ones((24, 32), bool)])
    assert run("rem", [(extra, labelled(boxes(0)))], 1)[1].region.tolist() == [1.0]


@pytest.mark.parametrize("mode", MODES)
def test_void_leaves_both_masks(mode: str) -> None:
    truth = labelled(boxes(0))
    truth[2:10, 6:10] = VOID
    # Half of the object is void; what is predicted there does not count.
    assert run(mode, [(boxes(0), truth)], 1)[1].region.tolist() == [1.0]
    assert run(mode, [(boxes(4), truth)], 1)[1].region.tolist() == [0.0]
    everything = np.full_like(truth, VOID)
    result = run(mode, [(boxes(3), everything)], 1)[1]
    assert (result.region.tolist(), result.contour.tolist()) == ([1.0], [1.0])


def test_what_cannot_be_scored_is_refused() -> None:
    for objects, mode in ((0, "rem"), (1, "loose")):
        with pytest.raises(ValueError, match="give 1 or more"):
            RefDavisEvaluator(objects, mode)
    with pytest.raises(ValueError, match="without annotated frames"):
        RefDavisEvaluator(1, "rem").result()
    with pytest.raises(ValueError, match="1 at most"):
        RefDavisEvaluator(1, "strict").update(boxes(0, 0), labelled(boxes(0)))
    with pytest.raises(ValueError, match="20 at most"):
        RefDavisEvaluator(1, "rem").update(np.zeros((21, 24, 32), bool), labelled(boxes(0)))
    evaluator = RefDavisEvaluator(2, "rem")
    evaluator.update(boxes(0, 0), labelled(boxes(0, 0)))
    with pytest.raises(ValueError, match="the same number each time"):
        evaluator.update(boxes(0), labelled(boxes(0, 0)))
    with pytest.raises(ValueError, match="axes objects, height, width"):
        evaluator.update(boxes(0)[0], labelled(boxes(0)))
    with pytest.raises(ValueError, match="one size"):
        RefDavisEvaluator(1, "rem").update(boxes(0), np.zeros((24, 33), np.uint16))


def test_each_annotator_has_one_expression_per_object() -> None:
    assert [list(annotator_expressions(8, annotator)) for annotator in range(4)] == [[0, 4], [1, 5], [2, 6], [3, 7]]
    for expressions, annotator in ((9, 0), (8, 4), (8, -1)):
        with pytest.raises(ValueError, match="multiple of four"):
            annotator_expressions(expressions, annotator)


def scores(region: list[float], contour: list[float]) -> ObjectScores:
    return ObjectScores(np.array(region), np.array(contour))


def test_mean_over_frames_then_objects_then_annotators() -> None:
    first = [{1: scores([1.0, 0.0], [1.0, 1.0]), 2: scores([0.0, 0.0], [0.5, 0.5])}, {1: scores([0.5], [0.0])}]
    second = [{1: scores([1.0, 1.0], [1.0, 1.0]), 2: scores([1.0, 1.0], [1.0, 1.0])}, {1: scores([1.0], [1.0])}]
    summary = summarise_annotators([first, second])
    assert summary.annotators[0].region.mean == pytest.approx((0.5 + 0 + 0.5) / 3)
    assert summary.region == pytest.approx((1 / 3 + 1) / 2)
    assert summary.contour == pytest.approx((0.5 + 1) / 2)
    assert summary.combined == pytest.approx((summary.region + summary.contour) / 2)
    swapped = summarise_annotators([second, first])
    assert (swapped.region, swapped.contour) == pytest.approx((summary.region, summary.contour))


def test_runs_must_have_the_same_objects() -> None:
    for runs in ([], [[]], [[{1: scores([1.0], [1.0])}], []]):
        with pytest.raises(ValueError, match="must have the same objects"):
            summarise_annotators(runs)
