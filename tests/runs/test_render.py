from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from undertow.base import VideoError
from undertow.drawing import overlay
from undertow.runs import RunFolder, render_overlay, write_overlay
from undertow.video import Video


@dataclass(frozen=True)
class Picture:
    index: int
    time: Fraction
    name: str
    image: np.ndarray
    labels: np.ndarray
    scores: dict[int, object]


class Album:
    """Keeps what it is given."""

    def __init__(self):
        self.pages: list[tuple[np.ndarray, Fraction | None]] = []

    def write(self, image: np.ndarray, time: Fraction | None = None) -> None:
        self.pages.append((image, time))


def pictures(count: int) -> list[Picture]:
    rng = np.random.default_rng(0)
    made = []
    for index in range(count):
        labels = np.zeros((24, 32), np.uint16)
        labels[4:14, 3 + index : 13 + index] = 1
        image = rng.integers(0, 256, (24, 32, 3)).astype(np.uint8)
        made.append(Picture(index, Fraction(index**2, 7), f"{index:05d}", image, labels, {}))
    return made


def run_of(out: Path, frames: list[Picture]) -> RunFolder:
    with RunFolder.open(out, video="f", model="m", settings={}, cues=[]) as run:
        for frame in frames:
            run.write_result(frame)
        run.finish()
    return run


def test_masks_are_drawn_over_their_frames_with_their_times(tmp_path):
    frames, album = pictures(4), Album()
    assert render_overlay(run_of(tmp_path / "out", frames), frames, album) == 4
    for frame, (image, time) in zip(frames, album.pages, strict=True):
        assert np.array_equal(image, overlay(frame.image, frame.labels))
        assert time == frame.time


def test_frames_without_a_mask_are_left_out(tmp_path):
    frames, album = pictures(4), Album()
    assert render_overlay(run_of(tmp_path / "out", frames[1:3]), frames, album) == 2
    assert [time for _, time in album.pages] == [Fraction(1, 7), Fraction(4, 7)]


def test_another_video_is_refused(tmp_path):
    run = run_of(tmp_path / "out", [])
    with pytest.raises(VideoError, match="no frame of the video has a mask"):
        render_overlay(run, pictures(2), Album())


def test_overlay_mp4_plays_everywhere_and_shows_the_masks(tmp_path):
    frames = pictures(5)
    for frame in frames:
        frame.image[:] = 90
    run = run_of(tmp_path / "out", frames)
    with Video(np.stack([frame.image for frame in frames]), fps=Fraction(10)) as video:
        path = write_overlay(run, video)
    assert path == run.path / "overlay.mp4"
    data = path.read_bytes()
    assert b"avc1" in data
    assert 0 < data.index(b"moov") < data.index(b"mdat")
    with Video(path) as video:
        assert (video.width, video.height) == (32, 24)
        shown = list(video)
    assert [frame.time for frame in shown] == [Fraction(index, 10) for index in range(5)]
    for frame, seen in zip(frames, shown, strict=True):
        expected = overlay(frame.image, frame.labels).astype(float)
        # Colour is stored at half the size, so only brightness can be compared pixel by pixel.
        assert np.abs(expected.mean(-1) - seen.image.astype(float).mean(-1)).mean() < 12


def test_an_overlay_that_fails_leaves_no_file(tmp_path):
    frames = pictures(2)
    run = run_of(tmp_path / "out", [])
    with Video(np.stack([frame.image for frame in frames])) as video, pytest.raises(VideoError, match="no frame"):
        write_overlay(run, video)
    assert not (run.path / "overlay.mp4").exists()
