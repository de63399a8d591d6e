"""Followed points in other tools' formats."""

import csv
import json
import re

import numpy as np
import pytest

from undertow.base import SettingsError
from undertow.export import ExportSettings, export, open_run


@pytest.fixture
def followed(tmp_path):
    """A finished run of `points`: three points on four frames of 40x60."""
    path = tmp_path / "run"
    path.mkdir()
    frames = [{"frame": 10 + n, "time": f"{n}/25", "name": f"{10 + n:05d}"} for n in range(4)]
    (path / "frames.json").write_text(json.dumps(frames))
    record = {
        "format": "undertow run", "version": 2, "task": "points", "video": "v", "model": "m", "settings": {},
        "cues": [], "files": ["tracks.npz"], "complete": {"tracks.npz": 1}, "source": "clip", "size": [40, 60],
    }  # fmt: skip
    (path / "run.json").write_text(json.dumps(record))
    tracks = np.arange(24, dtype=np.float32).reshape(3, 4, 2) + 0.25
    visible = np.ones((3, 4), bool)
    visible[1, 2] = False
    np.savez(
        path / "tracks.npz", tracks=tracks, visibility=visible, confidence=np.full((3, 4), 0.9, np.float32),
        queries=np.zeros((3, 3)), frames=np.arange(10, 14),
    )  # fmt: skip
    return path, tracks, visible


@pytest.mark.parametrize("to", ["tapvid", "csv", "nuke", "after-effects"])
def test_nothing_differs_when_read_back(followed, tmp_path, to):
    path, _, _ = followed
    settings = ExportSettings(objects=(1, 2), start=11, frame_offset=991, labels="1=a")
    assert export(path, to, tmp_path / "out", settings, check=True).differences == 0
    # Another visibility of the frame that differs, and another place of all.
    with np.load(path / "tracks.npz") as arrays:
        changed = dict(arrays) | {"tracks": arrays["tracks"] + 0.5}
    np.savez(path / "tracks.npz", **changed)
    assert export(path, to, tmp_path / "out", settings, check=True).differences >= 2


def test_the_run_is_read(followed):
    path, tracks, visible = followed
    run = open_run(path)
    assert np.array_equal(run.tracks.positions, tracks) and np.array_equal(run.tracks.visible, visible)
    assert (run.size, run.fps, list(run.names)) == ((40, 60), 25, [0, 1, 2])
    with pytest.raises(SettingsError, match="has no masks"):
        run.masks(10)
    with pytest.raises(SettingsError, match="no frame 3"):
        run.frame(3)


def test_tapvid_arrays(followed, tmp_path):
    path, tracks, visible = followed
    export(path, "tapvid", tmp_path / "out", ExportSettings(objects=(0, 2), start=11))
    with np.load(tmp_path / "out" / "clip.npz") as arrays:
        np.testing.assert_allclose(arrays["points"] * (60, 40), tracks[[0, 2], 1:], rtol=1e-6)
        assert np.array_equal(arrays["occluded"], ~visible[[0, 2], 1:]) and arrays["frames"].tolist() == [11, 12, 13]


def test_csv_has_a_row_per_point_and_frame(followed, tmp_path):
    path, tracks, _ = followed
    export(path, "csv", tmp_path / "out", ExportSettings(frame_offset=991, labels="1=nose"))
    rows = list(csv.DictReader((tmp_path / "out" / "clip.csv").read_text().splitlines()))
    assert len(rows) == 12 and [row["frame"] for row in rows[:4]] == ["1001", "1002", "1003", "1004"]
    row = rows[6]
    assert (row["label"], row["visible"], row["time"]) == ("nose", "0", "0.080000000")
    assert [float(row["x"]), float(row["y"])] == tracks[1, 2].tolist()


def test_nuke_tracks_have_y_up_and_keys_where_seen(followed, tmp_path):
    path, tracks, _ = followed
    export(path, "nuke", tmp_path / "out", ExportSettings(frame_offset=991, labels='1=a {"b"}'))
    text = (tmp_path / "out" / "clip.nk").read_text()
    assert text.count("{") == text.count("}") and "{ 1 31 3 }" in text and "\nTracker4 {" in text
    columns = re.findall(r"^(?:\{ )?\{ \d \d \d+ (\w+) \w+ 1 \}", text, re.M)
    assert len(columns) == 31 and columns[:4] == ["enable", "name", "track_x", "track_y"]
    (name, across, up) = re.findall(r'"([^"]*)" \{curve ([^}]*)\} \{curve ([^}]*)\}', text)[1]
    assert name == "a (_b_)" and "x1003" not in across
    keys = dict(zip(up.split()[::2], map(float, up.split()[1::2]), strict=True))
    assert keys == {f"x{1001 + n}": 40 - float(tracks[1, n, 1]) for n in (0, 1, 3)}


def test_after_effects_text(followed, tmp_path):
    path, tracks, _ = followed
    export(path, "after-effects", tmp_path / "out", ExportSettings(fps="30000/1001"))
    assert len(list((tmp_path / "out").glob("*.txt"))) == 3
    lines = (tmp_path / "out" / "clip_point_1.txt").read_text().splitlines()
    assert lines[0] == "Adobe After Effects 8.0 Keyframe Data" and lines[-1] == "End of Keyframe Data"
    assert "\tUnits Per Second\t29.97" in lines and "\tSource Width\t60" in lines
    start = lines.index("\tFrame\tX pixels\tY pixels\tZ pixels") + 1
    rows = [line.split("\t")[1:] for line in lines[start : start + 3]]
    assert [row[0] for row in rows] == ["0", "1", "3"] and [float(each) for each in rows[0][1:]] == [*tracks[1, 0], 0]


def test_keys_of_a_run_that_leaves_frames_out_are_at_the_rate_of_the_clip(followed, tmp_path):
    path, _, _ = followed
    frames = [{"frame": 10 + 2 * n, "time": f"{2 * n}/25", "name": f"{10 + 2 * n:05d}"} for n in range(4)]
    (path / "frames.json").write_text(json.dumps(frames))
    done = export(path, "after-effects", tmp_path / "out", check=True)
    text = (tmp_path / "out" / "clip_point_0.txt").read_text()
    assert done.differences == 0 and done.note == "" and "\tUnits Per Second\t25\n" in text
    assert re.findall(r"^\t(\d+)\t.*\t0$", text, re.M) == ["0", "2", "4", "6"]
