"""Point tracking by models and by classical flow, as methods of a benchmark."""

import numpy as np
import pytest

from undertow.base import SettingsError
from undertow.benchmarks.core.datasets import dataset_of
from undertow.benchmarks.core.jobs import MakeJob
from undertow.benchmarks.core.methods import baseline_method, baselines_of, make_methods
from undertow.benchmarks.core.sample import get_protocol
from undertow.benchmarks.points.methods import PointModel, carry_points, dense_flow, lucas_kanade, model_method
from undertow.benchmarks.points.sample import back_again
from undertow.points import PointSettings, track_points

HEIGHT, WIDTH = 96, 128


def clip(length=6, step=(3, 2)):
    """A smooth random picture on which a camera moves by whole pixels."""
    random = np.random.default_rng(0).normal(size=(3, 200, 200))
    spectrum = np.fft.fft2(random) * np.exp(-np.hypot(*np.meshgrid(*[np.fft.fftfreq(200)] * 2)) * 12)
    field = np.fft.ifft2(spectrum).real.transpose(1, 2, 0)
    picture = np.clip(128 + 60 * field / field.std(), 0, 255).astype(np.uint8)
    return [picture[50 - t * step[1] :, 60 - t * step[0] :][:HEIGHT, :WIDTH] for t in range(length)]


@pytest.mark.parametrize("mover", [lucas_kanade, dense_flow])
def test_flow_carries_points_both_ways(mover):
    queries = np.array([[0, 40.5, 40.5], [5, 80.5, 50.5], [2, 60.0, 30.0]])
    found = carry_points(iter(clip()), queries, mover)
    moved = np.arange(6)[None] - queries[:, :1]
    wanted = queries[:, None, 1:] + moved[..., None] * [3, 2]
    assert np.abs(found.tracks - wanted).max() < 0.6
    assert found.visibility.all()


@pytest.mark.parametrize("mover", [lucas_kanade, dense_flow])
def test_a_point_that_leaves_counts_as_hidden_from_then_on(mover):
    found = carry_points(iter(clip(8, (5, 0))), np.array([[0, 115.5, 40.5], [0, 20.5, 40.5]]), mover)
    assert found.visibility[0, 0] and not found.visibility[0, 4:].any() and found.visibility[1].all()


def test_a_model_is_a_method_of_the_task_that_a_dataset_asks_for(tmp_path):
    assert dataset_of("world-easy", tmp_path) == ("world-easy", "masks")
    assert dataset_of("world-easy", tmp_path, "points") == ("world-easy-points", "points")
    assert dataset_of("badja", tmp_path) == ("badja", "points")
    with pytest.raises(SettingsError, match="is for points, not 'masks'"):
        dataset_of("badja", tmp_path, "masks")
    methods = make_methods(["tiny"], [None, "dift"], list(baselines_of("points"))[:1], task="points")
    assert [(each.name, each.task) for each in methods] == [
        ("still", "points"),
        ("tiny", "points"),
        ("tiny+dift", "points"),
    ]
    with pytest.raises(SettingsError, match="drift"):
        model_method("tiny", "drift")


def test_a_method_follows_as_track_points_does():
    frames = np.stack(clip(3))
    queries = np.array([[0, 40.0, 40.0], [2, 80.0, 50.0]])
    settings = PointSettings(preset="pixels", size=(128, 96))
    predict = MakeJob(PointModel, "tiny", settings, "cpu")(get_protocol("lab"))
    found = predict(iter(frames), queries)
    wanted = track_points(frames, queries, settings=settings)
    np.testing.assert_array_equal(found.tracks, wanted.tracks)
    assert baseline_method("pixels").task == "points" and baseline_method("pixels").settings["name"] == "pixels"


def test_points_that_are_back_were_hidden_since_their_query():
    visible = np.array([[1, 0, 1, 1, 0], [1, 1, 1, 1, 1], [0, 1, 0, 0, 1]], bool)
    found = back_again(visible, np.array([0, 0, 1]))
    assert found.astype(int).tolist() == [[0, 0, 1, 1, 0], [0, 0, 0, 0, 0], [0, 0, 0, 0, 1]]
    np.testing.assert_array_equal(back_again(visible[:2]), found[:2])
