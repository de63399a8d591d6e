"""What a video is made of: the little that files, folders, arrays and streams have in common."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from PIL import Image

from undertow.video.frames import RGB, check_same_size

log = logging.getLogger(__name__)


class Source(ABC):
    """Frames by number, from anywhere; `Video` adds the cache, the times and the checks.

    Attributes:
        label: Name of the video in messages, such as "'clip.mp4'".
        height: Pixels down, after rotation.
        width: Pixels across, after rotation.
        rate: Mean frames per second, `None` if nobody knows.
        gaps: Numbers missing in a folder of numbered frames.
        again: Whether it can be read a second time; streams, pipes and cameras cannot.
    """

    label: str
    height: int
    width: int
    rate: Fraction | None = None
    gaps: tuple[str, ...] = ()
    again: bool = True

    @property
    @abstractmethod
    def count(self) -> int | None:
        """Number of frames, `None` as long as it is unknown."""

    @abstractmethod
    def read(self, index: int, keep: int) -> list[tuple[int, RGB]]:
        """Returns frame `index`, after up to `keep - 1` frames just before it if these were passed on the way.

        Args:
            index: 0 or more, and less than `count` if that is known.
            keep: How many frames the caller has room for.

        Returns:
            (number, image) pairs in order; without `index` among them if the video turned out to end before it.

        Raises:
            DamagedFrame: if there is such a frame and it cannot be decoded.
        """

    @abstractmethod
    def fingerprint(self) -> str:
        """Returns the SHA-256 of the content as 64 hexadecimal digits, or "stream" where there is nothing to hash."""

    def time(self, index: int) -> Fraction | None:
        """Returns the exact time of frame `index` in seconds, `None` if the source has no times."""
        return None

    def name(self, index: int) -> str:
        """Returns the name of files made from frame `index`, without suffix."""
        return f"{index:05d}"

    def damaged(self) -> Sequence[int]:
        """Returns the numbers of all frames that cannot be decoded, which may take as long as reading them."""
        return ()

    def fit(self, image: RGB, number: int) -> RGB:
        """Returns a frame if it has the size of the first.

        Raises:
            VideoError: if it has another size.
        """
        check_same_size(image, self.height, self.width, f"frame {number} of {self.label}")
        return image

    def forked(self) -> None:  # noqa: B027 - most sources hold nothing but memory
        """Lets go of what the process that was forked to become this one had opened.

        Raises:
            VideoError: if there is no other way to the frames.
        """

    def close(self) -> None:  # noqa: B027 - most sources have nothing to close
        """Lets go of open files."""


class Scaling:
    """A source whose frames are scaled to the size of the first where a recording changes its resolution midway."""

    label: str
    height: int
    width: int
    _scaled = False

    def fit(self, image: RGB, number: int) -> RGB:
        """Returns a frame at the size of the first; the first one that is scaled is logged."""
        if image.shape[:2] == (self.height, self.width):
            return image
        size = f"{self.width}x{self.height}"
        if not self._scaled:
            found = f"{image.shape[1]}x{image.shape[0]}"
            log.warning(
                "frame %d of %s is %s but the first is %s; frames of another size are scaled to %s",
                number, self.label, found, size, size,
            )  # fmt: skip
        self._scaled = True
        return np.asarray(Image.fromarray(image).resize((self.width, self.height), Image.Resampling.BILINEAR))
