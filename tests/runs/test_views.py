"""Views of a run: videos and pictures in one pass, whole or not at all."""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from undertow.base import SilentProgress, VideoError
from undertow.runs import Folder, Record
from undertow.runs.views import Views, render
from undertow.video import Clip, Frame, Video


@dataclass
class Painter:
    """The part of a job that draws."""

    picture: Callable[[Frame, str], np.ndarray | None]

    def draw(self, run: Folder, frame: Frame, view: str) -> np.ndarray | None:
        return self.picture(frame, view)


@pytest.fixture
def run(tmp_path):
    record = Record("dots", "v", "m", {}, (), ("overlay.mp4", "wide.mp4", "first.png"))
    with Folder.open(tmp_path / "out", record) as folder:
        yield folder


@pytest.fixture
def clip():
    return Clip(Video(np.full((5, 24, 32, 3), 90, np.uint8), fps=Fraction(10)))


def test_views_of_several_sizes_are_drawn_in_one_pass(run, clip):
    def picture(frame, view):
        if view == "first":
            return None if frame.index < 3 else frame.image
        tone = np.full_like(frame.image, 40 * frame.index)
        return tone if view == "overlay" else np.concatenate([frame.image, tone], axis=1)

    render(run, Painter(picture), clip, ("overlay.mp4", "wide.mp4", "first.png"), SilentProgress())
    data = (run.path / "overlay.mp4").read_bytes()
    assert b"avc1" in data and 0 < data.index(b"moov") < data.index(b"mdat")
    for name, width in (("overlay.mp4", 32), ("wide.mp4", 64)):
        with Video(run.path / name) as film:
            assert (film.width, film.height) == (width, 24)
            shown = list(film)
        assert [frame.time for frame in shown] == [Fraction(index, 10) for index in range(5)]
        assert [round(float(frame.image[:, -1].mean()), -1) for frame in shown] == [0, 40, 80, 120, 160]
    with Image.open(run.path / "first.png") as still:
        assert still.size == (32, 24)


def test_frames_with_nothing_to_see_are_left_out(run, clip):
    render(run, Painter(lambda frame, view: frame.image if frame.index in (1, 2) else None), clip, ("overlay.mp4",),
           SilentProgress())  # fmt: skip
    with Video(run.path / "overlay.mp4") as film:
        assert film.frame_count == 2


def test_no_more_frames_are_read_than_pictures_need(run, clip):
    seen = []
    render(run, Painter(lambda frame, view: seen.append(frame.index) or frame.image), clip, ("first.png",),
           SilentProgress())  # fmt: skip
    assert seen == [0]


@pytest.mark.parametrize("file", ["overlay.mp4", "first.png"])
def test_another_video_is_refused_and_leaves_no_file(run, clip, file):
    with pytest.raises(VideoError, match="no frame of the video has a result"):
        render(run, Painter(lambda frame, view: None), clip, (file,), SilentProgress())
    assert not (run.path / file).exists()


def test_what_is_given_up_leaves_no_file(run, clip):
    with Views(run, Painter(lambda frame, view: frame.image), clip, ("overlay.mp4",)) as views:
        for frame in clip:
            views.add(frame)
    assert not (run.path / "overlay.mp4").exists() and not list(run.path.glob(".overlay*"))
