"""`VideoFile`: exact frames out of a video file, in whatever order they are asked for."""

import hashlib
import logging
from collections.abc import Iterator, Sequence
from contextlib import closing
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any

from undertow.base import VideoError
from undertow.video.container import open_file
from undertow.video.frames import RGB, DamagedFrame
from undertow.video.reel import Part, Picture
from undertow.video.source import Scaling, Source
from undertow.video.timeline import NONE, Start, Timeline, by_decoding, by_packets

log = logging.getLogger(__name__)

# Up to this many frames that nobody wants are decoded rather than jumped over.
_WORTH_A_SEEK = 16


class _Misled(Exception):
    """Frames do not come in the order that the packets promised."""


class VideoFile(Scaling, Source):
    """The frames of a video file by number, each exactly the one that playing from the start would show.

    A frame's number is its place among those that decoding the whole file gives. The first use of a number reads
    through the file once for its packets, which tell the order of the frames without decoding; where they cannot
    (time stamps that repeat or run backwards, fields as packets of their own), or turn out to have misled, the file is
    decoded once instead. Then frames that follow one another are decoded in one go; any other is found by going to
    the keyframe at or before it and decoding on. Should a container lead elsewhere, an earlier keyframe is tried, and
    in the end the beginning of the file.

    Colours follow the file's tags, and BT.601 without tags, as in FFmpeg. More than 8 bits are rounded to 8. Pixels
    that are not square stay as stored.

    Attributes:
        seeks: How many times reading jumped; 0 after reading from start to end.
    """

    def __init__(self, path: Path):
        """Opens a file and decodes its first frame, which tells the size after rotation.

        Raises:
            VideoError: if the file is not a video or nothing in it can be decoded.
        """
        self.label = f"'{path}'"
        self.seeks = 0
        self._path = path
        self._timeline: Timeline | None = None
        # Numbers of frames that did not come out of the decoder.
        self._failed: set[int] = set()
        self._frames: Iterator[tuple[int, Picture | None]]
        self._begin = self._next = 0
        self._broken = False
        self._reel = open_file(path)
        self.rate = self._reel.rate
        self._play(enumerate(self._reel.packets()), 0)
        tried = []
        try:
            for number, picture in self._frames:
                tried.append((number, picture))
                if picture is not None:
                    self.height, self.width = self._reel.image(picture).shape[:2]
                    break
            else:
                raise VideoError(f"{self.label} holds no frame that can be decoded; check the file or convert it again")
        except VideoError:
            self.close()
            raise
        self._interlaced = self._reel.fielded
        self._frames = chain(tried, self._frames)

    @property
    def count(self) -> int:
        """Number of frames, counted on first use."""
        return len(self._index())

    def time(self, index: int) -> Fraction:
        """Returns the exact presentation time of frame `index` in seconds, as stored: it may start off zero."""
        return self._index().time(index)

    def read(self, index: int, keep: int) -> list[tuple[int, RGB]]:
        """Returns frame `index`, after a jump together with up to `keep - 1` frames before it; see `Source.read`.

        Raises:
            DamagedFrame: if the frame cannot be decoded.
        """
        while True:
            try:
                return self._find(index, keep)
            except _Misled:
                self._use(_decoded(self._path))

    def damaged(self) -> Sequence[int]:
        """Returns the numbers of all frames that cannot be decoded, found by decoding the file."""
        if not self._index().decoded:
            self._use(_decoded(self._path))
        return sorted(self._index().damaged)

    def fingerprint(self) -> str:
        """Returns the SHA-256 of the file's bytes.

        Raises:
            VideoError: if the file can no longer be read.
        """
        try:
            with self._path.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise VideoError(f"{self.label} can no longer be read ({error.strerror}); put it back") from error

    def forked(self) -> None:
        """Opens the file again: the decoder's threads, and the place in the file, belong to the other process."""
        self._rewind()

    def close(self) -> None:
        """Closes the file."""
        self._frames = iter(())
        self._reel.close()

    def __getstate__(self) -> dict[str, Any]:
        """Returns what another process needs to open the file too, with its frames counted already."""
        return {name: value for name, value in vars(self).items() if name not in ("_reel", "_frames")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._open()

    def _index(self) -> Timeline:
        if self._timeline is None:
            with closing(open_file(self._path)) as reel:
                self._timeline = by_packets(reel, interlaced=self._interlaced)
        if self._timeline is None:
            self._timeline = _decoded(self._path)
            self._failed = set(self._timeline.damaged)
        return self._timeline

    def _use(self, timeline: Timeline) -> None:
        """Takes another timeline, and begins anew."""
        self._timeline = timeline
        self._failed = set(timeline.damaged)
        self._rewind()

    def _find(self, index: int, keep: int) -> list[tuple[int, RGB]]:
        timeline = self._index()
        starts = timeline.starts_before(index)
        nearest = starts[0].first if starts else 0
        near = self._next <= index and nearest - self._next <= _WORTH_A_SEEK and index not in self._failed
        if near and (read := self._forward(index, index)):
            return read
        for start in (*starts, None):
            if index in self._failed:
                raise DamagedFrame(
                    f"frame {index} of {self.label} is damaged; leave such frames out with --skip-damaged "
                    "(skip_damaged=True), start after it, or re-encode the file"
                )
            if self._jump(start):
                read = self._forward(index, index - keep + 1)
                if read and read[-1][0] == index:
                    return read
        self._end(timeline)
        return []

    def _end(self, timeline: Timeline) -> None:
        """Takes the frames that could be decoded, reading from the beginning, for all there are."""
        if self._next == 0:
            raise VideoError(
                f"{self.label} has no frame that can be decoded where it says it has some; convert it again"
            )
        if self._next < len(timeline):
            log.warning("%s ends early: only %d of its %d frames can be decoded", self.label, self._next, len(timeline))
            self._timeline = timeline.cut(self._next)

    def _forward(self, index: int, first: int) -> list[tuple[int, RGB]]:
        """Decodes on until frame `index` has come out; returns those of frames `first` to `index` that came.

        Raises:
            _Misled: if a frame comes in another place than where the packets had it, and not for damage.
        """
        timeline, read = self._index(), []
        for packet, picture in self._frames:
            number = timeline.number(packet) if len(timeline.numbers) else self._next
            if picture is None:
                self._broken = True
                continue
            # In an open group of pictures, what is shown before the keyframe comes out broken when decoding begins
            # there; and an edit list hides some frames.
            if number < self._begin:
                continue
            while timeline.decoded and self._next in self._failed:
                self._next += 1
            if number != self._next and (timeline.decoded or not self._broken):
                if not timeline.decoded:
                    raise _Misled
                # Near damage, or in a refreshed picture, decoding from here is not decoding from the beginning.
                break
            if number < self._next:
                continue
            self._failed.update(range(self._next, number))
            if number > index:
                self._frames, self._next = chain([(packet, picture)], self._frames), number
                break
            self._next = number + 1
            if number >= first:
                read.append((number, self.fit(self._reel.image(picture), number)))
            if number == index:
                break
        return read

    def _jump(self, start: Start | None) -> bool:
        """Makes decoding go on at a keyframe, or at the beginning of the file for `None`; returns whether it does."""
        self.seeks += 1
        if start is not None:
            return self._seek(start)
        self._rewind()
        return True

    def _rewind(self) -> None:
        # Opening the file again works for every container, also where seeking does not.
        self._reel.close()
        self._open()

    def _open(self) -> None:
        self._reel = open_file(self._path)
        self._play(enumerate(self._reel.packets()), 0)

    def _seek(self, start: Start) -> bool:
        """Returns whether decoding now goes on at this keyframe, or at an earlier one, which serves as well."""
        timeline = self._index()
        # Most containers look a keyframe up by when it is shown, but mpeg-ts by when it is decoded; and where stamps
        # repeat or there are none, by where it lies in the file.
        places = [(start.shown, False), (start.sent, False)] if start.shown != NONE else []
        if start.offset >= 0:
            places.append((start.offset, True))
        for place, offset in places:
            packets = self._reel.seek(place, offset=offset)
            key = next(packets, None)
            # Where a container has no index, a seek may land within a packet, and the parser makes up stamps.
            found = None if key is None else timeline.start_of(key)
            if key is None or found is None or found.first > start.first:
                continue
            self._play(self._known(chain([key], packets), found.packet), found.first)
            # A stream may refresh its picture bit by bit: then a "keyframe" does not come out, nor right what follows.
            for packet, picture in self._frames:
                number = timeline.number(packet)
                if picture is not None and number >= found.first:
                    if number == found.first:
                        self._frames = chain([(packet, picture)], self._frames)
                        return True
                    break
        return False

    def _known(self, packets: Iterator[Part], number: int) -> Iterator[tuple[int, Part]]:
        """Yields packets with their numbers, as long as their keyframes are those that belong to the numbers."""
        timeline = self._index()
        for each, packet in enumerate(packets, number):
            if packet.is_keyframe and not timeline.has_start(each, packet):
                return
            yield each, packet

    def _play(self, packets: Iterator[tuple[int, Part]], number: int) -> None:
        """Makes decoding go on with these packets, of which frame `number` is the first that comes out whole."""
        self._frames = self._reel.decode(packets)
        self._begin = self._next = number
        self._broken = False


def _decoded(path: Path) -> Timeline:
    """Returns the timeline of a file by decoding it.

    Raises:
        VideoError: if no frame in it is whole.
    """
    with closing(open_file(path)) as reel:
        timeline = by_decoding(reel)
    if not len(timeline):
        raise VideoError(f"'{path}' holds no whole frame; check the file or convert it again")
    return timeline
