"""What a frame is, how any picture becomes one (uint8 RGB, (h, w, 3)), and a running hash of frames."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import islice
from typing import Any, Self, TypeAlias

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from undertow.base import VideoError

RGB: TypeAlias = UInt8[np.ndarray, "h w 3"]
Rate: TypeAlias = Fraction | int | float | str

# Frames that come without times are given some at this rate, that of cinema.
NOMINAL_FPS = Fraction(24)
# A frame may have as many pixels as Pillow reads without complaint; 12K video has 85 million.
MOST_PIXELS = 89_478_485


class DamagedFrame(VideoError):
    """A frame has its place in a video but cannot be decoded."""


@dataclass(frozen=True, eq=False)
class Frame:
    """One frame of a video.

    Attributes:
        index: 0-based number in the order shown.
        time: Exact presentation time in seconds.
        image: uint8 RGB (h, w, 3), the caller's own copy.
        name: Stem of files made from this frame: the source's stem for frame folders, else the index as 00000.
    """

    index: int
    time: Fraction
    image: RGB = field(repr=False)
    name: str


def batches(frames: Iterable[Frame], size: int) -> Iterator[list[Frame]]:
    """Yields frames so many at a time; if their source fails, what it gave before comes first."""
    frames, failure = iter(frames), None
    while failure is None:
        batch = list[Frame]()
        try:
            for frame in islice(frames, size):
                batch.append(frame)
        except Exception as error:
            failure = error
        if batch:
            yield batch
        elif failure is None:
            return
    raise failure


def as_rate(fps: Rate) -> Fraction:
    """Returns a frame rate as the nearest fraction with a denominator up to 100000.

    So 29.97 is 2997/100, and 30000 / 1001 computed as a float is 30000/1001 again.

    Raises:
        VideoError: if it is not a positive number.
    """
    try:
        rate = Fraction(fps).limit_denominator(100_000)
    except (TypeError, ValueError, OverflowError, ZeroDivisionError) as error:
        raise VideoError(f"frame rate '{fps}' is not a number; give one such as 25 or 30000/1001") from error
    if rate <= 0:
        raise VideoError(f"frame rate {fps} is not positive; give one such as 25 or 30000/1001")
    return rate


def as_rgb(picture: Any, what: str) -> RGB:
    """Returns a picture as uint8 RGB (h, w, 3), sharing memory with it where nothing had to change.

    Grey becomes three equal channels. Alpha is dropped and colours are left as stored, because compositing would have
    to invent a background, and colours (which are straight, not premultiplied, in PNG and WebM) are what was painted.

    Args:
        picture: Array (h, w), (h, w, 1), (h, w, 3) or (h, w, 4) of uint8, or a Pillow image.
        what: What the picture is, for messages, such as "frame 3".

    Raises:
        VideoError: if it is something else.
    """
    if isinstance(picture, Image.Image):
        return _pillow_rgb(picture, what)
    try:
        pixels = np.asarray(picture)
    except (TypeError, ValueError, RuntimeError) as error:
        raise VideoError(f"{what} is a {type(picture).__name__}; give a uint8 array (h, w, 3)") from error
    if pixels.dtype != np.uint8:
        raise VideoError(f"{what} has values of type {pixels.dtype}; give uint8, 0 to 255")
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 3, 4) or 0 in pixels.shape:
        raise VideoError(f"{what} has shape {np.shape(picture)}; give (h, w, 3), (h, w, 4) or (h, w)")
    return np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels[..., :3]


def ranges(numbers: Iterable[int]) -> str:
    """Returns ascending numbers as text such as "3, 7-9"."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][-1] + 1:
            parts[-1][1:] = [number]
        else:
            parts.append([number])
    return ", ".join("-".join(map(str, part)) for part in parts)


def check_same_size(image: RGB, height: int, width: int, what: str) -> None:
    """Checks that a frame is as large as the first of its video.

    Raises:
        VideoError: naming the frame and both sizes, if not.
    """
    if image.shape[:2] != (height, width):
        found = f"{image.shape[1]}x{image.shape[0]}"
        raise VideoError(
            f"{what} is {found} but the first frame is {width}x{height}; make all frames of a video one size"
        )


def check_pixels(width: int, height: int, what: str) -> None:
    """Checks that a picture may be decoded: a small file can claim more pixels than fit in memory.

    Raises:
        VideoError: naming the picture and its size, if it has more than `MOST_PIXELS`.
    """
    if width * height > MOST_PIXELS:
        raise VideoError(
            f"{what} has {width}x{height} pixels, more than the {MOST_PIXELS // 10**6} million that are read; make it "
            "smaller"
        )


def _pillow_rgb(picture: Image.Image, what: str) -> RGB:
    """Returns a Pillow image as RGB; 16-bit grey is scaled to 8 bits, which Pillow's own conversion would clip."""
    if picture.mode.startswith("I;16") or picture.mode == "I":
        wide = np.asarray(picture)
        if wide.min() < 0 or wide.max() > 65535:
            raise VideoError(f"{what} has values from {wide.min()} to {wide.max()}; save it with 8 or 16 bits")
        return as_rgb((wide.astype(np.float32) / 257 + 0.5).astype(np.uint8), what)
    if picture.mode == "F":
        raise VideoError(f"{what} has floating-point pixels; save it with 8 or 16 bits")
    return np.asarray(picture.convert("RGB"))


class FramesDigest:
    """The SHA-256 over size and RGB values of frames, in order.

    Whoever resumes work on a stream feeds the frames it had seen, and compares. It is SHA-256 because processors have
    instructions for that: a frame of 1920x1080 takes 5 ms, and 10 with BLAKE2b, the fastest of the others.

    Attributes:
        count: How many frames have been seen.
    """

    def __init__(self) -> None:
        """Starts with no frame."""
        self.count = 0
        self._hash = hashlib.sha256()

    def update(self, frame: Frame) -> None:
        """Adds a frame; what it shows counts, not its number, time or name."""
        height, width = frame.image.shape[:2]
        # With its size: the same bytes in other rows are another picture.
        self._hash.update(f"{width}x{height}".encode())
        self._hash.update(np.ascontiguousarray(frame.image).data)
        self.count += 1

    def hexdigest(self) -> str:
        """Returns the digest of the frames so far as 64 hexadecimal digits; more can be added afterwards."""
        return self._hash.hexdigest()

    def copy(self) -> Self:
        """Returns a digest that goes on from here on its own."""
        other = type(self)()
        other.count, other._hash = self.count, self._hash.copy()
        return other
