"""Video while it comes: decoded from a pipe or a camera, or raw from a pipe."""

import logging
from collections.abc import Iterator
from fractions import Fraction
from typing import TYPE_CHECKING, TypeAlias

from undertow.video.frames import NOMINAL_FPS, RGB
from undertow.video.memory import FrameStream
from undertow.video.pipe import Pipe, RawFormat

if TYPE_CHECKING:
    from undertow.video.container import Part, Picture, Reel

log = logging.getLogger(__name__)

# How many packets a keyframe is waited for; where none is marked as such, decoders still find one.
_PATIENCE = 500

# A frame that has been decoded, and when it is shown, in seconds.
Shot: TypeAlias = "tuple[Fraction, Picture]"


def stream_of(pipe: Pipe, form: RawFormat | None = None) -> FrameStream:
    """Returns the frames that come through a pipe, raw in the given format, or encoded.

    Raises:
        VideoError: if they are no video.
    """
    if form is not None:
        return RawStream(pipe, form)
    # Here and not above: raw video can be read where PyAV is missing.
    from undertow.video.container import open_pipe

    try:
        pipe.check_order()
    except BaseException:
        pipe.close()
        raise
    return EncodedStream(open_pipe(pipe))


class RawStream(FrameStream):
    """Raw frames from a pipe, in the order they come, each once."""

    empty = "ended before its first frame; check the size of the raw frames"

    def __init__(self, pipe: Pipe, form: RawFormat):
        """Reads the first frame.

        Raises:
            VideoError: if there is none.
        """
        self._pipe = pipe
        try:
            super().__init__(form.frames(pipe), pipe.label, form.rate)
        except BaseException:
            pipe.close()
            raise

    def close(self) -> None:
        """Closes the pipe."""
        self._frames = iter(())
        self._pipe.close()


class EncodedStream(FrameStream):
    """The frames of a reel in the order they come, each once.

    They are those that the same bytes give as a file, with the same times, but for damage: a file is known to its end
    before work begins, so that a damaged frame can be named; of a stream it is left out, with a warning, and whoever
    follows a camera goes on. Where time stamps fall back (a broadcast that was joined together), time goes on.
    """

    empty = "holds no frame that can be decoded; check where it comes from"

    def __init__(self, reel: "Reel", *, camera: bool = False):
        """Decodes the first frame, which tells the size.

        Args:
            reel: where frames come from; it is closed with the stream.
            camera: whether frames are made as they are asked for: from the first on, which is shown at 0.

        Raises:
            VideoError: if nothing can be decoded.
        """
        self._reel = reel
        self._camera = camera
        self._first: int | None = None
        try:
            super().__init__(self._shots(), reel.label, reel.rate)
        except BaseException:
            self.close()
            raise

    def picture(self, frame: Shot, what: str) -> RGB:
        """Returns a decoded frame as RGB."""
        return self._reel.image(frame[1])

    def moment(self, frame: Shot) -> Fraction:
        """Returns when a decoded frame is shown."""
        return frame[0]

    def close(self) -> None:
        """Closes the pipe or camera."""
        self._frames = iter(())
        self._reel.close()

    def _shots(self) -> Iterator[Shot]:
        """Yields what is decoded, each frame once, with times that increase."""
        reel, step = self._reel, 1 / (self._reel.rate or NOMINAL_FPS)
        shift = Fraction(0)
        last: Fraction | None = None
        for frame in reel.decode(self._whole()):
            if frame.pts is None or not reel.timed:
                last = Fraction(0) if last is None else last + step
                yield last, frame
                continue
            stamp = frame.pts * reel.tick
            if last is None:
                # Shown before the first keyframe, it lacks what it was predicted from.
                if self._first is not None and frame.pts < self._first:
                    continue
                shift = -stamp if self._camera else shift
            elif stamp + shift < last:
                shift = last + step - stamp
            elif stamp + shift == last:
                continue
            last = stamp + shift
            yield last, frame

    def _whole(self) -> Iterator["Part"]:
        """Yields packets from the first keyframe on; the last one only if it is whole."""
        reel, torn, begun, warned = self._reel, None, self._camera, False
        for number, packet in enumerate(reel.packets()):
            if not begun:
                begun = packet.is_keyframe or number >= _PATIENCE
                self._first = packet.pts if packet.is_keyframe else None
                if not begun:
                    continue
            if torn is not None:
                yield torn
            # Whether it matters is only known when the next one comes.
            torn = packet if reel.torn(packet) else None
            if torn is None:
                yield packet
            if reel.failures and not warned:
                warned = True
                log.warning("%s is damaged; frames that cannot be decoded are left out", reel.label)
        if torn is not None or reel.falls_short():
            log.warning("%s seems to be cut short; going on with the frames it had", reel.label)
