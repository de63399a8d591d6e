import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from undertow.metrics import tapvid
from undertow.metrics.tapvid import (
    THRESHOLDS,
    VideoAverages,
    count_tapvid,
    evaluated_frames,
    flip_queries,
    sample_queries_first,
    sample_queries_strided,
    scale_points,
    tapvid_metrics,
)

MODES = ("first", "strided", "queries-at-0")


def ratio(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")


def reference_metrics(queries, gt_occluded, gt_tracks, pred_occluded, pred_tracks, mode) -> dict[str, float]:
    """The benchmark's definition, one point on one frame at a time, with false negatives counted as such."""
    cells = []
    for q, query in enumerate(queries):
        start = round(float(query[0]))
        if mode == "queries-at-0" and start != 0:
            continue
        for t in range(gt_occluded.shape[1]):
            if t != start and (mode == "strided" or t > start):
                cells.append((q, t))
    agreed = sum(bool(gt_occluded[cell]) == bool(pred_occluded[cell]) for cell in cells)
    result = {"occlusion_accuracy": ratio(agreed, len(cells))}
    for threshold in THRESHOLDS:
        visible = within = hits = misses = false = 0
        for cell in cells:
            dx, dy = pred_tracks[cell] - gt_tracks[cell]
            near = bool(dx * dx + dy * dy < threshold * threshold)
            seen, claimed = not gt_occluded[cell], not pred_occluded[cell]
            visible += seen
            within += seen and near
            hits += seen and near and claimed
            misses += seen and not (near and claimed)
            false += claimed and not (seen and near)
        result[f"pts_within_{threshold}"] = ratio(within, visible)
        result[f"jaccard_{threshold}"] = ratio(hits, hits + misses + false)
    for name, part in (("average_pts_within_thresh", "pts_within"), ("average_jaccard", "jaccard")):
        result[name] = sum(result[f"{part}_{threshold}"] for threshold in THRESHOLDS) / 5
    return result


def made_up(seed: int, count: int = 7, length: int = 9, kind=np.float64):
    """A video whose errors are spread over all thresholds, flags half right."""
    generator = np.random.default_rng(seed)
    gt_tracks = generator.uniform(0, 256, (count, length, 2)).astype(kind)
    size = 2.0 ** generator.uniform(-2, 6, (count, length, 1))
    pred_tracks = (gt_tracks + size * generator.normal(size=gt_tracks.shape) / 2).astype(kind)
    gt_occluded, pred_occluded = generator.random((2, count, length)) < 0.4
    queries = np.zeros((count, 3), kind)
    queries[:, 0] = generator.integers(0, length, count)
    queries[::3, 0] = 0
    return queries, gt_occluded, gt_tracks, pred_occluded, pred_tracks


def assert_named_equal(found, expected) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=0, atol=1e-15, err_msg=name)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("seed", range(6))
def test_equals_the_literal_loops(seed, mode, kind):
    video = made_up(seed, kind=kind)
    assert_named_equal(tapvid_metrics(*video, mode).named(), reference_metrics(*video, mode))


@pytest.mark.parametrize("mode", ["first", "strided"])
def test_tracks_equal_videos_of_one_track(mode):
    video = made_up(1)
    values = count_tapvid(*video, mode).tracks().named()
    for q in range(7):
        alone = tuple(part[q : q + 1] for part in video)
        assert_named_equal({name: value[q] for name, value in values.items()}, reference_metrics(*alone, mode))


def test_tracks_of_queries_at_0_are_those_on_frame_0_in_order():
    video = made_up(2)
    kept = video[0][:, 0] == 0
    assert 0 < kept.sum() < 7
    found = count_tapvid(*video, "queries-at-0").tracks().named()
    expected = count_tapvid(*(part[kept] for part in video), "first").tracks().named()
    assert_named_equal(found, expected)


