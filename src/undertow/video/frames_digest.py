"""`FramesDigest`: a running hash of the frames seen so far, to recognise a stream that is fed again."""

import hashlib
from typing import Self

import numpy as np

from undertow.video.frames import Frame


class FramesDigest:
    """The SHA-256 over size and RGB values of frames, in order.

    Whoever resumes work on a stream feeds the frames it had seen, and compares. It is SHA-256 because processors have
    instructions for that: a frame of 1920x1080 takes 5 ms, and 10 with BLAKE2b, the fastest of the others.

    Attributes:
        count: how many frames have been seen.
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
