import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from undertow.metrics.points import (
    VideoAverages,
    evaluated_frames,
    flip_queries,
    sample_queries_first,
    sample_queries_strided,
    scale_points,
)

flags = st.tuples(st.integers(0, 4), st.integers(1, 12)).flatmap(lambda shape: arrays.arrays(bool, shape))


def ramp(occluded: np.ndarray) -> np.ndarray:
    """Tracks on which every coordinate tells its track, frame and axis."""
    tracks, frames = np.indices(occluded.shape)
    return np.stack([1000 + 100 * tracks + frames, 9000 + 100 * tracks + frames], axis=-1).astype(np.float64)


def reference_first(tracks, occluded) -> list[tuple]:
    found = []
    for q in range(len(occluded)):
        for t in range(occluded.shape[1]):
            if not occluded[q, t]:
                found.append((q, t, tracks[q, t, 1], tracks[q, t, 0]))
                break
    return found


def reference_strided(tracks, occluded, stride) -> list[tuple]:
    return [
        (q, t, tracks[q, t, 1], tracks[q, t, 0])
        for t in range(0, occluded.shape[1], stride)
        for q in range(len(occluded))
        if not occluded[q, t]
    ]


def assert_equal_queries(queries, tracks, occluded, expected) -> None:
    expected = np.array(expected, np.float64).reshape(-1, 4)
    source = expected[:, 0].astype(int)
    np.testing.assert_array_equal(queries.points, expected[:, 1:])
    np.testing.assert_array_equal(queries.source, source)
    np.testing.assert_array_equal(queries.tracks, tracks[source])
    np.testing.assert_array_equal(queries.occluded, occluded[source])


@settings(max_examples=60, deadline=None)
@given(flags, st.integers(1, 6))
def test_sampling_equals_the_literal_loops(occluded, stride):
    tracks = ramp(occluded)
    assert_equal_queries(sample_queries_first(tracks, occluded), tracks, occluded, reference_first(tracks, occluded))
    expected = reference_strided(tracks, occluded, stride)
    assert_equal_queries(sample_queries_strided(tracks, occluded, stride), tracks, occluded, expected)


def test_sampling_by_hand():
    occluded = np.array([[1, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 1], [1, 1, 1, 1, 1, 1]], bool)
    tracks = ramp(occluded)
    first = sample_queries_first(tracks, occluded)
    np.testing.assert_array_equal(first.points, [[1, 9001, 1001], [0, 9100, 1100]])
    np.testing.assert_array_equal(first.source, [0, 1])
    strided = sample_queries_strided(tracks, occluded)
    np.testing.assert_array_equal(strided.points, [[0, 9100, 1100], [5, 9005, 1005]])
    np.testing.assert_array_equal(strided.source, [1, 0])


def test_nothing_to_sample():
    for shape in ((0, 3), (2, 0), (2, 3)):
        occluded = np.ones(shape, bool)
        for queries in (
            sample_queries_first(ramp(occluded), occluded),
            sample_queries_strided(ramp(occluded), occluded),
        ):
            assert queries.points.shape == (0, 3) and queries.tracks.shape == (0, shape[1], 2)


def test_queries_are_written_the_other_way_round_and_back():
    tyx = np.array([[3.0, 20, 10], [0, 5, 7]])
    np.testing.assert_array_equal(flip_queries(tyx), [[3, 10, 20], [0, 7, 5]])
    np.testing.assert_array_equal(flip_queries(flip_queries(tyx)), tyx)


def test_scaling_keeps_the_edges():
    corners = np.array([[0, 0], [854, 480], [427, 240]])
    np.testing.assert_allclose(scale_points(corners, (854, 480)), [[0, 0], [256, 256], [128, 128]])
    np.testing.assert_allclose(scale_points(corners, (854, 480), (512, 320)), [[0, 0], [512, 320], [256, 160]])
    np.testing.assert_allclose(scale_points(np.array([[1.0, 0.5]]), (1, 1)), [[256, 128]])
    assert scale_points(corners.astype(np.float32), (854, 480)).dtype == np.float32
    back = scale_points(scale_points(corners, (854, 480)), (256, 256), (854, 480))
    np.testing.assert_allclose(back, corners)


def test_evaluated_frames_by_hand():
    starts = np.array([0, 2])
    np.testing.assert_array_equal(evaluated_frames(starts, 3, "first"), [[0, 1, 1], [0, 0, 0]])
    np.testing.assert_array_equal(evaluated_frames(starts, 3, "queries-at-0"), [[0, 1, 1], [0, 0, 0]])
    np.testing.assert_array_equal(evaluated_frames(starts, 3, "strided"), [[0, 1, 1], [1, 1, 0]])


def test_videos_count_once_and_those_without_a_point_not_at_all():
    videos = [{"a": np.array(1.0), "b": np.array(0.5)}, {"a": np.array(0.0), "b": np.array(np.nan)}]
    averages = VideoAverages.of([*videos, {"a": np.array(0.5), "b": np.array(0.0)}])
    assert averages == VideoAverages({"a": 0.75, "b": 0.25}, videos=2, left_out=1)
    assert VideoAverages.of([]) == VideoAverages({}, 0, 0)
    assert VideoAverages.of(videos[1:]) == VideoAverages({}, 0, 1)


def test_arguments_that_make_no_sense():
    occluded = np.zeros((2, 3), bool)
    for sample in (sample_queries_first, sample_queries_strided):
        with pytest.raises(ValueError, match="do not belong together"):
            sample(np.zeros((2, 4, 2)), occluded)
        with pytest.raises(ValueError, match="do not belong together"):
            sample(np.zeros((2, 3, 2)), occluded[0])
    with pytest.raises(ValueError, match="stride"):
        sample_queries_strided(ramp(occluded), occluded, 0)
    with pytest.raises(ValueError, match="positive"):
        scale_points(np.zeros((1, 2)), (0, 10))
