"""Pairs of views of held-out photographs are drawn once, and scored as other points are."""

import csv

import numpy as np
import pytest
from PIL import Image

from undertow.base import SettingsError
from undertow.benchmarks.core.datasets import open_dataset
from undertow.benchmarks.points.worlds import FILE
from undertow.video import Video
from undertow.world.photographs import COLUMNS, list_photographs


@pytest.fixture
def root(tmp_path):
    random, folder = np.random.default_rng(0), tmp_path / "photographs"
    folder.mkdir()
    names = [f"{number:02d}.png" for number in range(30)]
    for name in names:
        Image.fromarray(random.integers(0, 255, (40, 60, 3), np.uint8)).resize((90, 60)).save(folder / name)
    with (folder / "SOURCES.csv").open("w", newline="") as lines:
        csv.writer(lines).writerows([COLUMNS, *([name, "set", "1", name, "Ann", "CC0-1.0", ""] for name in names)])
    return tmp_path


def test_each_held_out_photograph_is_a_clip_of_two_frames(root):
    held_out = [each.path.stem for each in list_photographs(root / "photographs") if each.held_out]
    samples = open_dataset("photo-pairs", root)
    assert [each.name for each in samples] == held_out and 0 < len(held_out) < 30
    first = samples[0]
    with first.open() as video:
        assert len(video) == 2 and video[0].shape == (*first.size, 3)
    assert first.tracks.shape == (96, 2, 2) and not first.occluded[:, 0].any()
    assert 0.1 < np.mean([each.occluded[:, 1].mean() for each in samples]) < 0.8
    assert (first.queries("first").points[:, 0] == 0).all()


def test_what_is_drawn_is_kept_and_what_is_damaged_is_drawn_anew(root):
    first = open_dataset("photo-pairs", root)[0]
    frame, points = first.video / "00001.png", first.video.parent / FILE
    seen, stamps = Video(first.video)[1], (frame.stat().st_mtime_ns, points.stat().st_mtime_ns)
    open_dataset("photo-pairs", root)
    assert stamps == (frame.stat().st_mtime_ns, points.stat().st_mtime_ns)
    points.write_bytes(points.read_bytes()[:100])
    with pytest.raises(SettingsError, match="remove them"):
        open_dataset("photo-pairs", root, draw=False)
    again = open_dataset("photo-pairs", root)[0]
    np.testing.assert_array_equal(again.tracks, first.tracks)
    np.testing.assert_array_equal(Video(first.video)[1], seen)


def test_photographs_are_needed(tmp_path):
    with pytest.raises(SettingsError, match="write a row for each photograph"):
        open_dataset("photo-pairs", tmp_path)
