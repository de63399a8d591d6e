import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from undertow.metrics.davis import MASK_RULES, DatasetSummary, MaskRules, ObjectScores, SequenceEvaluator, davis_ids
from undertow.metrics.similarity import contour_accuracy, region_similarity

VOID = 65535
CLIPS = st.integers(1, 7).flatmap(
    lambda count: arrays.arrays(np.uint16, (2, count, 7, 9), elements=st.sampled_from([0, 0, 1, 2, 5, VOID]))
)


def frame(*objects: int) -> np.ndarray:
    """Each object has a square of its own on a 24 x 48 image."""
    labels = np.zeros((24, 48), np.uint16)
    for number in objects:
        labels[6:14, 10 * number - 6 : 10 * number] = number
    return labels


def evaluated(rules: str, pred: list[np.ndarray], true: list[np.ndarray], ids: list[int] | None = None):
    evaluator = SequenceEvaluator(ids, MASK_RULES[rules])
    for pair in zip(pred, true, strict=True):
        evaluator.update(*pair)
    return evaluator.result()


def regions(result: dict[int, ObjectScores]) -> dict[int, list[float]]:
    return {number: scores.region.tolist() for number, scores in result.items()}


def series(pred: np.ndarray, true: np.ndarray, number: int) -> list[tuple[float, float]]:
    """J and F of one object on every frame, by the functions for one object."""
    masks = [(one == number, other == number) for one, other in zip(pred, true, strict=True)]
    return [(region_similarity(*pair), contour_accuracy(*pair)) for pair in masks]


def listed(result: dict[int, ObjectScores]) -> dict[int, list[tuple[float, float]]]:
    return {
        number: list(zip(scores.region.tolist(), scores.contour.tolist(), strict=True))
        for number, scores in result.items()
    }


@settings(max_examples=60, deadline=None)
@given(CLIPS)
def test_davis_2017_scores_the_inner_frames_of_all_objects(clip: np.ndarray) -> None:
    pred, true = clip
    ids = list(davis_ids(true[0]))
    for rules in ("davis-2017", "long-videos"):
        expected = {number: series(pred, true, number)[1:-1] for number in ids}
        assert listed(evaluated(rules, pred, true, ids)) == expected


@settings(max_examples=60, deadline=None)
@given(CLIPS)
def test_davis_2016_scores_all_that_is_not_zero(clip: np.ndarray) -> None:
    pred, true = clip
    expected = series((pred > 0).astype(int), (true > 0).astype(int), 1)[1:-1]
    assert listed(evaluated("davis-2016", pred, true)) == {1: expected}


@settings(max_examples=60, deadline=None)
@given(CLIPS)
def test_objects_that_enter_late_are_scored_after_their_first_frame(clip: np.ndarray) -> None:
    pred, true = clip
    entered = {number: [time for time in range(len(true)) if (true[time] == number).any()] for number in (1, 2, 5)}
    full = {number: series(pred, true, number)[times[0] + 1 :] for number, times in entered.items() if times}
    short = {number: series(pred, true, number)[times[0] + 1 : -1] for number, times in entered.items() if times}
    for rules, expected in (("youtube-vos", full), ("late", short)):
        expected = {number: scores for number, scores in expected.items() if scores}
        assert listed(evaluated(rules, pred, true, [1, 2, 5])) == expected
        found = listed(evaluated(rules, pred, true))
        assert found == expected


@settings(max_examples=60, deadline=None)
@given(CLIPS)
def test_once_seen_equals_its_definition(clip: np.ndarray) -> None:
    pred, true = clip[:, 1:-1]
    expected = {}
    for number in (1, 2, 5):
        seen = [time for time in range(len(true)) if (true[time] == number).any() or (pred[time] == number).any()]
        if (true == number).any():
            expected[number] = series(pred, true, number)[seen[0] :]
    assert listed(evaluated("once-seen", *clip)) == expected


