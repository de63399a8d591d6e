"""Which frames a video file has, when each is shown, and where decoding may begin."""

import logging
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple, Self

import numpy as np
from jaxtyping import Int64

from undertow.video.shots import Clock, shown

if TYPE_CHECKING:
    from undertow.video.reel import Part, Reel

log = logging.getLogger(__name__)

# Stands for a time stamp that is not there, or not shown.
NONE = -(1 << 62)
# By which of its columns a start is recognised.
_MARKS = [1, 3, 4]


class Start(NamedTuple):
    """A keyframe, from which on everything shown later can be decoded.

    Attributes:
        packet: Number of its packet.
        shown: Its presentation time stamp, in ticks.
        sent: Its decoding time stamp, in ticks.
        size: Bytes of its packet.
        offset: Where the packet lies in the file, -1 if unknown.
        first: Number of the first frame that comes out whole from there on.
    """

    packet: int
    shown: int
    sent: int
    size: int
    offset: int
    first: int


@dataclass(frozen=True, eq=False)
class Timeline:
    """The frames of a file in the order shown.

    Frame counts in headers are estimates, so this is made from the packets themselves, and frames are known by the
    packets that they come from.

    Attributes:
        numbers: Number of the frame that each packet shows, -1 for none; empty if that is unknown, so that frames have
            to be counted from the beginning of the file.
        stamps: When each frame is shown, in units, strictly increasing.
        unit: Seconds per unit.
        starts: Keyframes as rows of a `Start`, `packet` and `first` both increasing.
        decoded: Whether it was made by decoding, which is always right, or from the packets alone.
        damaged: Numbers of frames that cannot be decoded, as far as known.
    """

    numbers: Int64[np.ndarray, " packets"]
    stamps: Int64[np.ndarray, " frames"]
    unit: Fraction
    starts: Int64[np.ndarray, "starts 6"]
    decoded: bool = False
    damaged: frozenset[int] = frozenset()

    def __len__(self) -> int:
        return len(self.stamps)

    def time(self, index: int) -> Fraction:
        """Returns when frame `index` is shown, in seconds."""
        return int(self.stamps[index]) * self.unit

    def number(self, packet: int) -> int:
        """Returns which frame a packet shows, -1 for none."""
        return int(self.numbers[packet]) if 0 <= packet < len(self.numbers) else -1

    def starts_before(self, index: int) -> tuple[Start, ...]:
        """Returns the keyframes at or before frame `index`, up to two, the nearer first."""
        after = int(np.searchsorted(self.starts[:, -1], index, "right"))
        return tuple(Start(*row) for row in self.starts[max(after - 2, 0) : after][::-1].tolist())

    def start_of(self, packet: "Part") -> Start | None:
        """Returns which keyframe a packet is; `None` if it is none, or might be one of several."""
        found = np.flatnonzero((self.starts[:, _MARKS] == np.array(_row(0, packet))[_MARKS]).all(1))
        return Start(*self.starts[found[0]].tolist()) if len(found) == 1 else None

    def has_start(self, number: int, packet: "Part") -> bool:
        """Returns whether a packet has this number, as far as it is known as a keyframe."""
        place = int(np.searchsorted(self.starts[:, 0], number))
        row = self.starts[place].tolist() if place < len(self.starts) else None
        return row is None or row[0] != number or [row[at] for at in _MARKS] == [_row(0, packet)[at] for at in _MARKS]

    def cut(self, count: int) -> Self:
        """Returns the timeline of the first `count` frames."""
        return replace(
            self,
            numbers=np.where(self.numbers < count, self.numbers, -1),
            stamps=self.stamps[:count],
            damaged=frozenset(number for number in self.damaged if number < count),
        )


