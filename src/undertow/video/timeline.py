"""Which frames a video file has, when each is shown, and where decoding may begin: known without decoding."""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Self


@dataclass(frozen=True, order=True)
class Start:
    """A keyframe, from which on everything shown later can be decoded.

    Attributes:
        shown: its presentation time stamp, in ticks.
        sent: its decoding time stamp, in ticks.
        size: bytes of its packet, to recognise it by.
    """

    shown: int
    sent: int
    size: int


@dataclass(frozen=True)
class Timeline:
    """The frames of a file in the order shown.

    Frame counts in headers are estimates, so this is made from the packets themselves. Packets come in the order they
    are decoded, in which a frame may come before one that is shown earlier (B-frames): sorting their stamps numbers
    the frames.

    Attributes:
        stamps: presentation time stamp of each frame in ticks, strictly increasing.
        starts: keyframes in the order shown.
        tick: seconds per tick.
        timed: whether the stamps are the file's own; if not, frames are known by being counted from the beginning.
    """

    stamps: "array[int]"
    starts: tuple[Start, ...]
    tick: Fraction
    timed: bool = True

    @classmethod
    def of(cls, shown: Iterable[int], starts: Iterable[Start], tick: Fraction) -> Self:
        """Returns the timeline of packets with these stamps.

        Frames shown before the first keyframe lack what they were predicted from (the file was cut out of a longer
        one), and frames with equal stamps cannot be told apart: such frames count as absent.
        """
        ordered = tuple(sorted(starts))
        first = ordered[0].shown if ordered else None
        return cls(array("q", sorted({stamp for stamp in shown if first is None or stamp >= first})), ordered, tick)

    @classmethod
    def untimed(cls, count: int, rate: Fraction) -> Self:
        """Returns the timeline of `count` frames without time stamps, shown evenly."""
        return cls(array("q", range(count)), (), 1 / rate, timed=False)

    def __len__(self) -> int:
        return len(self.stamps)

    def time(self, index: int) -> Fraction:
        """Returns when frame `index` is shown, in seconds."""
        return self.stamps[index] * self.tick

    def number(self, stamp: int | None) -> int | None:
        """Returns which frame has exactly this stamp, `None` if no frame has."""
        if stamp is None:
            return None
        index = self.first_from(stamp)
        return index if index < len(self.stamps) and self.stamps[index] == stamp else None

    def first_from(self, stamp: int) -> int:
        """Returns the first frame that is shown at this stamp or later."""
        return bisect_left(self.stamps, stamp)

    def starts_before(self, index: int) -> tuple[Start, ...]:
        """Returns the keyframes at or before frame `index`, up to two, the nearer first."""
        after = bisect_right(self.starts, self.stamps[index], key=_shown)
        return self.starts[max(after - 2, 0) : after][::-1]

    def has_start(self, stamp: int, size: int) -> bool:
        """Returns whether a keyframe with this stamp has a packet of this size."""
        place = bisect_left(self.starts, stamp, key=_shown)
        return place < len(self.starts) and (self.starts[place].shown, self.starts[place].size) == (stamp, size)

    def cut(self, count: int) -> Self:
        """Returns the timeline of the first `count` frames."""
        return replace(self, stamps=self.stamps[:count])


def _shown(start: Start) -> int:
    return start.shown
