import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from undertow.metrics.badja import badja_metrics, count_badja
from undertow.metrics.tapvid import VideoAverages, sample_queries_first, scale_points

SIZE = (200, 100)


def reference_metrics(pred, true, visible, areas, starts, size, counted) -> dict[str, float]:
    """The definition of PIPs and DINO-Tracker, one joint on one frame at a time."""
    pck, near, delta = [], [], []
    for q in range(len(pred)):
        for t in range(len(areas)):
            allowed = {"after": t > starts[q], "others": t != starts[q], "all": True}[counted]
            if not (visible[q, t] and allowed):
                continue
            dx, dy = pred[q, t] - true[q, t]
            distance = np.sqrt(dx**2 + dy**2)
            pck.append(distance < 0.2 * np.sqrt(areas[t]))
            near.append(distance < 3)
            raster = np.hypot(dx * 256 / size[0], dy * 256 / size[1])
            delta.append(np.mean([raster < threshold for threshold in (1, 2, 4, 8, 16)]))
    parts = {"pck": pck, "within_3px": near, "delta_avg": delta}
    return {name: float(np.mean(part)) if part else np.nan for name, part in parts.items()}


def made_up(seed: int, count: int = 6, length: int = 11):
    generator = np.random.default_rng(seed)
    true = generator.uniform(0, SIZE, (count, length, 2))
    pred = true + 2.0 ** generator.uniform(-2, 6, (count, length, 1)) * generator.normal(size=true.shape) / 2
    visible = (generator.random((count, length)) < 0.8) & (np.arange(length) % 3 == 0)
    areas = generator.integers(0, 3000, length)
    return pred, true, visible, areas, generator.integers(0, length, count), SIZE


def assert_named_equal(found, expected) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=0, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("counted", ["after", "others", "all"])
@pytest.mark.parametrize("seed", range(5))
def test_equals_the_literal_loops(seed, counted):
    video = made_up(seed)
    assert_named_equal(badja_metrics(*video, counted).named(), reference_metrics(*video, counted))


@pytest.mark.parametrize("counted", ["after", "others", "all"])
def test_joints_equal_videos_of_one_joint(counted):
    pred, true, visible, areas, starts, size = made_up(1)
    values = count_badja(pred, true, visible, areas, starts, size, counted).joints().named()
    for q in range(len(pred)):
        one = slice(q, q + 1)
        expected = reference_metrics(pred[one], true[one], visible[one], areas, starts[one], size, counted)
        assert_named_equal({name: value[q] for name, value in values.items()}, expected)


def one_joint(distances, areas, visible=None, size=(256, 256), counted="after"):
    true = np.zeros((1, len(distances), 2))
    pred = true.copy()
    pred[0, :, 1] = distances
    seen = np.ones(len(distances)) if visible is None else np.array(visible)
    return badja_metrics(pred, true, seen.astype(bool)[None], np.array(areas), np.array([0]), size, counted)


def test_the_mask_of_the_scored_frame_sets_the_threshold():
    # 0.2 * sqrt(2500) = 10 pixels, 0.2 * sqrt(100) = 2 pixels: the query's mask would let both pass, or neither.
    scores = one_joint([0, 5, 5], [2500, 2500, 100])
    assert scores.pck == 1 / 2 and scores.within_3px == 0 and scores.points == 2
    np.testing.assert_array_equal(scores.within, [0, 0, 0, 1, 1])
    assert scores.delta_avg == pytest.approx(2 / 5)


def test_thresholds_are_strict():
    assert one_joint([0, 10], [2500, 2500]).pck == 0 and one_joint([0, np.nextafter(10, 0)], [2500, 2500]).pck == 1
    assert one_joint([0, 3], [2500, 2500]).within_3px == 0
    assert one_joint([0, 0], [2500, 0]).pck == 0


def test_joints_not_annotated_as_visible_do_not_count():
    assert one_joint([0, 0, 90, 90], [900] * 4, [1, 1, 0, 0]).pck == 1
    nothing = one_joint([0, 0], [900, 900], [1, 0])
    assert nothing.points == 0 and np.isnan(list(nothing.named().values())).all()


def test_counting_the_query_flatters():
    assert one_joint([0, 90], [900, 900]).pck == 0
    assert one_joint([0, 90], [900, 900], counted="all").pck == 1 / 2


def test_delta_is_of_the_256_raster():
    scores = one_joint([0, 3], [900, 900], size=(512, 512))
    np.testing.assert_array_equal(scores.within, [0, 1, 1, 1, 1])


def test_single_frames_and_no_joints():
    for scores in (
        one_joint([0], [900]),
        badja_metrics(*(part[:0] for part in made_up(0)[:3]), *made_up(0)[3:4], np.zeros(0, int), SIZE),
    ):
        assert scores.points == 0 and np.isnan(scores.pck)
    assert one_joint([0], [900], counted="all").pck == 1


