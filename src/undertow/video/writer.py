"""`VideoWriter`: pictures into an mp4 that browsers play, at a constant rate or at times of their own."""

from collections.abc import Iterable
from contextlib import ExitStack
from fractions import Fraction
from itertools import chain
from math import lcm
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from undertow.base import VideoError, atomic_path
from undertow.video.frames import Frame, Rate, as_rate, as_rgb

if TYPE_CHECKING:
    from undertow.video.container import H264File

SUFFIXES = (".mp4", ".m4v", ".mov")
# Pixels on a side that x264 takes.
_WIDEST = 16384
# Ticks per second that hold, exactly, times of 24, 25, 30, 50 and 60 frames per second, of their NTSC relatives, of
# milliseconds (webm, mkv), centiseconds (gif), 1/90000 s (mpeg-ts) and the 1/10240, 1/12800 and 1/15360 s of most mp4.
_FINE = 5_760_000
# mp4 stores ticks per second in 32 bits, and some players read them as signed.
_MOST = 2**31 - 1


class VideoWriter:
    """Writes H.264 (yuv420p, BT.709, faststart) to an mp4 or mov file that appears, whole, when the writer is closed.

        with VideoWriter("out.mp4", fps=24, width=480, height=270) as writer:
            writer.write(image)  # uint8 (270, 480, 3)

    Used as a context manager, it leaves no file (and an older one untouched) if the block fails. Odd sizes are made
    even by repeating the last row or column, since yuv420p stores colour for pairs of them.
    """

    def __init__(self, path: Path | str, *, fps: Rate, width: int, height: int):
        """Prepares to write.

        Args:
            path: The file, ending in .mp4, .m4v or .mov; missing folders are made.
            fps: Frames per second; with times given to `write`, only how long the last frame is shown.
            width: Pixels across of every frame.
            height: Pixels down of every frame.

        Raises:
            VideoError: if the file cannot be written as asked.
        """
        self._path = Path(path)
        if self._path.suffix.lower() not in SUFFIXES:
            raise VideoError(f"'{path}' does not end in {', '.join(SUFFIXES)}; name the video so")
        if self._path.is_dir():
            raise VideoError(f"'{path}' is a folder; name a file to write the video to")
        if not (1 <= width <= _WIDEST and 1 <= height <= _WIDEST):
            raise VideoError(f"a video of {width}x{height} pixels cannot be written; give 1 to {_WIDEST}")
        self._rate, self._width, self._height = as_rate(fps), width, height
        self._file: H264File | None = None
        self._stack = ExitStack()
        self._closed = False
        self._count = 0
        self._origin: Fraction | None = None
        self._tick = Fraction(1)
        self._stamp = -1

    def write(self, image: Any, time: Fraction | None = None) -> None:
        """Adds a frame.

        Args:
            image: uint8 RGB (h, w, 3), or any picture `Video` takes, of the writer's size.
            time: Time of the frame in seconds; either all frames have times or none. Only differences count: the
                first frame is shown at 0. They are kept to a fifth of a microsecond, and exactly for usual rates.

        Raises:
            VideoError: if the image has another size, the time does not increase, or the file cannot be written.
        """
        what = f"frame {self._count} for '{self._path}'"
        if self._closed:
            raise VideoError(f"{what} comes too late, the file is finished; open a new writer")
        pixels = as_rgb(image, what)
        if pixels.shape[:2] != (self._height, self._width):
            found = f"{pixels.shape[1]}x{pixels.shape[0]}"
            raise VideoError(f"{what} is {found} but the video is {self._width}x{self._height}; resize it first")
        if self._file is None:
            self._file = self._start(time)
        stamp = self._stamp_of(time, what)
        self._file.write(np.pad(pixels, ((0, self._height % 2), (0, self._width % 2), (0, 0)), mode="edge"), stamp)
        self._count, self._stamp = self._count + 1, stamp

    def close(self) -> None:
        """Finishes the file and puts it in place; closing again does nothing.

        Raises:
            VideoError: if no frame was written.
        """
        if self._closed:
            return
        self._closed = True
        if self._file is None:
            raise VideoError(f"no frame was written to '{self._path}'; a video needs at least one")
        with self._stack:
            self._file.close(finish=True)

    def discard(self) -> None:
        """Abandons the file without writing it (an older one stays); after `close` this does nothing."""
        if self._closed:
            return
        self._closed = True
        if self._file is not None:
            self._stack.callback(self._file.close, finish=False)
        abandoned = VideoError(f"'{self._path}' was given up")
        self._stack.__exit__(VideoError, abandoned, None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()

    def _start(self, time: Fraction | None) -> "H264File":
        """Opens the file; the first frame tells whether frames have times, and so how finely they are counted."""
        # Here and not above: most of undertow works where PyAV is missing.
        from undertow.video.container import H264File

        self._origin = time
        fine = lcm(_FINE, self._rate.numerator)
        self._tick = 1 / self._rate if time is None else Fraction(1, fine if fine <= _MOST else _FINE)
        try:
            temporary = self._stack.enter_context(atomic_path(self._path))
            return H264File(temporary, _even(self._width), _even(self._height), self._rate, self._tick)
        except OSError as error:
            raise VideoError(f"'{self._path}' cannot be written ({error.strerror}); choose another place") from error

    def _stamp_of(self, time: Fraction | None, what: str) -> int:
        """Returns when a frame is shown, in ticks."""
        if (time is None) != (self._origin is None):
            raise VideoError(f"{what} has {'no' if time is None else 'a'} time unlike the first; give all frames one")
        if time is None or self._origin is None:
            return self._count
        stamp = round((Fraction(time) - self._origin) / self._tick)
        if stamp <= self._stamp:
            raise VideoError(f"{what} is at {float(time):g} s, not after the frame before it; write frames in order")
        return stamp


def write_video(path: Path | str, frames: Iterable[Any], fps: Rate) -> None:
    """Writes pictures, or `Frame`s at the times they have, to an mp4 or mov file; see `VideoWriter`.

    Args:
        path: The file.
        frames: Pictures of one size, or `Frame`s, such as a `Video`; one is in memory at a time.
        fps: Frames per second of pictures.

    Raises:
        VideoError: if there are no frames, or one cannot be written.
    """
    frames = iter(frames)
    for first in frames:
        image = first.image if isinstance(first, Frame) else as_rgb(first, f"frame 0 for '{path}'")
        with VideoWriter(path, fps=fps, width=image.shape[1], height=image.shape[0]) as writer:
            for frame in chain([first], frames):
                if isinstance(frame, Frame):
                    writer.write(frame.image, frame.time)
                else:
                    writer.write(frame)
        return
    raise VideoError(f"there is no frame to write to '{path}'; a video needs at least one")


def _even(size: int) -> int:
    return size + size % 2
