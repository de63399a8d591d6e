"""What a video is made of: the little that files, folders, arrays and streams have in common."""

from abc import ABC, abstractmethod
from fractions import Fraction

from undertow.video.frames import RGB


class Source(ABC):
    """Frames by number, from anywhere; `Video` adds the cache, the times and the checks.

    Attributes:
        label: what this is, for messages, such as "'clip.mp4'".
        height: pixels down, after rotation.
        width: pixels across, after rotation.
        rate: mean frames per second, `None` if nobody knows.
        gaps: numbers missing in a folder of numbered frames.
        again: whether it can be read a second time; streams, pipes and cameras cannot.
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
            keep: how many frames the caller has room for.

        Returns:
            (number, image) pairs in order; without `index` among them if the video turned out to end before it.
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

    def close(self) -> None:  # noqa: B027 - most sources have nothing to close
        """Lets go of open files."""