def test_predictions_that_are_not_numbers_are_wrong():
    scores = one_joint([0, np.nan, np.inf, 0], [900] * 4)
    assert scores.pck == scores.within_3px == 1 / 3


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 5), st.integers(1, 9), st.sampled_from(["after", "others", "all"]))
def test_bounds_order_identity_and_size(seed, count, length, counted):
    pred, true, visible, areas, starts, size = made_up(seed, count, length)
    areas = areas + 1
    named = badja_metrics(pred, true, visible, areas, starts, size, counted).named()
    values = np.array(list(named.values()))
    assert ((values >= 0) & (values <= 1) | np.isnan(values)).all()
    order = np.random.default_rng(seed).permutation(count)
    shuffled = badja_metrics(pred[order], true[order], visible[order], areas, starts[order], size, counted)
    assert_named_equal(shuffled.named(), named)
    for value in badja_metrics(true, true, visible, areas, starts, size, counted).named().values():
        assert np.isnan(value) or value == 1
    # PCK and delta do not know how large the raster is, as long as areas grow with it.
    twice = badja_metrics(4 * pred, 4 * true, visible, 16 * areas, starts, (4 * size[0], 4 * size[1]), counted)
    np.testing.assert_array_equal(twice.pck, named["pck"])
    np.testing.assert_array_equal(twice.delta_avg, named["delta_avg"])


def test_arguments_that_make_no_sense():
    pred, true, visible, areas, starts, size = made_up(0)
    with pytest.raises(ValueError, match="after, others or all"):
        badja_metrics(pred, true, visible, areas, starts, size, "before")
    for broken in (
        (pred[:2], true, visible, areas, starts),
        (pred, true[:, :3], visible, areas, starts),
        (pred, true, visible, areas[:4], starts),
        (pred, true, visible, areas, starts[:1]),
    ):
        with pytest.raises(ValueError, match="do not belong together"):
            badja_metrics(*broken, size)
    with pytest.raises(ValueError, match="visibility is"):
        badja_metrics(pred[0], true[0], visible[0], areas, starts, size)
    with pytest.raises(ValueError, match="of a video of 11"):
        badja_metrics(pred, true, visible, areas, starts + 99, size)
    with pytest.raises(ValueError, match="negative"):
        badja_metrics(pred, true, visible, areas - 9999, starts, size)


def read_sequence(folder):
    """Joints (q, t, 2), visibility, mask areas and size of a real sequence, frames from the first annotated one on."""
    notes = json.loads((folder / "points.json").read_text())
    first, last = notes["annotated_frames"][0], notes["annotated_frames"][-1]
    shape = len(notes["tracks"]), last - first + 1
    true, visible = np.zeros((*shape, 2)), np.zeros(shape, bool)
    for q, track in enumerate(notes["tracks"]):
        for frame, position in track["visible"].items():
            true[q, int(frame) - first], visible[q, int(frame) - first] = position, True
    masks = [np.asarray(Image.open(folder / "masks" / f"{frame:05d}.png")) for frame in range(first, last + 1)]
    return true, visible, np.array([(mask > 0).sum() for mask in masks]), tuple(notes["resolution"])


@pytest.mark.shared_data
def test_real_joints_that_are_said_to_stay_where_they_were(shared_data):
    videos = {}
    for name in ("camel", "cows", "dog"):
        true, visible, areas, size = read_sequence(shared_data / f"davis-{name}")
        queries = sample_queries_first(true, ~visible)
        assert len(queries.points) == len(true) and areas.min() > 0
        starts = queries.points[:, 0].astype(int)
        perfect = badja_metrics(true, true, visible, areas, starts, size)
        assert all(value == 1 for value in perfect.named().values())
        still = np.broadcast_to(queries.points[:, None, :0:-1], true.shape)
        videos[name] = badja_metrics(still, true, visible, areas, starts, size)
        assert videos[name].points == visible.sum() - len(true)
        expected = reference_metrics(still, true, visible, areas, starts, size, "after")
        assert_named_equal(videos[name].named(), expected)
        # As PIPs has it, in its raster of 512 x 320; areas scaled, where it resizes the masks.
        small = (512, 320)
        scaled = badja_metrics(
            scale_points(still, size, small),
            scale_points(true, size, small),
            visible,
            areas * (small[0] * small[1] / (size[0] * size[1])),
            starts,
            small,
        )
        assert abs(scaled.pck - videos[name].pck) < 0.05
    found = {name: round(float(scores.pck), 4) for name, scores in videos.items()}
    assert found == {"camel": 0.4759, "cows": 0.5267, "dog": 0.0526}
    averages = VideoAverages.of([scores.named() for scores in videos.values()])
    assert {name: round(value, 4) for name, value in averages.values.items()} == {
        "pck": 0.3518,
        "within_3px": 0.0037,
        "delta_avg": 0.1179,
    }
