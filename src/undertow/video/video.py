"""`Video`: one way to ask for frames, wherever they come from."""

import io
import logging
import operator
import os
import re
import stat
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from itertools import count as counting
from math import floor
from pathlib import Path
from threading import RLock
from typing import Any, Self, SupportsIndex

import numpy as np
from PIL import Image

from undertow.base import VideoError
from undertow.video.folder import IMAGE_SUFFIXES, FrameFolder
from undertow.video.frames import NOMINAL_FPS, RGB, DamagedFrame, Frame, Rate, as_rate, ranges
from undertow.video.pipe import Pipe
from undertow.video.source import Source
from undertow.video.streams import FrameArray, FrameStream, stream_of

log = logging.getLogger(__name__)

# How far, in seconds, a time may fall short of a frame's: floats cannot hold most frame times exactly.
_TOLERANCE = Fraction(1, 1_000_000)
# An address; as a `Path`, it has lost one of its two slashes.
_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/+(.*)", re.DOTALL)


class UnknownLength(VideoError, TypeError):
    """The length of a stream was asked for; a `TypeError` too, which is what lets `list(video)` work."""


class Video:
    """Frames by number, decoded on demand and cached; the whole clip is never in memory.

        Video("clip.mp4")[21]  # uint8 RGB (h, w, 3)

    Iterating yields every `Frame` from the first on and reads straight through. Rotation (display matrix, EXIF) is
    applied, alpha is dropped, grey becomes RGB, more than 8 bits are rounded to 8, odd sizes stay. Threads may share a
    video and take turns. A video that is not a stream can be pickled and used in a forked process.

    Attributes:
        height: Pixels down.
        width: Pixels across.
        again: Whether frames can be read a second time; false for generators, pipes and cameras.
        label: Name of the video in messages, such as "'clip.mp4'".
        gaps: Numbers missing in a folder of numbered frames, such as "00004" or "00007-00009".
    """

    def __init__(
        self, source: Any, *, fps: Rate | None = None, cache_frames: int = 16, skip_damaged: bool = False
    ) -> None:
        """Opens a video.

        Args:
            source: Path of a video file, an image or a folder of images; uint8 array (t, h, w, 3), (t, h, w, 4) or
                (t, h, w); list of images; or any iterable of images, which is then read once, in order. An image is a
                uint8 array or a Pillow image. An encoded video opened for reading bytes is read once too, in order,
                and closed with the video. For pipes and cameras see `open_stream`.
            fps: Shows frames evenly at this rate, for sources without times or to replace those of a file. Without
                any rate, times count 24 frames per second.
            cache_frames: How many frames are kept, at least 1.
            skip_damaged: Leaves out frames that cannot be decoded, instead of stopping there; the others keep their
                numbers. A file is decoded once beforehand to find them. Streams always go on.

        Raises:
            VideoError: if this is no video, saying what it is.
        """
        if cache_frames < 1:
            raise VideoError(f"cache_frames is {cache_frames}; keep 1 frame or more")
        self._fps = None if fps is None else as_rate(fps)
        self._source = _open(source, skip_damaged)
        self._cache: dict[int, RGB] = {}
        self._room = cache_frames
        self._fingerprint: str | None = None
        self._closed = False
        self._skip_damaged = skip_damaged
        self._damaged: set[int] | None = None
        self._lock, self._process = RLock(), os.getpid()
        self.height, self.width = self._source.height, self._source.width
        self.again, self.label, self.gaps = self._source.again, self._source.label, list(self._source.gaps)

    @property
    def fps(self) -> Fraction | None:
        """Mean frames per second, exact (30000/1001); `None` if unknown. `Frame.time` has the true times."""
        return self._fps or self._source.rate

    @property
    def frame_count(self) -> int | None:
        """Number of frames; `None` for a stream until it has ended. For a file they are counted on first use."""
        if self._closed:
            raise VideoError(f"{self.label} has been closed; open it again to read it")
        # Looking for damaged frames may tell a file's frames anew.
        self._find_damaged()
        with self._turn():
            return self._source.count

    @property
    def damaged(self) -> list[int]:
        """Numbers of the skipped frames that cannot be decoded; for a stream, of those already read."""
        return sorted(self._find_damaged())

    @property
    def numbers(self) -> Sequence[int] | None:
        """Numbers of the frames without skipped ones; `None` for a stream until it has ended."""
        count = self.frame_count
        return None if count is None else self.kept(range(count))

    def kept(self, numbers: range) -> Sequence[int]:
        """Returns the given frame numbers without skipped ones."""
        damaged = self._find_damaged()
        return [number for number in numbers if number not in damaged] if damaged else numbers

    def __len__(self) -> int:
        count = self.frame_count
        if count is None:
            raise UnknownLength(f"the length of {self.label} is not known before it has ended; iterate over it")
        return count

    def __getitem__(self, index: SupportsIndex) -> RGB:
        """Returns the image of frame `index`, a copy; see `frame`."""
        return self.frame(index).image

    def __iter__(self) -> Iterator[Frame]:
        """Yields every frame from the first on, see `frames`."""
        return self.frames(counting())

    def frames(self, numbers: Iterable[int]) -> Iterator[Frame]:
        """Yields the frames of these numbers, 0 or more, in the order given, up to the first that is past the end.

        Nothing beyond the last of them is read, so that a stream can be continued. In a stream, damaged frames
        are skipped.

        Raises:
            DamagedFrame: if a frame is damaged and such frames are not skipped.
            VideoError: if a frame of a stream is no longer available.
        """
        for index in numbers:
            if index in self._find_damaged():
                continue
            try:
                frame = self._find(index, keep=1)
            except DamagedFrame as error:
                if self.again:
                    raise
                if not self._find_damaged():
                    log.warning("%s; such frames are left out", error)
                self._find_damaged().add(index)
                continue
            if frame is None:
                if not self.again and self.damaged:
                    log.warning("%s: damaged frames were left out: %s", self.label, ranges(self.damaged))
                return
            yield frame

    def frame(self, index: SupportsIndex) -> Frame:
        """Returns frame `index`, counted from 0 in the order shown.

        Raises:
            DamagedFrame: if it is damaged.
            VideoError: if there is no such frame (negative numbers do not count from the end), or if it is a frame of
                a stream that has gone by.
        """
        index = operator.index(index)
        if index >= 0 and (frame := self._find(index)) is not None:
            return frame
        raise self._no_frame(index)

    def name_of(self, index: int) -> str:
        """Returns `Frame.name` of frame `index` without reading it.

        Raises:
            VideoError: if there is no such frame.
        """
        self._check_number(index)
        return self._source.name(index)

    def time_of(self, index: int) -> Fraction:
        """Returns `Frame.time` of frame `index` without reading it, in seconds.

        In a stream, only the last frames read have a time of their own; others are computed from the frame rate.

        Raises:
            VideoError: if there is no such frame.
        """
        self._check_number(index)
        return self._time(index)

    def index_of_time(self, seconds: Fraction | float) -> int:
        """Returns the number of the frame on screen at a time; a microsecond too early still counts.

        In a stream, the number is computed from the frame rate.

        Raises:
            VideoError: if the time is before the first frame, or a frame's duration or more after the last.
        """
        at = Fraction(seconds) + _TOLERANCE
        rate = self.fps or NOMINAL_FPS
        count = self.frame_count
        if count is None:
            if at >= 0:
                return int(at * rate)
            raise VideoError(f"there is no frame at {float(seconds):g} s; {self.label} begins at 0 s")
        if self.again:
            index = bisect_right(range(count), at, key=self._time) - 1
            begin, end = self._time(0), self._time(count - 1) + 1 / rate
        else:
            index, begin, end = floor(at * rate), Fraction(0), count / rate
        if index < 0 or at >= end + _TOLERANCE:
            raise VideoError(
                f"there is no frame at {float(seconds):g} s; "
                f"{self.label} goes from {float(begin):g} s to {float(end):g} s"
            )
        return index

    def fingerprint(self) -> str:
        """Returns the SHA-256 of the content as 64 hexadecimal digits; "stream" for a stream.

        A file is hashed by its bytes, a folder by the names and bytes of its images, an array or list by its pixels;
        the location of a file or folder does not matter.
        """
        if self._fingerprint is None:
            self._fingerprint = self._source.fingerprint()
        return self._fingerprint

    def close(self) -> None:
        """Closes the file and releases the frames; reading afterwards is an error."""
        self._closed = True
        self._cache.clear()
        self._source.close()

    def __getstate__(self) -> dict[str, Any]:
        """Returns what another process needs to open the video too; what comes once raises VideoError."""
        return vars(self) | {"_cache": {}, "_lock": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state | {"_lock": RLock(), "_process": os.getpid()})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __repr__(self) -> str:
        rate = f"{self.fps} frames per second" if self.fps else "frame rate unknown"
        return f"<Video {self.label}, {self.width}x{self.height}, {rate}>"

    def _find(self, index: int, keep: int | None = None) -> Frame | None:
        """Returns frame `index`, `None` if the video ends before it; only `keep` frames passed are of use."""
        with self._turn():
            count = self.frame_count
            if count is not None and index >= count:
                return None
            if index not in self._cache:
                for number, image in self._source.read(index, keep or self._room):
                    # The oldest goes first, so that of a stream the last frames are kept without holes.
                    self._cache.pop(number, None)
                    self._cache[number] = image
                    if len(self._cache) > self._room:
                        del self._cache[next(iter(self._cache))]
            found = self._cache.get(index)
            # A copy, so that drawing on a frame does not draw on what the next reader gets.
            return None if found is None else Frame(index, self._time(index), found.copy(), self._source.name(index))

    def _find_damaged(self) -> set[int]:
        """Returns the numbers of the frames that are left out, to be added to."""
        if self._damaged is None:
            with self._turn():
                self._damaged = set(self._source.damaged()) if self._skip_damaged else set()
            if self._damaged:
                log.warning("%s: damaged frames are left out: %s", self.label, ranges(sorted(self._damaged)))
        return self._damaged

    def _turn(self) -> RLock:
        """Returns the lock under which a thread reads; in a process forked since, the video is opened again first."""
        if self._process != os.getpid():
            # The lock may be held by a thread that does not exist here.
            self._lock = RLock()
            self._source.forked()
            self._process = os.getpid()
        return self._lock

    def _time(self, index: int) -> Fraction:
        own = self._source.time(index) if self._fps is None else None
        return index / (self.fps or NOMINAL_FPS) if own is None else own

    def _check_number(self, index: int) -> None:
        count = self.frame_count
        if index < 0 or (count is not None and index >= count):
            raise self._no_frame(index)

    def _no_frame(self, index: int) -> VideoError:
        count = self._source.count
        known = "frames are counted from 0" if count is None else f"it has {count} frames, 0 to {count - 1}"
        if count == 1:
            known = "it has 1 frame, number 0"
        return VideoError(f"{self.label} has no frame {index}; {known}")


