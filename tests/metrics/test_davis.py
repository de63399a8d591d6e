import numpy as np
import pytest

from undertow.metrics import (
    MASK_RULES,
    DatasetSummary,
    ObjectScores,
    SequenceEvaluator,
    YouTubeVosSummary,
    contour_accuracy,
    davis_ids,
    decay,
    merge_objects,
    region_similarity,
)

VOID = 65535


def frame(left_one: int | None, left_two: int | None) -> np.ndarray:
    """Two bars on a 32 x 48 image, each absent when its place is None."""
    labels = np.zeros((32, 48), np.uint16)
    if left_one is not None:
        labels[4:12, left_one : left_one + 10] = 1
    if left_two is not None:
        labels[18:28, left_two : left_two + 8] = 2
    return labels


def scores(region: list[float], contour: list[float]) -> ObjectScores:
    return ObjectScores(np.array(region), np.array(contour))


def test_a_perfect_prediction_scores_one() -> None:
    evaluator = SequenceEvaluator([1, 2])
    for step in range(6):
        evaluator.update(frame(step, step + 3), frame(step, step + 3))
    for result in evaluator.result().values():
        assert result.region.tolist() == result.contour.tolist() == result.combined.tolist() == [1.0] * 4
        assert (result.region_summary.mean, result.region_summary.recall, result.region_summary.decay) == (1, 1, 0)


def test_first_and_last_frames_do_not_count() -> None:
    evaluator = SequenceEvaluator([1])
    for step in range(5):
        pred = frame(None, None) if step in (0, 4) else frame(2, None)
        evaluator.update(pred, frame(2, None))
    assert evaluator.result()[1].region.tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("count", [0, 1, 2])
def test_too_few_frames_leave_nothing_to_score(count: int) -> None:
    evaluator = SequenceEvaluator([1])
    for _ in range(count):
        evaluator.update(frame(0, 0), frame(0, 0))
    assert evaluator.result()[1].region.shape == (0,)
    assert np.isnan(evaluator.result()[1].region_summary.mean)


def test_scores_are_those_of_each_objects_mask() -> None:
    pairs = [(frame(5 + step, 20), frame(5, 20 + 2 * step)) for step in range(5)]
    evaluator = SequenceEvaluator([1, 2])
    returned = [evaluator.update(pred, true) for pred, true in pairs]
    for number, result in evaluator.result().items():
        masks = [(pred == number, true == number) for pred, true in pairs[1:-1]]
        assert result.region.tolist() == [region_similarity(*pair) for pair in masks]
        assert result.contour.tolist() == [contour_accuracy(*pair) for pair in masks]
        assert returned[2][number] == (result.region[1], result.contour[1])
        assert result.region_summary.decay == decay(result.region)
    # A shift by s of a bar 10 wide: 10 - s pixels in common out of 10 + s.
    assert evaluator.result()[1].region.tolist() == pytest.approx([9 / 11, 8 / 12, 7 / 13])


def test_object_gone_from_the_truth_must_be_gone_from_the_prediction() -> None:
    evaluator = SequenceEvaluator([1, 2])
    for pred in (frame(0, 0), frame(0, None), frame(0, 0), frame(0, 0)):
        evaluator.update(pred, frame(0, None))
    assert evaluator.result()[2].region.tolist() == [1.0, 0.0]
    assert evaluator.result()[2].contour.tolist() == [1.0, 0.0]


def test_void_counts_as_background() -> None:
    true = frame(4, None)
    true[4:12, 4:9] = VOID
    evaluator = SequenceEvaluator([1])
    for _ in range(3):
        evaluator.update(frame(4, None), true)
    assert evaluator.result()[1].region.tolist() == [0.5]


def test_dataset_mean_counts_objects_not_sequences() -> None:
    two = {1: scores([1.0, 1.0], [1.0, 0.0]), 2: scores([0.0, 1.0], [0.0, 0.0])}
    one = {1: scores([0.0, 0.0], [1.0, 1.0])}
    summary = DatasetSummary.of([two, one])
    assert summary.objects == 3
    assert summary.region.mean == pytest.approx((1.0 + 0.5 + 0.0) / 3)
    assert summary.contour.mean == pytest.approx((0.5 + 0.0 + 1.0) / 3)
    assert summary.region.recall == pytest.approx((1.0 + 0.5 + 0.0) / 3)
    assert summary.region.decay == pytest.approx((0.0 - 1.0 + 0.0) / 3)
    assert summary.combined == pytest.approx((summary.region.mean + summary.contour.mean) / 2)


def test_one_object_per_sequence_gives_the_mean_over_sequences() -> None:
    sequences = [{1: scores([0.2, 0.4], [0.5, 0.5])}, {1: scores([0.9] * 6, [0.7] * 6)}]
    assert DatasetSummary.of(sequences).region.mean == pytest.approx((0.3 + 0.9) / 2)


def test_merging_takes_every_number_that_is_not_zero() -> None:
    labels = np.array([[0, 1, 7], [VOID, 0, 255]], np.uint16)
    merged = merge_objects(labels)
    assert merged.dtype == np.uint16 and merged.tolist() == [[0, 1, 1], [1, 0, 1]]


def test_ids_run_from_one_to_the_largest_of_the_first_frame() -> None:
    labels = np.array([[0, 4, 2, VOID]], np.uint16)
    assert list(davis_ids(labels)) == [1, 2, 3, 4]
    assert list(davis_ids(np.array([[0, VOID]], np.uint16))) == []


def test_overall_is_the_mean_of_four_and_objects_count_once_inside_a_split() -> None:
    videos = {
        "a": {1: scores([1.0, 0.0], [1.0, 1.0]), 2: scores([0.5], [0.25])},
        "b": {1: scores([1.0], [0.5])},
    }
    summary = YouTubeVosSummary.of(videos, {"a": [2]})
    assert (summary.region_seen, summary.contour_seen) == (0.75, 0.75)
    assert (summary.region_unseen, summary.contour_unseen) == (0.5, 0.25)
    assert summary.overall == (0.75 + 0.75 + 0.5 + 0.25) / 4
    assert summary.objects == 3


def test_a_split_without_objects_is_not_a_number() -> None:
    summary = YouTubeVosSummary.of({"a": {1: scores([1.0], [1.0])}}, {})
    assert summary.region_seen == 1 and np.isnan(summary.region_unseen) and np.isnan(summary.overall)


def test_unseen_objects_of_an_unknown_video_are_refused() -> None:
    with pytest.raises(ValueError, match="'b', which has no scores"):
        YouTubeVosSummary.of({"a": {}}, {"b": [1]})


def test_only_listed_frames_of_an_object_count() -> None:
    labels = np.zeros((20, 20), np.uint16)
    labels[2:8, 2:8], labels[12:18, 12:18] = 1, 2
    evaluator = SequenceEvaluator([1, 2], MASK_RULES["youtube-vos"])
    evaluator.update(labels, labels)
    assert list(evaluator.update(labels, labels, only=[2])) == [2]
    evaluator.update(np.zeros_like(labels), labels, only=[1])
    assert {number: each.region.tolist() for number, each in evaluator.result().items()} == {1: [0.0], 2: [1.0]}
