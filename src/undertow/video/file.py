"""`VideoFile`: exact frames out of a video file, in whatever order they are asked for."""

import hashlib
import logging
from array import array
from collections.abc import Iterator
from fractions import Fraction
from itertools import chain
from pathlib import Path

from undertow.base import VideoError
from undertow.video.container import Part, Picture, open_file
from undertow.video.frames import NOMINAL_FPS, RGB, check_same_size
from undertow.video.source import Source
from undertow.video.timeline import Start, Timeline

log = logging.getLogger(__name__)

# Up to this many frames that nobody wants are decoded rather than jumped over.
_WORTH_A_SEEK = 16


class VideoFile(Source):
    """The frames of a video file by number, each exactly the one that playing from the start would show.

    The first use of a frame number reads through the file once without decoding, for the stamps of all packets. Then
    frames that follow one another are decoded in one go; any other is found by going to the keyframe at or before it
    and decoding on until its stamp comes out. Should a container lead elsewhere, an earlier keyframe is tried, and in
    the end the beginning of the file.

    Colours follow the file's tags, and BT.601 without tags, as in FFmpeg. More than 8 bits are rounded to 8. Pixels
    that are not square stay as stored.

    Attributes:
        seeks: how many times reading jumped; 0 after reading from start to end.
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
        self._reel = open_file(path)
        self._frames: Iterator[Picture] = iter(())
        self._next = 0
        self.rate = self._reel.rate
        try:
            self._play(self._reel.packets(), 0)
            first = next(self._frames, None)
            if first is None:
                raise VideoError(f"{self.label} holds no frame that can be decoded; check the file or convert it again")
            self.height, self.width = self._reel.image(first).shape[:2]
        except VideoError:
            self.close()
            raise
        self._frames = chain([first], self._frames)

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
            VideoError: if the frame is damaged or of another size, or no frame can be told from another.
        """
        timeline = self._index()
        starts = timeline.starts_before(index)
        nearest = timeline.first_from(starts[0].shown) if starts else 0
        if self._next <= index and nearest - self._next <= _WORTH_A_SEEK and (read := self._forward(index, index)):
            return read
        for start in (*starts, None):
            if self._jump(start):
                read = self._forward(index, index - keep + 1)
                if read and read[-1][0] == index:
                    return read
        if self._next > index:
            raise VideoError(f"frame {index} of {self.label} is damaged; re-encode the file, or start after that frame")
        if self._next == 0:
            raise VideoError(
                f"{self.label} has no frame that can be decoded where it says it has some; convert it again"
            )
        log.warning("%s ends early: only %d of its %d frames can be decoded", self.label, self._next, len(timeline))
        self._timeline = timeline.cut(self._next)
        return []

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

    def close(self) -> None:
        """Closes the file."""
        self._frames = iter(())
        self._reel.close()

    def _index(self) -> Timeline:
        if self._timeline is None:
            self._timeline = _scan(self._path)
        return self._timeline

    def _forward(self, index: int, first: int) -> list[tuple[int, RGB]]:
        """Decodes on until frame `index` has come out; returns those of frames `first` to `index` that came."""
        read = []
        for frame in self._frames:
            number = self._number(frame)
            if number is None:
                continue
            self._next = number + 1
            if first <= number <= index:
                image = self._reel.image(frame)
                check_same_size(image, self.height, self.width, f"frame {number} of {self.label}")
                read.append((number, image))
            if number >= index:
                break
        return read

    def _number(self, frame: Picture) -> int | None:
        """Returns which frame has been decoded; `None` if it is not to be shown.

        In an open group of pictures, what is shown before the keyframe comes out broken when decoding begins there.
        """
        timeline = self._index()
        number = timeline.number(frame.pts) if timeline.timed else self._next
        return None if number is None or number < self._next else number

    def _jump(self, start: Start | None) -> bool:
        """Makes decoding go on at a keyframe, or at the beginning of the file for `None`; returns whether it does."""
        self.seeks += 1
        if start is not None:
            return self._seek(start)
        # Opening the file again works for every container, also where seeking does not.
        self._reel.close()
        self._reel = open_file(self._path)
        self._play(self._reel.packets(), 0)
        return True

    def _seek(self, start: Start) -> bool:
        """Returns whether decoding now goes on at this keyframe, or at an earlier one, which serves as well."""
        timeline = self._index()
        # Most containers look a keyframe up by when it is shown, but mpeg-ts by when it is decoded.
        for stamp in (start.shown, start.sent):
            packets = self._reel.seek(stamp)
            key = next(packets, None)
            # Where a container has no index, a seek may land within a packet, and the parser makes up stamps.
            if key is None or key.pts is None or key.pts > start.shown or not timeline.has_start(key.pts, key.size):
                continue
            self._play(chain([key], packets), timeline.first_from(key.pts))
            # A stream may refresh its picture bit by bit: then a "keyframe" does not come out, nor right what follows.
            first = next((frame for frame in self._frames if self._number(frame) is not None), None)
            if first is not None and self._number(first) == self._next:
                self._frames = chain([first], self._frames)
                return True
        return False

    def _play(self, packets: Iterator[Part], number: int) -> None:
        """Makes decoding go on with these packets, of which frame `number` is the first that comes out whole."""
        self._frames, self._next = self._reel.decode(packets), number


def _scan(path: Path) -> Timeline:
    """Returns the timeline of a file by reading all its packets; only where these have no stamps it is decoded.

    Raises:
        VideoError: if no frame in it is whole.
    """
    reel = open_file(path)
    try:
        shown, starts, torn = array("q"), list[Start](), False
        for packet in reel.packets():
            if packet.pts is None or not reel.timed:
                return _scan_by_decoding(path)
            if packet.is_keyframe:
                starts.append(Start(packet.pts, packet.pts if packet.dts is None else packet.dts, packet.size))
            if visible := reel.visible(packet):
                shown.append(packet.pts)
            # The file may end within the last packet.
            torn = visible and reel.torn(packet)
        if torn:
            shown.pop()
        timeline = Timeline.of(shown, starts, reel.tick)
        if not timeline:
            raise VideoError(f"'{path}' holds no whole frame; check the file or convert it again")
        if left_out := len(shown) - len(timeline):
            log.warning("'%s': %d frames left out, undecodable or at the same time as another", path, left_out)
        # Headers err, so a promise that is not kept is worth a warning and no more.
        if torn or reel.falls_short():
            log.warning("'%s' seems to be cut short; going on with the %d frames it has", path, len(timeline))
        return timeline
    finally:
        reel.close()


def _scan_by_decoding(path: Path) -> Timeline:
    """Returns the timeline of a file without time stamps, such as a bare stream or an avi with B-frames."""
    reel = open_file(path)
    try:
        return Timeline.untimed(sum(1 for _ in reel.decode(reel.packets())), reel.rate or NOMINAL_FPS)
    finally:
        reel.close()
