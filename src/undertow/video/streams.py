"""Frames that are in memory already, or come once: arrays, lists, generators, pipes and cameras."""

import hashlib
from collections.abc import Iterable, Sequence
from fractions import Fraction
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from jaxtyping import Shaped
from PIL import Image

from undertow.base import VideoError
from undertow.video.frames import RGB, DamagedFrame, as_rgb, check_same_size
from undertow.video.pipe import Pipe, RawFormat
from undertow.video.shots import Clock, Shot, shown
from undertow.video.source import Scaling, Source

if TYPE_CHECKING:
    from undertow.video.reel import Reel


# How many times of a stream are kept; more than anybody keeps frames.
_TIMES = 4096


class FrameArray(Source):
    """The frames of an array (t, h, w, c) or a list of images; they stay where they are (a memory map is fine)."""

    def __init__(self, frames: Sequence[Any] | Shaped[np.ndarray, "t h w ..."]):
        """Takes the frames.

        Raises:
            VideoError: if there are none, or naming the frame that is no image or not as large as the first.
        """
        # Three axes of which the last is 3 long are one picture, far more likely than grey frames 3 pixels across.
        if isinstance(frames, np.ndarray) and (frames.ndim not in (3, 4) or (frames.ndim == 3 and frames.shape[2] < 5)):
            raise VideoError(f"array of shape {frames.shape} is not a video; give (t, h, w, 3) or, for grey, (t, h, w)")
        if len(frames) == 0:
            raise VideoError("the video has no frames; give at least one")
        self.label = "the array" if isinstance(frames, np.ndarray) else "the list"
        self._frames = frames
        self.height, self.width = self._image(0).shape[:2]
        for index in range(len(frames)):
            size = _size(frames[index])
            if size != (self.height, self.width):
                check_same_size(self._image(index), self.height, self.width, f"frame {index} of {self.label}")

    @property
    def count(self) -> int:
        """Number of frames."""
        return len(self._frames)

    def read(self, index: int, keep: int) -> list[tuple[int, RGB]]:
        """Returns frame `index` alone; see `Source.read`."""
        return [(index, self._image(index))]

    def fingerprint(self) -> str:
        """Returns the SHA-256 over size and RGB values of all frames; a list and an array of them have the same."""
        digest = hashlib.sha256(f"{self.width}x{self.height}".encode())
        for index in range(self.count):
            digest.update(self._image(index).tobytes())
        return digest.hexdigest()

    def _image(self, index: int) -> RGB:
        return as_rgb(self._frames[index], f"frame {index} of {self.label}")


class FrameStream(Source):
    """Frames from an iterator: each comes once, and only so many as are asked for are ever taken."""

    again = False
    empty = "ended before its first frame; give at least one"

    def __init__(self, frames: Iterable[Any], label: str = "the stream", rate: Fraction | None = None):
        """Takes the first of what becomes a frame each, which tells the size.

        Messages call the stream `label`; `rate` is frames per second, if known.

        Raises:
            VideoError: if there is none.
        """
        self.label, self.rate = label, rate
        self._frames = iter(frames)
        self._next = 0
        self._count: int | None = None
        # When the last frames were shown, for as long as they are kept.
        self._times: dict[int, Fraction] = {}
        before = []
        for first in self._frames:
            before.append(first)
            if (image := self.picture(first, f"frame 0 of {label}")) is not None:
                self.height, self.width = image.shape[:2]
                self._frames = chain(before, self._frames)
                return
        raise VideoError(f"{label} {self.empty}")

    @property
    def count(self) -> int | None:
        """Number of frames, `None` until the stream has ended."""
        return self._count

    def picture(self, frame: Any, what: str) -> RGB | None:
        """Returns what the iterator gave as RGB, `None` if it is a damaged frame.

        Raises:
            VideoError: if it is no image.
        """
        return as_rgb(frame, what)

    def moment(self, frame: Any) -> Fraction | None:
        """Returns when a frame that the iterator gave is shown, in seconds; `None` if nobody knows."""
        return None

    def time(self, index: int) -> Fraction | None:
        """Returns the time of frame `index` in seconds, if it has one and was among the last frames read."""
        return self._times.get(index)

    def read(self, index: int, keep: int) -> list[tuple[int, RGB]]:
        """Returns frame `index` and the last frames passed on the way to it; see `Source.read`.

        Raises:
            DamagedFrame: if the frame cannot be decoded.
            VideoError: if the frame has gone by, or naming a frame that is no image or not as large as the first.
        """
        if index < self._next:
            raise VideoError(
                f"frame {index} of {self.label} has gone by, {self._next} were read and the last {keep} are kept; "
                "read frames in order, raise cache_frames, or give a file instead"
            )
        read, image = [], None
        for frame in islice(self._frames, index + 1 - self._next):
            number, self._next = self._next, self._next + 1
            if (time := self.moment(frame)) is not None:
                self._times[number] = time
                self._times.pop(number - _TIMES, None)
            if index - number < keep:
                image = self.picture(frame, f"frame {number} of {self.label}")
                if image is not None:
                    # A copy, because a generator may draw every frame into the same array.
                    read.append((number, self.fit(image, number).copy()))
        if self._next > index and image is None:
            raise DamagedFrame(f"frame {index} of {self.label} is damaged")
        if self._next <= index:
            self._count = self._next
        return read

    def forked(self) -> None:
        """Raises `VideoError`: what comes once comes to one process."""
        raise VideoError(f"{self.label} comes once and cannot be read in another process; open it there")

    def __reduce__(self) -> NoReturn:
        self.forked()
        raise AssertionError

    def fingerprint(self) -> str:
        """Returns "stream": there is nothing to hash before it has gone by."""
        return "stream"


