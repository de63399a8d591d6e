"""A clip's frames keep the numbers, times and names of the whole; nothing else is read for it."""

import logging
from collections.abc import Iterator
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from undertow.base import VideoError
from undertow.video import Clip, Video, frame_number

LONG = {"x264-params": "bframes=3:b-adapt=0:scenecut=0"}


def counted(number: int) -> np.ndarray:
    return np.full((4, 6, 3), number % 256, np.uint8)


class Endless:
    """A stream without end that knows how many frames were taken from it."""

    def __init__(self) -> None:
        self.taken = 0

    def __iter__(self) -> Iterator[np.ndarray]:
        while True:
            self.taken += 1
            yield counted(self.taken - 1)


@pytest.mark.parametrize(
    ("start", "end", "every"), [(0, None, 1), (7, 31, 1), (7, 31, 4), (39, 40, 5), (0, 40, 39), (5, None, 10)]
)
@pytest.mark.parametrize("kind", ["file", "folder", "array", "stream"])
def test_frames_are_those_of_the_video(clips, kind, start, end, every):
    pictures = [clips.numbered(number) for number in range(40)]
    source = pictures if kind == "array" else iter(pictures)
    if kind == "file":
        source = clips.make("film.mp4", options=LONG, rate=Fraction(30000, 1001))
    elif kind == "folder":
        source = clips.folder / "frames"
        source.mkdir()
        for number, picture in enumerate(pictures):
            Image.fromarray(picture).save(source / f"shot{number:03d}.png")
    expected = list(range(40))[start:end:every]
    with Clip(Video(source, fps=None if kind == "file" else 25), start, end, every) as clip:
        whole = clip.video
        if whole.again:
            assert (clip.numbers, clip.frame_count) == (range(start, end or 40, every), len(expected))
        frames = list(clip)
        assert [frame.index for frame in frames] == [clips.number_in(frame.image) for frame in frames] == expected
        assert [frame.time for frame in frames] == [number / whole.fps for number in expected]
        assert [frame.name for frame in frames] == [whole.name_of(number) for number in expected]
        assert clip.fps == whole.fps / every
        assert (clip.height, clip.width, clip.again) == (48, 64, kind != "stream")
        assert clip.fingerprint() == whole.fingerprint()
        if whole.again:
            assert clips.number_in(clip.frame(expected[0]).image) == expected[0]
            assert clip.name_of(expected[-1]) == frames[-1].name and clip.time_of(expected[-1]) == frames[-1].time


def test_a_file_is_not_read_from_the_beginning_for_the_frames_of_a_clip(clips):
    path = clips.make("long.mp4", 100, options=LONG)
    with Clip(Video(path), 92, 97, 2) as clip:
        assert [clips.number_in(frame.image) for frame in clip] == [92, 94, 96]
        assert clip.video._source.seeks == 1
    with Clip(Video(path), 0, 60, 3) as clip:
        assert [clips.number_in(frame.image) for frame in clip] == list(range(0, 60, 3))
        assert clip.video._source.seeks == 0


def test_from_its_end_a_file_is_read_in_pieces(clips):
    path = clips.make("long.mp4", 100, options=LONG)
    with Clip(Video(path), 3, 99, 2) as clip:
        assert [clips.number_in(frame.image) for frame in reversed(clip)] == list(range(97, 2, -2))
        # Of the frames on the way to one, the last 16 are kept, eight of which are the clip's.
        assert clip.video._source.seeks < 48 / 4


def test_nothing_after_the_clip_is_taken_from_a_stream():
    stream = Endless()
    clip = Clip(Video(stream, fps=10), 5, 20, 4)
    assert (clip.numbers, clip.frame_count, clip.fps) == (None, None, Fraction(5, 2))
    assert [int(frame.image[0, 0, 0]) for frame in clip] == [5, 9, 13, 17]
    assert stream.taken == 18
    assert int(clip.frame(17).image[0, 0, 0]) == 17


def test_a_stream_may_end_early(caplog):
    clip = Clip(Video(map(counted, range(10))), 3, 40)
    with caplog.at_level(logging.WARNING):
        assert [frame.index for frame in clip] == list(range(3, 10))
    assert [record.message for record in caplog.records] == [
        "the stream ended after 10 frames, before frame 40 where the clip ends"
    ]
    assert (clip.numbers, clip.frame_count) == (range(3, 10), 7)
    with pytest.raises(VideoError, match="the stream ended after 10 frames; the clip would have started at 12"):
        list(Clip(Video(map(counted, range(10))), 12))


@pytest.mark.parametrize(
    ("start", "end", "every", "message"),
    [
        (0, 9, 0, "every 0. frame cannot be taken"),
        (-1, 9, 1, "cannot start at frame -1; frames are counted from 0"),
        (5, 5, 1, "from frame 5 to before frame 5 has none"),
        (9, None, 1, "cannot start at frame 9; the last frame of the list is 8"),
        (20, 30, 1, "cannot start at frame 20; the last frame of the list is 8"),
        (2, 10, 1, "cannot end at frame 10; the last frame of the list is 8"),
    ],
)
def test_clips_that_are_none(start, end, every, message):
    with pytest.raises(VideoError, match=message):
        Clip(Video([counted(number) for number in range(9)]), start, end, every)


def test_frames_outside_a_clip():
    clip = Clip(Video([counted(number) for number in range(60)], fps=10), 10, 50, 15)
    assert repr(clip) == "<Clip of the list, the frames from 10 to 49, one in 15>"
    for index, nearest in ((0, 10), (9, 10), (12, 10), (30, 25), (41, 40), (49, 40), (59, 40), (999, 40), (-3, 10)):
        for ask in (clip.frame, clip.name_of, clip.time_of):
            with pytest.raises(VideoError, match=rf"frame {index} of .* one in 15; the nearest is {nearest}$"):
                ask(index)
    assert [clip.index_of_time(seconds) for seconds in (1, 2.4, 2.5, 4.99)] == [10, 10, 25, 40]
    for seconds in (0.9, 5):
        with pytest.raises(VideoError, match=r"s is frame \d+ of the list, outside the frames from 10 to 49"):
            clip.index_of_time(seconds)


def test_frame_numbers_as_they_are_typed(clips):
    video = Video([counted(number) for number in range(60)], fps=10)
    for text, number in {
        "0": 0,
        "120": 120,
        "0s": 0,
        "4.5s": 45,
        " .55s ": 5,
        "6s": 60,
        "6.0s": 60,
        "5.": None,
    }.items():
        if number is not None:
            assert frame_number(text, video, "--start") == number
    for text in ("", "x", "-1", "4.5", "1e3s", "5.", "s", "1:30", "4 .5s"):
        with pytest.raises(
            VideoError, match=r"^--end is '.*'; give a frame number such as 120, or a time such as 4.5s"
        ):
            frame_number(text, video, "--end")
    with pytest.raises(VideoError, match=r"^--end is '6.1s' but there is no frame at 6.1 s; the list goes"):
        frame_number("6.1s", video, "--end")
    varying = Video(clips.make("v.mkv", 6, stamps=[0, 40, 50, 170, 171, 500], tick=Fraction(1, 1000)))
    assert [frame_number(text, varying, "--start") for text in ("0.1s", "0.17s", ".499s")] == [2, 3, 4]
    assert frame_number("2s", Video(iter(map(counted, range(9))), fps=25), "--start") == 50
