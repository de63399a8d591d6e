import numpy as np
import pytest

from undertow.metrics.davis import ObjectScores, SequenceEvaluator
from undertow.metrics.rules import MASK_RULES
from undertow.metrics.youtube_vos import YouTubeVosSummary


def scores(region: list[float], contour: list[float]) -> ObjectScores:
    return ObjectScores(np.array(region), np.array(contour))


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