def by_packets(reel: "Reel", *, interlaced: bool) -> Timeline | None:
    """Returns the timeline of a file by reading all its packets, without decoding any.

    Packets come in the order they are decoded, in which a frame may come before one that is shown earlier (B-frames):
    sorting their time stamps numbers the frames. That is right as long as every packet is a frame with a stamp of its
    own, and decoding begins with a keyframe that is shown first. The reel is fresh. `interlaced` frames may come as two
    packets, one for each field.

    Returns:
        The timeline, `None` if it cannot be relied on without decoding.
    """
    stamps, starts = array("q"), array("q")
    sent, torn = NONE, False
    for number, packet in enumerate(reel.packets()):
        if packet.is_keyframe:
            starts.extend(_row(number, packet))
        backwards = packet.dts is not None and packet.dts <= sent
        if torn or packet.pts is None or backwards or not starts or not reel.timed:
            return None
        if interlaced and reel.is_field(packet):
            return None
        sent = sent if packet.dts is None else packet.dts
        visible = reel.visible(packet)
        stamps.append(packet.pts if visible else NONE)
        # The file may end within the last packet.
        torn = visible and reel.torn(packet)
    if torn:
        stamps[-1] = NONE
    every = np.array(stamps, np.int64)
    packets = np.flatnonzero(every != NONE)
    order = np.argsort(every[packets], kind="stable")
    ordered = every[packets][order]
    # Where stamps are in the order of the packets and frames are not, they are those of decoding.
    unmoved = len(order) > 1 and reel.reorders and bool((np.diff(order) > 0).all())
    if not len(ordered) or unmoved or ordered[0] < starts[1] or (np.diff(ordered) == 0).any():
        return None
    if torn or reel.falls_short():
        log.warning("%s seems to be cut short; going on with the %d frames it has", reel.label, len(ordered))
    numbers = np.full(len(every), -1)
    numbers[packets[order]] = np.arange(len(order))
    rows = _rows(starts)
    rows[:, -1] = np.searchsorted(ordered, rows[:, 1])
    return Timeline(numbers, ordered, reel.tick, _increasing(rows))


def by_decoding(reel: "Reel") -> Timeline:
    """Returns the timeline of a file by decoding all of it, with a fresh reel; frames are in the order decoded."""
    clock, starts, total = Clock(reel), array("q"), 0
    packets, stamps, damaged = array("q"), array("q"), set[int]()

    def noted() -> Iterator["Part"]:
        nonlocal total
        for packet in reel.packets():
            if packet.is_keyframe:
                starts.extend(_row(total, packet))
            total += 1
            yield packet

    for shot in shown(reel, noted(), clock):
        if shot.picture is None:
            damaged.add(len(packets))
        packets.append(shot.packet)
        stamps.append(shot.stamp)
    places, times, rows = np.array(packets, np.int64), np.array(stamps, np.int64), _rows(starts)
    if len(np.unique(places[places >= 0])) < len(places):
        # A packet with several frames, or a frame without a packet: none can be distinguished.
        whole = np.delete(times, sorted(damaged))
        return Timeline(np.empty(0, np.int64), whole, clock.unit, rows[:0], decoded=True)
    numbers = np.full(total, -1)
    numbers[places] = np.arange(len(places))
    rows[:, -1] = numbers[rows[:, 0]]
    rows = _increasing(rows[rows[:, -1] >= 0])
    return Timeline(numbers, times, clock.unit, rows, decoded=True, damaged=frozenset(damaged))


def _row(number: int, packet: "Part") -> list[int]:
    """Returns the columns of a `Start`, of which the last is still unknown."""
    shown = NONE if packet.pts is None else packet.pts
    offset = -1 if packet.pos is None else packet.pos
    return [number, shown, shown if packet.dts is None else packet.dts, packet.size, offset, 0]


def _rows(starts: "array[int]") -> Int64[np.ndarray, "starts 6"]:
    return np.array(starts, np.int64).reshape(-1, len(Start._fields))


def _increasing(rows: Int64[np.ndarray, "starts 6"]) -> Int64[np.ndarray, "starts 6"]:
    """Returns the starts without those that are shown before an earlier one."""
    before = np.maximum.accumulate(np.append(-1, rows[:-1, -1]))[: len(rows)]
    increasing: Int64[np.ndarray, "starts 6"] = rows[rows[:, -1] >= before]
    return increasing