@pytest.mark.parametrize("chunk", [1, 10, 20])
def test_chunks_change_nothing(monkeypatch, chunk):
    video = made_up(3)
    whole = [count_tapvid(*video, mode).tracks().named() for mode in MODES]
    monkeypatch.setattr(tapvid, "_CHUNK", chunk)
    for mode, expected in zip(MODES, whole, strict=True):
        assert_named_equal(count_tapvid(*video, mode).tracks().named(), expected)


def one_track(distances, gt_occluded=None, pred_occluded=None, start=0):
    """One point that stays at the origin, predicted the given pixels to the right."""
    length = len(distances)
    tracks = np.zeros((1, length, 2))
    pred = tracks.copy()
    pred[0, :, 0] = distances
    flags = [np.zeros(length) if f is None else f for f in (gt_occluded, pred_occluded)]
    gt_flags, pred_flags = (np.array(f, bool)[None] for f in flags)
    return np.array([[start, 0, 0]], np.float64), gt_flags, tracks, pred_flags, pred


def test_counted_by_hand():
    # After the query: right by half a pixel; 3 pixels off; right but said hidden; hidden yet said visible; hidden.
    video = one_track([0, 0.5, 3, 0, 0, 0], [0, 0, 0, 0, 1, 1], [0, 0, 0, 1, 0, 1])
    scores = tapvid_metrics(*video)
    assert scores.occlusion_accuracy == 3 / 5
    np.testing.assert_array_equal(scores.within, [2 / 3, 2 / 3, 1, 1, 1])
    # At 1 px: one hit, three visible, false positives the far one and the hidden one.
    np.testing.assert_array_equal(scores.jaccard, [1 / 5, 1 / 5, 2 / 4, 2 / 4, 2 / 4])
    assert scores.delta_avg == pytest.approx((2 / 3 * 2 + 3) / 5)
    assert scores.average_jaccard == pytest.approx((2 / 5 + 3 / 2) / 5)


def test_a_point_on_the_threshold_is_outside_it():
    np.testing.assert_array_equal(tapvid_metrics(*one_track([0, 1])).within, [0, 1, 1, 1, 1])
    np.testing.assert_array_equal(tapvid_metrics(*one_track([0, 16])).within, [0, 0, 0, 0, 0])
    np.testing.assert_array_equal(tapvid_metrics(*one_track([0, np.nextafter(16, 0)])).within, [0, 0, 0, 0, 1])


def test_modes_score_other_frames():
    video = one_track([9, 9, 0, 0], start=1)
    np.testing.assert_array_equal(tapvid_metrics(*video, "first").within[0], 1)
    np.testing.assert_allclose(tapvid_metrics(*video, "strided").within[0], 2 / 3)
    assert np.isnan(tapvid_metrics(*video, "queries-at-0").within).all()


def test_query_times_are_rounded():
    video = one_track([9, 9, 0, 0], start=0.9)
    assert tapvid_metrics(*video).within[0] == 1


def test_calling_everything_visible_leaves_the_visible_rate():
    video = one_track([0, 0, 0, 0, 0], [0, 1, 1, 0, 1])
    scores = tapvid_metrics(*video)
    assert scores.occlusion_accuracy == 1 / 4 and scores.delta_avg == 1
    np.testing.assert_array_equal(scores.jaccard, 1 / 4)


def test_no_visible_point_is_nan_and_left_out_of_the_mean():
    hidden = tapvid_metrics(*one_track([0, 0, 0], [0, 1, 1], [0, 1, 0]))
    assert hidden.occlusion_accuracy == 1 / 2 and np.isnan(hidden.delta_avg) and hidden.average_jaccard == 0
    silent = tapvid_metrics(*one_track([0, 0, 0], [0, 1, 1], [0, 1, 1]))
    assert silent.occlusion_accuracy == 1 and np.isnan(silent.average_jaccard)
    last = tapvid_metrics(*one_track([0, 0, 0], start=2))
    single = tapvid_metrics(*one_track([0]))
    empty = tapvid_metrics(*(part[:0] for part in one_track([0, 0])))
    for scores in (last, single, empty):
        assert np.isnan(list(scores.named().values())).all()
    good, bad = tapvid_metrics(*one_track([0, 0])), tapvid_metrics(*one_track([0, 99]))
    videos = [scores.named() for scores in (hidden, good, silent, last, bad, single, empty)]
    averages = VideoAverages.of(videos)
    assert (averages.videos, averages.left_out) == (2, 5)
    assert averages.values["average_pts_within_thresh"] == averages.values["average_jaccard"] == 0.5
    assert averages.values["occlusion_accuracy"] == 1


