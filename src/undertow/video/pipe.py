"""Bytes that come once, through standard input or a named pipe: as they are, or cut into raw frames."""

import logging
import re
import select
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Self

import numpy as np

from undertow.base import VideoError
from undertow.video.frames import RGB, as_rate, check_pixels

log = logging.getLogger(__name__)

# How many bytes make a pixel, and where its red, green and blue are among them.
_PIXELS = {"rgb24": (3, [0, 1, 2]), "bgr24": (3, [2, 1, 0]), "rgba": (4, [0, 1, 2]), "gray": (1, [0, 0, 0])}
_RAW = re.compile(r"(?P<width>\d{1,6})x(?P<height>\d{1,6})(:(?P<pixels>\w+))?(@(?P<rate>\S+))?")
# What an mp4 or mov may begin with, and how far into it the index may lie for it to be looked for.
_BOXES = (b"ftyp", b"wide", b"free", b"skip", b"mdat")
_FAR = 65536


class Pipe:
    """What FFmpeg gets to see of a pipe: `read`, and no way back.

    Attributes:
        label: What this is, for messages.
    """

    def __init__(self, file: Any, label: str):
        """Waits for the first bytes of anything opened for reading bytes; messages call it `label`.

        Raises:
            VideoError: if nothing comes, or an mp4 that cannot be read without going back in it.
        """
        self.label = label
        self._file = file
        # What there is, rather than what was asked for: a live picture should not wait for the next one.
        self._take = getattr(file, "read1", file.read)
        self._error: BaseException | None = None
        self._over = False
        self._head = b""
        try:
            self._fill(1)
            if not self._head:
                self.check()
                raise VideoError(f"nothing came through {label}; pipe a video in, or give a file")
        except BaseException:
            self.close()
            raise

    def check_order(self) -> None:
        """Checks that an mp4 has its index in front, reading no further than to see that.

        Raises:
            VideoError: if it comes after the pictures.
        """
        place = 0
        while place < _FAR:
            self._fill(place + 8)
            size, name = int.from_bytes(self._head[place : place + 4], "big"), self._head[place + 4 : place + 8]
            if (place == 0 and name not in _BOXES) or name in (b"", b"moov", b"moof") or (size < 8 and name != b"mdat"):
                return
            if name == b"mdat":
                raise VideoError(
                    f"{self.label} is an mp4 with its index at the end, which cannot be read from a pipe; give the "
                    "file, or write it with -movflags +faststart or as mkv"
                )
            place += size

    def read(self, size: int) -> bytes:
        """Returns up to `size` bytes, none at the end; an error ends it too and waits for `check`."""
        if self._head:
            data, self._head = self._head[:size], self._head[size:]
            return data
        # FFmpeg asks again after the end, when a terminal or an interrupted pipe would make it wait for more.
        if self._over:
            return b""
        # FFmpeg's callbacks swallow what is raised in them, Ctrl-C above all.
        try:
            while (data := self._take(size)) is None:
                select.select([self._file], [], [])
            if not isinstance(data, bytes):
                raise VideoError(f"{self.label} was opened as text; open it for reading bytes, in mode 'rb'")
        except BaseException as error:
            self._error, data = error, b""
        self._over = not data
        return data

    def exactly(self, size: int) -> bytes:
        """Returns `size` bytes, fewer only at the end."""
        parts = []
        while size > 0 and (data := self.read(size)):
            parts.append(data)
            size -= len(data)
        return b"".join(parts)

    def check(self) -> None:
        """Raises what interrupted reading, if anything did."""
        error, self._error = self._error, None
        if isinstance(error, OSError):
            raise VideoError(f"{self.label} broke off ({error.strerror}); start it again") from error
        if error is not None:
            raise error

    def close(self) -> None:
        """Closes the pipe, which tells a program that still writes into it to stop."""
        self._head = b""
        self._file.close()

    def _fill(self, size: int) -> None:
        head, self._head = self._head, b""
        self._head = head + self.exactly(size - len(head))


@dataclass(frozen=True)
class RawFormat:
    """How frames lie in raw video.

    Attributes:
        width: Pixels across.
        height: Pixels down.
        pixels: Rgb24, bgr24, rgba or gray.
        rate: Frames per second, `None` if unknown.
    """

    width: int
    height: int
    pixels: str = "rgb24"
    rate: Fraction | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Returns the format that a text such as 640x480, 640x480@30 or 640x480:bgr24@30000/1001 names.

        Raises:
            VideoError: if it names none, or one of more pixels than are read.
        """
        match = _RAW.fullmatch(text)
        if match is None:
            raise VideoError(
                f"raw video is described as '{text}'; give WIDTHxHEIGHT[:FORMAT][@RATE], such as 640x480:rgb24@30"
            )
        width, height, pixels = int(match["width"]), int(match["height"]), match["pixels"] or "rgb24"
        if pixels not in _PIXELS:
            raise VideoError(f"raw video has pixels of format '{pixels}'; give one of {', '.join(_PIXELS)}")
        if not width or not height:
            raise VideoError(f"raw video is described as '{text}', without pixels; give a width and height above 0")
        check_pixels(width, height, "a frame of the raw video")
        return cls(width, height, pixels, None if match["rate"] is None else as_rate(match["rate"]))

    def __str__(self) -> str:
        return f"{self.width}x{self.height}:{self.pixels}"

    @property
    def size(self) -> int:
        """Bytes of a frame."""
        return self.width * self.height * _PIXELS[self.pixels][0]

    def frames(self, pipe: Pipe) -> Iterator[RGB]:
        """Yields the frames of a pipe, and returns where it ends.

        Raises:
            VideoError: if it breaks off.
        """
        depth, channels = _PIXELS[self.pixels]
        while True:
            data = pipe.exactly(self.size)
            pipe.check()
            if len(data) < self.size:
                if data:
                    log.warning("%s ends within a frame, which is left out; is it %s?", pipe.label, self)
                return
            image = np.frombuffer(data, np.uint8).reshape(self.height, self.width, depth)
            yield image if self.pixels == "rgb24" else image[..., channels]