def test_empty_frames_before_an_object_enters_differ_between_evaluators() -> None:
    true = [frame(1), frame(1), frame(1), frame(1, 2), frame(1, 2), frame(1, 2), frame(1, 2)]
    pred = [frame(1), frame(1), frame(1), frame(1), frame(1, 2), frame(1), frame(1)]
    # Official: two frames of nothing against nothing count as perfect.
    assert regions(evaluated("davis-2017", pred, true, [1, 2]))[2] == [1.0, 1.0, 0.0, 1.0, 0.0]
    assert regions(evaluated("once-seen", pred, true))[2] == [0.0, 1.0, 0.0]
    assert regions(evaluated("late", pred, true, [1, 2]))[2] == [1.0, 0.0]
    assert regions(evaluated("youtube-vos", pred, true, [1, 2]))[2] == [1.0, 0.0, 0.0]
    for rules in ("davis-2017", "once-seen", "late"):
        assert regions(evaluated(rules, pred, true, [1, 2]))[1] == [1.0] * 5


def test_a_false_alarm_lets_an_object_in_only_once_seen() -> None:
    true = [frame(1), frame(1), frame(1), frame(1), frame(1, 2), frame(1)]
    pred = [frame(1, 2), frame(1), frame(1, 2), frame(1), frame(1, 2), frame(1)]
    # The first frame does not count, so that nothing is seen on it.
    assert regions(evaluated("once-seen", pred, true))[2] == [0.0, 1.0, 1.0]
    assert regions(evaluated("late", pred, true, [1, 2])) == {1: [1.0] * 4}


def test_objects_that_the_annotation_never_has_are_not_averaged() -> None:
    true = [frame(1)] * 4 + [frame(1, 4)]
    pred = [frame(1, 3, 4)] * 5
    assert regions(evaluated("once-seen", pred, true)) == {1: [1.0] * 3}
    assert regions(evaluated("late", pred, true)) == {1: [1.0] * 3}
    # DAVIS takes whatever the first frame has; an id it has not is not asked for.
    assert regions(evaluated("davis-2017", pred, true, [1])) == {1: [1.0] * 3}


@pytest.mark.parametrize("rules", ["davis-2017", "davis-2016", "long-videos"])
@pytest.mark.parametrize("count", [1, 2])
def test_one_and_two_frames_leave_nothing_to_score(rules: str, count: int) -> None:
    assert regions(evaluated(rules, [frame(1)] * count, [frame(1)] * count, [1])) == {1: []}


def test_two_frames_of_other_rules() -> None:
    frames = [frame(1), frame(1)]
    assert regions(evaluated("youtube-vos", frames, frames)) == {1: [1.0]}
    assert regions(evaluated("late", frames, frames)) == regions(evaluated("once-seen", frames, frames)) == {}
    assert regions(evaluated("youtube-vos", frames[:1], frames[:1])) == {}


def test_void_is_background_or_ignored() -> None:
    true = frame(1)
    true[6:14, 4:7] = VOID
    pred = frame(1)
    ignored = SequenceEvaluator([1], MaskRules(first=True, last=True, void="ignored"))
    assert SequenceEvaluator([1]).update(pred, true)[1][0] == 0.5
    assert ignored.update(pred, true)[1] == (1.0, 1.0)
    # Void in a prediction is not ignored.
    assert ignored.update(true, pred)[1][0] == 0.5


def test_the_mean_over_sequences_counts_sequences() -> None:
    sequences = [
        {1: ObjectScores(np.array([1.0]), np.array([0.5])), 2: ObjectScores(np.array([0.0]), np.array([0.5]))},
        {1: ObjectScores(np.array([1.0]), np.array([1.0]))},
        {},
    ]
    assert DatasetSummary.of(sequences).region.mean == 2 / 3
    summary = DatasetSummary.of(sequences, MASK_RULES["davis-2016"].average)
    assert (summary.region.mean, summary.contour.mean, summary.objects) == (0.75, 0.75, 3)


def test_rules_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="name them with ids"):
        SequenceEvaluator(None)
    with pytest.raises(ValueError, match="found ids 1, 2"):
        SequenceEvaluator([1, 2], MASK_RULES["davis-2016"])
    with pytest.raises(ValueError, match="ProposalEvaluator"):
        SequenceEvaluator([1], MASK_RULES["davis-unsupervised"])
    with pytest.raises(ValueError, match="proposals is 0"):
        MaskRules(proposals=0)
    with pytest.raises(ValueError, match="leave start"):
        MaskRules(proposals=20, start="seen")


def test_memory_holds_numbers_only() -> None:
    evaluator = SequenceEvaluator([1, 2])
    for _ in range(50):
        evaluator.update(frame(1, 2), frame(1))
    assert not any(isinstance(value, np.ndarray) for value in vars(evaluator).values())
    assert len(evaluator.result()[1].region) == 48