def test_predictions_that_are_not_numbers_are_far():
    scores = tapvid_metrics(*one_track([0, np.nan, np.inf, 0]))
    np.testing.assert_array_equal(scores.within, 1 / 3)
    np.testing.assert_array_equal(scores.jaccard, 1 / 5)


def test_truth_is_not_read_where_hidden():
    queries, gt_occluded, gt_tracks, pred_occluded, pred_tracks = made_up(4)
    expected = tapvid_metrics(queries, gt_occluded, gt_tracks, pred_occluded, pred_tracks).named()
    gt_tracks[gt_occluded] = np.nan
    assert_named_equal(tapvid_metrics(queries, gt_occluded, gt_tracks, pred_occluded, pred_tracks).named(), expected)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 6), st.integers(1, 8), st.sampled_from(MODES))
def test_bounds_order_identity_and_pooling(seed, count, length, mode):
    video = made_up(seed, count, length)
    counts = count_tapvid(*video, mode)
    scores = counts.video()
    values = np.array(list(scores.named().values()))
    assert ((values >= 0) & (values <= 1) | np.isnan(values)).all()
    # Wider thresholds only gain.
    assert not (np.diff(scores.within) < 0).any() and not (np.diff(scores.jaccard) < 0).any()

    order = np.random.default_rng(seed).permutation(count)
    shuffled = count_tapvid(*(part[order] for part in video), mode)
    assert_named_equal(shuffled.video().named(), scores.named())
    if mode != "queries-at-0":
        tracks = counts.tracks().named()
        assert_named_equal(shuffled.tracks().named(), {name: value[order] for name, value in tracks.items()})
        weights = counts.evaluated
        if weights.sum():
            mean = np.nansum(tracks["occlusion_accuracy"] * weights) / weights.sum()
            np.testing.assert_allclose(scores.occlusion_accuracy, mean)

    queries, gt_occluded, gt_tracks, *_ = video
    for value in tapvid_metrics(queries, gt_occluded, gt_tracks, gt_occluded, gt_tracks, mode).named().values():
        assert np.isnan(value) or value == 1


@pytest.mark.parametrize("sample", [sample_queries_first, sample_queries_strided])
def test_sampled_queries_fit_and_truth_scores_one(sample):
    _, occluded, tracks, *_ = made_up(5)
    queries = sample(tracks, occluded)
    mode = "first" if sample is sample_queries_first else "strided"
    scores = tapvid_metrics(queries.points, queries.occluded, queries.tracks, queries.occluded, queries.tracks, mode)
    assert all(value == 1 for value in scores.named().values())


def test_arguments_that_make_no_sense():
    video = made_up(0)
    with pytest.raises(ValueError, match="query mode"):
        tapvid_metrics(*video, "last")
    for i in range(5):
        parts = list(video)
        parts[i] = parts[i][:3]
        with pytest.raises(ValueError, match="do not belong together"):
            tapvid_metrics(*parts)
    with pytest.raises(ValueError, match="do not belong together"):
        tapvid_metrics(*(part[0] for part in video))
    for time in (-1, 9, np.nan):
        video[0][0, 0] = time
        with pytest.raises(ValueError, match="of a video of 9 frames"):
            tapvid_metrics(*video)


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


def test_sampling_arguments_that_make_no_sense():
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