def _open(source: Any, skip_damaged: bool) -> Source:
    """Returns the source for anything `Video` opens."""
    if isinstance(source, Source):
        return source
    if isinstance(source, str | os.PathLike):
        address = _ADDRESS.fullmatch(os.fspath(source)) if isinstance(os.fspath(source), str) else None
        if address and not Path(source).exists():
            given = source if isinstance(source, str) else f"{address[1]}://{address[2]}"
            raise VideoError(
                f"'{given}' is an address, and addresses are not opened; pipe it in, such as with "
                f"`ffmpeg -i '{given}' -c copy -f matroska - | undertow track - ...`, or save it to a file"
            )
        return _open_path(Path(source), skip_damaged)
    if isinstance(source, io.IOBase):
        return stream_of(Pipe(source, "the file"))
    if isinstance(source, np.ndarray | list | tuple):
        return FrameArray(source)
    if isinstance(source, Iterable) and not isinstance(source, bytes | Image.Image):
        return FrameStream(source)
    raise VideoError(
        f"an object of type {type(source).__name__} is not a video; give a path, an array or images one by one"
    )


def _open_path(path: Path, skip_damaged: bool) -> Source:
    """Returns the source for a file or folder."""
    try:
        mode, size = os.stat(path)[stat.ST_MODE], os.stat(path)[stat.ST_SIZE]
    except (FileNotFoundError, NotADirectoryError) as error:
        what = "is a link to a file that does not exist" if path.is_symlink() else "does not exist"
        raise VideoError(f"'{path}' {what}; give a video file or a folder of frames") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise VideoError(f"'{path}' cannot be read ({reason}); give a video file or a folder of frames") from error
    if stat.S_ISDIR(mode):
        return FrameFolder.open(path, skip_damaged=skip_damaged)
    if not stat.S_ISREG(mode):
        raise VideoError(f"'{path}' is neither a file nor a folder; give a video file or a folder of frames")
    if size == 0:
        raise VideoError(f"'{path}' is empty (0 bytes); copy or record it again")
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return FrameFolder([path], f"'{path}'")
    # Here and not above: folders and arrays can be read where PyAV is missing.
    from undertow.video.file import VideoFile

    return VideoFile(path)