def _size(picture: Any) -> tuple[int, ...]:
    """Returns (height, width) without converting the picture."""
    return picture.size[::-1] if isinstance(picture, Image.Image) else tuple(np.shape(picture)[:2])


def stream_of(pipe: Pipe, form: RawFormat | None = None) -> FrameStream:
    """Returns the frames that come through a pipe, raw in the given format, or encoded.

    Raises:
        VideoError: if they are no video.
    """
    if form is not None:
        return RawStream(pipe, form)
    # Here and not above: raw video can be read where PyAV is missing.
    from undertow.video.container import open_pipe

    try:
        pipe.check_order()
    except BaseException:
        pipe.close()
        raise
    return EncodedStream(open_pipe(pipe))


class RawStream(FrameStream):
    """Raw frames from a pipe, in the order they come, each once."""

    empty = "ended before its first frame; check the size of the raw frames"

    def __init__(self, pipe: Pipe, form: RawFormat):
        """Reads the first frame.

        Raises:
            VideoError: if there is none.
        """
        self._pipe = pipe
        try:
            super().__init__(form.frames(pipe), pipe.label, form.rate)
        except BaseException:
            pipe.close()
            raise

    def close(self) -> None:
        """Closes the pipe."""
        self._frames = iter(())
        self._pipe.close()


class EncodedStream(Scaling, FrameStream):
    """The frames of a reel in the order they come, each once.

    They are those that the same bytes give as a file, with the same numbers and times. But a file is known to its end
    before work begins, so that a damaged frame stops it; of a stream such frames are left out, with a warning, and
    whoever follows a camera goes on.
    """

    empty = "holds no frame that can be decoded; check where it comes from"

    def __init__(self, reel: "Reel", *, camera: bool = False):
        """Decodes the first frame, which tells the size; the reel is closed with the stream.

        The frames of a `camera` are made as they are asked for: from the first on, which is shown at 0.

        Raises:
            VideoError: if nothing can be decoded.
        """
        self._reel = reel
        self._clock = Clock(reel, from_zero=camera)
        try:
            super().__init__(shown(reel, reel.packets(), self._clock), reel.label, reel.rate)
        except BaseException:
            self.close()
            raise

    def picture(self, frame: Shot, what: str) -> RGB | None:
        """Returns a decoded frame as RGB, `None` if it is damaged."""
        return None if frame.picture is None else self._reel.image(frame.picture)

    def moment(self, frame: Shot) -> Fraction:
        """Returns when a decoded frame is shown."""
        return frame.stamp * self._clock.unit

    def close(self) -> None:
        """Closes the pipe or camera."""
        self._frames = iter(())
        self._reel.close()
