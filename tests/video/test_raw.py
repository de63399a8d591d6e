"""Raw frames through a pipe: every format, as soon as they come, and no part of one."""

import io
import logging
import os
import threading
import time
from fractions import Fraction

import numpy as np
import pytest

from undertow.base import VideoError
from undertow.video import Video
from undertow.video.pipe import Pipe, RawFormat
from undertow.video.streams import stream_of


def streamed(data: bytes, form: RawFormat) -> list[tuple[Fraction, np.ndarray]]:
    with Video(stream_of(Pipe(io.BytesIO(data), "the pipe"), form)) as video:
        return [(frame.time, frame.image) for frame in video]


def same(found, expected) -> None:
    assert [time for time, _ in found] == [time for time, _ in expected]
    for (_, image), (_, other) in zip(found, expected, strict=True):
        np.testing.assert_array_equal(image, other)


@pytest.mark.parametrize(
    ("pixels", "channels"),
    [("rgb24", [0, 1, 2]), ("bgr24", [2, 1, 0]), ("rgba", [0, 1, 2, 0]), ("gray", [0])],
)
def test_raw_frames(clips, pixels, channels):
    pictures = [np.random.default_rng(number).integers(0, 256, (6, 9, 3), np.uint8) for number in range(5)]
    pictures = [picture[..., :1].repeat(3, 2) for picture in pictures] if pixels == "gray" else pictures
    data = b"".join(picture[..., channels].tobytes() for picture in pictures)
    found = streamed(data, RawFormat.parse(f"9x6:{pixels}@30000/1001"))
    same(found, [(Fraction(1001 * number, 30000), picture) for number, picture in enumerate(pictures)])


def test_raw_frames_that_break_off(caplog):
    pictures = np.arange(2 * 4 * 6 * 3, dtype=np.uint8).reshape(2, 4, 6, 3)
    with caplog.at_level(logging.WARNING):
        found = streamed(pictures.tobytes() + b"\0" * 50, RawFormat.parse("6x4"))
    same(found, [(Fraction(number, 24), picture) for number, picture in enumerate(pictures)])
    assert [record.message for record in caplog.records] == [
        "the pipe ends within a frame, which is left out; is it 6x4:rgb24?"
    ]
    with pytest.raises(VideoError, match="the pipe ended before its first frame; check the size of the raw frames"):
        streamed(b"\0" * 50, RawFormat.parse("6x4"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("640", "raw video is described as '640'; give WIDTHxHEIGHT"),
        ("640x480x3", "raw video is described as"),
        ("640x480:yuv420p", "format 'yuv420p'; give one of rgb24, bgr24, rgba, gray"),
        ("640x0", "without pixels"),
        ("640x480@0", "frame rate 0 is not positive"),
        ("640x480@fast", "frame rate 'fast' is not a number"),
        ("99999x99999", "has 99999x99999 pixels, more than the 89 million"),
    ],
)
def test_raw_formats_that_are_none(text, message):
    with pytest.raises(VideoError, match=message):
        RawFormat.parse(text)


def test_frames_are_given_out_as_they_come(clips):
    """A reader of a live picture sees a frame without waiting for later ones to be written."""
    pictures = [clips.numbered(number).tobytes() for number in range(5)]
    end, other = os.pipe()
    with io.FileIO(end) as file, io.FileIO(other, "wb") as writer:
        writer.write(pictures[0])
        video = Video(stream_of(Pipe(file, "the pipe"), RawFormat.parse("64x48")))
        frames = iter(video)
        for number in range(4):
            assert clips.number_in(next(frames).image) == number
            writer.write(pictures[number + 1])


def test_a_pipe_that_does_not_block_is_waited_for():
    end, other = os.pipe()
    os.set_blocking(end, False)
    picture = np.arange(72, dtype=np.uint8)

    def write() -> None:
        with io.FileIO(other, "wb") as writer:
            for part in (picture[:30], picture[30:]):
                time.sleep(0.05)
                writer.write(part.tobytes())

    thread = threading.Thread(target=write)
    thread.start()
    with io.FileIO(end) as file, Video(stream_of(Pipe(file, "the pipe"), RawFormat.parse("6x4"))) as video:
        np.testing.assert_array_equal(video[0].ravel(), picture)
    thread.join()
