"""`Clip`: a part of a video, every n-th frame of it, each with the number, time and name it has in the whole."""

import logging
import operator
import re
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import count as counting
from typing import Self, SupportsIndex

from undertow.base import VideoError, counted
from undertow.video.frames import NOMINAL_FPS, Frame
from undertow.video.video import Video

log = logging.getLogger(__name__)

_PLACE = re.compile(r"(?P<frame>\d{1,18})|(?P<seconds>\d{1,18}(\.\d*)?|\.\d+)s")
# How far, in seconds, a time may fall short of the end of a video and still mean it.
_TOLERANCE = Fraction(1, 1000)


class Clip:
    """The frames of a video from `start` to before `end`, every `every`-th.

        clip = Clip(Video("clip.mp4"), start=120, end="20s", every=2)

        clip = Clip(Video("clip.mp4"), start=120, end=480, every=2)  # frames keep their numbers

    Frames keep their numbers of the whole video, so cues and results of a clip apply to the video.
    Frames before the clip are skipped by seeking if the video can be read again; in a stream they are read and dropped,
    and nothing after the last frame of the clip is read.

    Attributes:
        video: The whole video.
        start: Number of the first frame.
        end: Number of the frame before which it ends, `None` for the end of the video.
        every: Step between frame numbers.
        height: Pixels down.
        width: Pixels across.
        again: Whether frames can be read a second time; see `Video`.
        label: Name of the video in messages.
    """

    def __init__(self, video: Video, start: int = 0, end: int | None = None, every: int = 1):
        """Chooses frames; of a file they are counted for that, unless all are chosen.

        Raises:
            VideoError: if there are no such frames.
        """
        if every < 1:
            raise VideoError(f"every {every}. frame cannot be taken; take every 1st, 2nd, 3rd and so on")
        if start < 0:
            raise VideoError(f"a clip cannot start at frame {start}; frames are counted from 0")
        if end is not None and end <= start:
            raise VideoError(f"a clip from frame {start} to before frame {end} has none; let it end after its start")
        count = None if start == 0 and end is None else video.frame_count
        if count is not None and max(start + 1, end or 0) > count:
            asked = f"start at frame {start}" if start >= count else f"end at frame {end}"
            raise VideoError(f"a clip cannot {asked}; the last frame of {video.label} is {count - 1}")
        self.video, self.start, self.end, self.every = video, start, end, every
        self.height, self.width, self.again, self.label = video.height, video.width, video.again, video.label

    @property
    def numbers(self) -> Sequence[int] | None:
        """Numbers of the frames without skipped ones; `None` while the length of a stream is unknown."""
        count = self.video.frame_count
        if count is None:
            return None
        return self.video.kept(range(self.start, count if self.end is None else min(self.end, count), self.every))

    @property
    def frame_count(self) -> int | None:
        """Number of frames; `None` while the length of a stream is unknown."""
        numbers = self.numbers
        return None if numbers is None else len(numbers)

    @property
    def fps(self) -> Fraction | None:
        """Mean frames per second of the clip, exact; `None` if unknown."""
        return None if self.video.fps is None else self.video.fps / self.every

    def __iter__(self) -> Iterator[Frame]:
        """Yields the frames in order, reading straight through.

        Raises:
            VideoError: if a frame is damaged, has gone by, or a stream ends before the clip begins.
        """
        numbers = counting(self.start, self.every) if self.end is None else range(self.start, self.end, self.every)
        number = None
        for frame in self.video.frames(numbers):
            number = frame.index
            yield frame
        count = self.video.frame_count
        if number is None:
            ended = f"{self.label} ended after {counted(count or 0, 'frame')}"
            raise VideoError(f"{ended}; the clip would have started at {self.start}")
        if self.end is not None and count is not None and count < self.end:
            log.warning("%s ended after %d frames, before frame %d where the clip ends", self.label, count, self.end)

    def __reversed__(self) -> Iterator[Frame]:
        """Yields the frames from the last to the first; of a file, it reads as many forward as `Video` keeps at a time.

        Raises:
            VideoError: if a frame is damaged, or has gone by.
        """
        for number in reversed(self.numbers or ()):
            yield self.video.frame(number)

    def frame(self, index: SupportsIndex) -> Frame:
        """Returns a frame by its number in the whole video.

        Raises:
            VideoError: if the clip does not have it, or it cannot be read; see `Video.frame`.
        """
        return self.video.frame(self._chosen(index))

    def name_of(self, index: SupportsIndex) -> str:
        """Returns `Frame.name` of a frame without reading it.

        Raises:
            VideoError: if the clip does not have it.
        """
        return self.video.name_of(self._chosen(index))

    def time_of(self, index: SupportsIndex) -> Fraction:
        """Returns `Frame.time` of a frame without reading it, in seconds; see `Video.time_of`.

        Raises:
            VideoError: if the clip does not have it.
        """
        return self.video.time_of(self._chosen(index))

    def index_of_time(self, seconds: Fraction | float) -> int:
        """Returns the number of the clip's frame on screen at a time of the whole video.

        Raises:
            VideoError: if the video has no such time, or it is outside the clip.
        """
        index = self.video.index_of_time(seconds)
        if index < self.start or (self.end is not None and index >= self.end):
            raise VideoError(f"{float(seconds):g} s is frame {index} of {self.label}, outside {self._described()}")
        return index - (index - self.start) % self.every

    def fingerprint(self) -> str:
        """Returns the fingerprint of the whole video."""
        return self.video.fingerprint()

    def close(self) -> None:
        """Closes the video."""
        self.video.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Clip of {self.label}, {self._described()}>"

    def _chosen(self, index: SupportsIndex) -> int:
        """Returns a frame number, checked to be one of the clip's."""
        index = operator.index(index)
        # Of a stream, where it ends is not known; `Video` will tell.
        count = self.video.frame_count
        end = self.end if count is None else min(self.end or count, count)
        if index >= self.start and (end is None or index < end) and (index - self.start) % self.every == 0:
            return index
        step = max(0, round((index - self.start) / self.every))
        if end is not None:
            step = min(step, (end - 1 - self.start) // self.every)
        raise VideoError(
            f"frame {index} of {self.label} is not among {self._described()}; the nearest is "
            f"{self.start + step * self.every}"
        )

    def _described(self) -> str:
        """Returns which frames these are, in words."""
        count = self.video.frame_count
        end = self.end if count is None else min(self.end or count, count)
        until = "on" if end is None else f"to {end - 1}"
        return f"the frames from {self.start} {until}" + (f", one in {self.every}" if self.every > 1 else "")


def frame_number(text: str, video: Video, option: str) -> int:
    """Returns the frame that an option such as --start names, by number ("120") or time in seconds ("4.5s").

    Whether there is a frame of that number is for `Clip` to say, since a clip may end one after the last. So may a
    time be the end of the video: then the number is that of the frame after the last.

    Args:
        text: What the user wrote.
        video: The video; only asked where the text is a time.
        option: The name of the option, for messages.

    Raises:
        VideoError: if it is neither, or the video has no such time.
    """
    match = _PLACE.fullmatch(text.strip())
    if match is None:
        raise VideoError(f"{option} is '{text}'; give a frame number such as 120, or a time such as 4.5s")
    if match["frame"]:
        return int(match["frame"])
    seconds = Fraction(match["seconds"])
    count = video.frame_count
    if count is not None:
        end = video.time_of(count - 1) + 1 / (video.fps or NOMINAL_FPS)
        if abs(seconds - end) <= _TOLERANCE:
            return count
    try:
        return video.index_of_time(seconds)
    except VideoError as error:
        raise VideoError(f"{option} is '{text}' but {error}") from error
