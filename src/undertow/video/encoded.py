"""Video while it comes: decoded from a pipe or a camera, or raw from a pipe."""

from fractions import Fraction
from typing import TYPE_CHECKING

from undertow.video.frames import RGB
from undertow.video.memory import FrameStream
from undertow.video.pipe import Pipe, RawFormat
from undertow.video.shots import Clock, Shot, shown
from undertow.video.source import Scaling

if TYPE_CHECKING:
    from undertow.video.reel import Reel


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


class EncodedStream(Scaling, FrameStream):
    """The frames of a reel in the order they come, each once.

    They are those that the same bytes give as a file, with the same numbers and times. But a file is known to its end
    before work begins, so that a damaged frame stops it; of a stream such frames are left out, with a warning, and
    whoever follows a camera goes on.
    """

    empty = "holds no frame that can be decoded; check where it comes from"

    def __init__(self, reel: "Reel", *, camera: bool = False):
        """Decodes the first frame, which tells the size.

        Args:
            reel: Where frames come from; it is closed with the stream.
            camera: Whether frames are made as they are asked for: from the first on, which is shown at 0.

        Raises:
            VideoError: if nothing can be decoded.
        """
        self._reel = reel
        self._clock = Clock(reel, from_zero=camera)
        try:
            super().__init__(shown(reel, reel.packets(), self._clock), reel.label, reel.rate)
        except BaseException:
            self.close()
            raise

    def picture(self, frame: Shot, what: str) -> RGB | None:
        """Returns a decoded frame as RGB, `None` if it is damaged."""
        return None if frame.picture is None else self._reel.image(frame.picture)

    def moment(self, frame: Shot) -> Fraction:
        """Returns when a decoded frame is shown."""
        return frame.stamp * self._clock.unit

    def close(self) -> None:
        """Closes the pipe or camera."""
        self._frames = iter(())
        self._reel.close()
