"""What plays: the frames of a reel in the order decoded, which numbers them, with times that always increase."""

import logging
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from undertow.video.frames import NOMINAL_FPS

if TYPE_CHECKING:
    from undertow.video.reel import Part, Picture, Reel

log = logging.getLogger(__name__)

# Parts that a tick of the time stamps is divided into, for frames that share one.
_PARTS = 1024
# Stamps beyond this many ticks are damage.
_FARTHEST = 1 << 50
# How many packets later than its own a frame may come out of a decoder: two fields of 16 pictures, and then some.
_DELAY = 64


class Shot(NamedTuple):
    """A frame in the place where it is shown.

    Attributes:
        packet: Number of the packet that it comes from, -1 if unknown.
        stamp: When it is shown, in units of the clock.
        picture: The decoded frame, `None` if it cannot be decoded.
    """

    packet: int
    stamp: int
    picture: "Picture | None"


class Clock:
    """When frames are shown: as their packets say, or put in order where these repeat, run backwards or say nothing.

    Stamps of packets that fall back (recordings joined together) go on where the part before ended. Frames that share
    a stamp are shown one after the other, close enough to be over before the next.

    Attributes:
        unit: Seconds per unit of the stamps.
    """

    def __init__(self, reel: "Reel", *, from_zero: bool = False):
        """Prepares for the packets of a reel; with `from_zero`, the first is shown at 0."""
        rate = reel.rate or NOMINAL_FPS
        self.unit = reel.tick / _PARTS if reel.timed else 1 / rate
        self._label, self._timed, self._from_zero = reel.label, reel.timed, from_zero
        self._step = max(1, round(1 / (rate * self.unit)))
        self._least = self._step if reel.rate else _PARTS // 2
        self._second = round(1 / self.unit)
        self._shift = 0
        # When the last packet was to be decoded, and when the next is due.
        self._sent, self._due = -_FARTHEST * _PARTS, 0
        self._waiting: dict[int, int | None] = {}
        self._first = self._last = self._highest = 0
        self._count = 0
        self._said = False

    def take(self, number: int, packet: "Part") -> None:
        """Notes when the frame of a packet is to be shown."""
        stamp, sent = self._parts(packet.pts), self._parts(packet.dts)
        if self._from_zero and stamp is not None:
            self._shift, self._from_zero = -stamp, False
        if sent is not None:
            # A join begins with a keyframe; elsewhere clocks are a little off now and then.
            if self._sent - sent - self._shift > (0 if packet.is_keyframe else self._second):
                self._shift = self._due - sent
                self._complain()
            self._sent = sent + self._shift
            self._due = self._sent + (packet.duration * _PARTS if packet.duration else self._step)
        self._waiting[number] = None if stamp is None else stamp + self._shift
        self._waiting.pop(number - 4 * _DELAY, None)

    def waiting(self, number: int) -> bool:
        """Returns whether a packet was taken whose frame has not been shown."""
        return number in self._waiting

    def before(self, number: int, other: int) -> bool:
        """Returns whether the frame of a packet is shown before that of another, as far as their stamps tell."""
        if other - number > _DELAY:
            return True
        stamp, stamp_of_other = self._waiting.get(number), self._waiting.get(other)
        return number < other and (stamp is None or stamp_of_other is None or stamp <= stamp_of_other)

    def show(self, number: int) -> int:
        """Returns when the frame of a packet is shown: later than all that were shown so far."""
        stamp = self._waiting.pop(number, None)
        if not self._count:
            self._first = self._last = self._highest = stamp or 0
        elif stamp is not None and stamp > self._last:
            self._last = stamp
        elif stamp is None:
            self._last += self._step
        else:
            mean = (self._highest - self._first) // max(1, self._count - 1)
            self._last += max(1, min(mean // 2, self._step) if mean else self._least)
            self._complain()
        self._highest = max(self._highest, self._first if stamp is None else stamp)
        self._count += 1
        return self._last

    def _parts(self, stamp: int | None) -> int | None:
        return stamp * _PARTS if self._timed and stamp is not None and abs(stamp) < _FARTHEST else None

    def _complain(self) -> None:
        if not self._said:
            log.warning(
                "%s has times that repeat or run backwards; its frames are counted as they are decoded, and their "
                "times made to go on",
                self._label,
            )
        self._said = True


def shown(reel: "Reel", packets: Iterable["Part"], clock: Clock) -> Iterator[Shot]:
    """Yields the frames of a reel in the order decoded: a frame's place in it is its number.

    A frame that cannot be decoded keeps its place among those after the first keyframe; at the end it has none. A last
    packet that the file ends within shows nothing. The clock is fresh, and packets come from the first on.
    """
    lost: list[int] = []
    begun = False

    def taken() -> Iterator[tuple[int, "Part"]]:
        nonlocal begun
        torn = None
        for number, packet in enumerate(packets):
            if torn is not None:
                yield torn
            begun = begun or packet.is_keyframe
            if reel.visible(packet):
                clock.take(number, packet)
            # Whether it matters is only known when the next one comes.
            torn = (number, packet) if reel.torn(packet) else None
            if torn is None:
                yield number, packet
        if torn is not None or reel.falls_short():
            log.warning("%s seems to be cut short; going on with the frames it had", reel.label)

    for number, picture in reel.decode(taken()):
        if picture is None:
            # Of a picture in two packets, the other may do.
            if begun and clock.waiting(number) and not reel.fielded:
                lost.append(number)
            continue
        # Some decoders complain and make a picture all the same.
        if number in lost:
            lost.remove(number)
        while lost and clock.before(lost[0], number):
            hole = lost.pop(0)
            yield Shot(hole, clock.show(hole), None)
        yield Shot(number, clock.show(number), picture)
    if lost:
        log.warning("%s ends early: its last %d frames cannot be decoded", reel.label, len(lost))
