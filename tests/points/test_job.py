"""Runs of points: what is written, that an interrupted run goes on to the same tracks, that points can be added."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from undertow.base import CueError, MemoryBudgetError, SettingsError, SilentProgress
from undertow.points import PointSettings, PointTracker
from undertow.points.job import FEATURES, read_run
from undertow.points.queries import check_room_for, gather, given_points
from undertow.points.seeing import SeenVideo
from undertow.points.task import TASK
from undertow.runs import execute, read_cue
from undertow.video import Clip, Video

SETTINGS = PointSettings(preset="flow", size=(64, 48), batch=2)
POINTS = np.array([[0, 20.0, 18.0], [2, 40.5, 30.5]])


@pytest.fixture(scope="module")
def frames():
    picture = np.kron(np.random.default_rng(0).integers(0, 255, (12, 16, 3), np.uint8), np.ones((4, 4, 1), np.uint8))
    return np.stack([np.roll(picture, 2 * t, 1) for t in range(5)])


def follow(out, frames, backbone, points=POINTS, settings=SETTINGS, views=TASK.views, **options):
    video = frames if isinstance(frames, Clip) else Video(frames, fps=10)
    given = given_points(video, points)
    return read_run(execute(TASK, out, video, given, backbone, settings, views=views, **options).path)


def test_what_a_run_leaves_behind(frames, tiny_like, tmp_path):
    found = follow(tmp_path / "out", frames, tiny_like)
    out = tmp_path / "out"
    names = {"run.json", "frames.json", "tracks.npz", "tracks.csv", "tapvid.npz", "overlay.mp4", "trajectories.png"}
    assert {path.name for path in out.iterdir()} == names
    with np.load(out / "tracks.npz") as arrays:
        np.testing.assert_array_equal(arrays["tracks"], found.tracks)
        np.testing.assert_array_equal(arrays["queries"], POINTS)
        assert arrays["frames"].tolist() == [0, 1, 2, 3, 4]
    with np.load(out / "tapvid.npz") as arrays:
        np.testing.assert_allclose(arrays["points"] * [64, 48], found.tracks, atol=1e-4)
        np.testing.assert_array_equal(arrays["occluded"], ~found.visibility)
        np.testing.assert_allclose(arrays["query_points"][1], [2, 30.5 / 48 * 256, 40.5 / 64 * 256], rtol=1e-6)
    with (out / "tracks.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    assert len(rows) == 10 and rows[7]["point"] == "1" and rows[7]["frame"] == "2" and rows[7]["time"] == "0.200000000"
    assert (float(rows[7]["x"]), float(rows[7]["y"]), rows[7]["visible"]) == (40.5, 30.5, "1")
    assert json.loads((out / "run.json").read_text())["settings"]["frames"] == {"start": 0, "end": None, "every": 1}
    with Image.open(out / "trajectories.png") as drawn:
        assert drawn.size == (64, 48)
    with Video(out / "overlay.mp4") as film:
        assert film.frame_count == 5


def test_an_interrupted_run_goes_on_to_the_same_tracks(frames, tiny_like, tmp_path, monkeypatch):
    wanted = follow(tmp_path / "whole", frames, tiny_like)
    show = SeenVideo.show

    def interrupted(self, batch):
        if len(self.numbers) == 4:
            raise KeyboardInterrupt
        show(self, batch)

    monkeypatch.setattr(SeenVideo, "show", interrupted)
    with pytest.raises(KeyboardInterrupt):
        follow(tmp_path / "out", frames, tiny_like)
    kept = sorted(path.stem for path in (tmp_path / "out" / FEATURES).iterdir())
    assert kept == sorted([f"-1_-1_{place}" for place in range(4)] + [f"flow_{place}" for place in range(4)])
    monkeypatch.setattr(SeenVideo, "show", show)
    forwards = []
    close = PointTracker.close
    monkeypatch.setattr(PointTracker, "close", lambda self: (forwards.append(self.forwards), close(self))[1])
    found = follow(tmp_path / "out", frames, tiny_like)
    assert max(forwards) == 1
    np.testing.assert_array_equal(found.tracks, wanted.tracks)
    np.testing.assert_array_equal(found.confidence, wanted.confidence)
    names = [{path.name for path in (tmp_path / name).iterdir()} for name in ("out", "whole")]
    assert names[0] == names[1]


def test_an_interrupted_run_of_other_points_is_not_mixed_up(frames, tiny_like, tmp_path, monkeypatch):
    monkeypatch.setattr(PointTracker, "follow", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        follow(tmp_path, frames, tiny_like)
    monkeypatch.undo()
    with pytest.raises(SettingsError, match="already holds another run"):
        follow(tmp_path, frames, tiny_like, POINTS[:1])


def test_points_are_added_to_a_complete_run(frames, tiny_like, tmp_path, monkeypatch):
    both = follow(tmp_path / "both", frames, tiny_like)
    kept = replace(SETTINGS, keep_features=True)
    follow(tmp_path / "out", frames, tiny_like, POINTS[:1], kept)
    monkeypatch.setattr(SeenVideo, "_observe", lambda *_: pytest.fail("the network ran"))
    added = follow(tmp_path / "out", frames, tiny_like, POINTS, kept)
    np.testing.assert_array_equal(added.tracks, both.tracks)
    np.testing.assert_array_equal(added.queries, POINTS)
    assert len(json.loads((tmp_path / "out/run.json").read_text())["cues"]) == 2
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
    again = follow(tmp_path / "out", frames, tiny_like, POINTS[1:], kept)
    assert len(again.tracks) == 2 and before == {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}


def test_another_run_is_refused_or_replaced(frames, tiny_like, tmp_path):
    follow(tmp_path, frames, tiny_like)
    with pytest.raises(SettingsError, match=r"settings.seed|noising.seed"):
        follow(tmp_path, frames, tiny_like, settings=replace(SETTINGS, seed=3))
    with pytest.raises(SettingsError, match="video was"):
        follow(tmp_path, frames[:4], tiny_like)
    replaced = follow(tmp_path, frames[:4], tiny_like, overwrite=True, views=())
    assert replaced.tracks.shape == (2, 4, 2) and not (tmp_path / "overlay.mp4").exists()


def test_frames_of_a_clip_keep_their_numbers(frames, tiny_like, tmp_path):
    clip = Clip(Video(frames, fps=10), 1, 5, 2)
    found = follow(tmp_path, clip, tiny_like, np.array([[1, 20.0, 18.0]]))
    assert found.tracks.shape == (1, 2, 2) and found.tracks[0, 1].tolist() == [20, 18]
    with np.load(tmp_path / "tracks.npz") as arrays:
        assert arrays["frames"].tolist() == [1, 3]


def test_streams_and_too_many_points_are_refused(frames, tiny_like, tmp_path):
    with pytest.raises(CueError, match="read again"):
        given_points(Video(iter(frames)), POINTS)
    check_room_for(100_000, 10)
    with pytest.raises(MemoryBudgetError, match="100000 points on 100000000 frames would need about"):
        check_room_for(100_000, 100_000_000)
    assert not (tmp_path / "out").exists()


def test_tracks_that_cannot_be_read_are_not_added_to(frames, tiny_like, tmp_path):
    follow(tmp_path, frames, tiny_like, POINTS[:1], views=())
    (tmp_path / "tracks.npz").write_bytes(b"PK")
    with pytest.raises(SettingsError, match=r"tracks.npz' cannot be read .* add --overwrite"):
        follow(tmp_path, frames, tiny_like, views=())


def test_tables_and_views_that_were_interrupted_need_no_network(frames, tiny_like, tmp_path, monkeypatch):
    class StopAtDrawing(SilentProgress):
        def start(self, stage, total):
            if stage == "draw":
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        follow(tmp_path, frames, tiny_like, progress=StopAtDrawing())
    monkeypatch.setattr(PointTracker, "observe", lambda *_, **__: pytest.fail("the network ran"))
    assert len(follow(tmp_path, frames, tiny_like).tracks) == 2 and (tmp_path / "overlay.mp4").exists()


def test_points_are_gathered_from_what_is_typed(frames, tmp_path):
    clip = Clip(Video(frames, fps=10), 1, 5, 2)
    (tmp_path / "points.csv").write_text("x,y\n1,2\n20,18\n")
    cues = [read_cue(kind, text, clip) for kind, text in (
        ("point", "20,18@3"), ("point", "20,18"), ("grid", "2@3"), ("queries", str(tmp_path / "points.csv")),
    )]  # fmt: skip
    given = gather(cues, clip, lambda: pytest.fail("loaded"), SETTINGS)
    # Frames count among those of the clip; what was given twice is there once.
    assert given.value.tolist() == [
        [1, 20, 18], [0, 20, 18], [1, 16, 12], [1, 48, 12], [1, 16, 36], [1, 48, 36], [0, 1, 2],
    ]  # fmt: skip
    assert given.frames == (1, 3) and given.log[0] == {"point": "20,18@3"} and given.log[-1]["points"] == 7
    for text, message in (("20,18,-", "have no object"), ("20,18#2", "have no object"), ("99,1", "lies outside")):
        with pytest.raises(CueError, match=message):
            gather([read_cue("point", text, clip)], clip, lambda: pytest.fail("loaded"), SETTINGS)
    with pytest.raises(CueError, match="frame 2, which is not looked at"):
        (tmp_path / "points.csv").write_text("frame,x,y\n2,1,2\n")
        gather(cues[-1:], clip, lambda: pytest.fail("loaded"), SETTINGS)
