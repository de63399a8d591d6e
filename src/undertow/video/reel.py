"""`Reel`: the video stream of an open container, as packets, frames and RGB."""

import ctypes
import logging
import os
from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import chain, dropwhile
from typing import TypeAlias
from weakref import WeakSet

import av
import numpy as np
from av.container import InputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.sidedata.sidedata import SideData
from av.stream import Disposition, Stream
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter

from undertow.base import VideoError
from undertow.video.frames import MOST_PIXELS, RGB, check_pixels
from undertow.video.pipe import Pipe

log = logging.getLogger(__name__)

Part: TypeAlias = "Packet[Stream]"
Picture: TypeAlias = VideoFrame

# swscale's SWS_BILINEAR, FULL_CHR_H_INT, ACCURATE_RND and BITEXACT, which PyAV names from version 18 on. Without them,
# fast paths lose more than a grey level on average (measured against the formula) and differ between processors.
EXACT = 0x2 | 0x2000 | 0x40000 | 0x80000
# Seconds by which a file may fall short of the duration in its header.
_MISSED = Fraction(1, 4)
# Codecs in which the two fields of a picture may be packets of their own.
_FIELDED = ("h264", "hevc")
# The least share of a frame's duration that a packet has unless it is a field.
_WHOLE = Fraction(3, 4)


class Reel:
    """The video stream of an open file, pipe or camera: its packets, its frames in the order shown, and these as RGB.

    Of several video streams it is the largest one.

    Attributes:
        label: What this is, for messages.
        rate: Mean frames per second, `None` if the container does not tell.
        tick: Seconds per unit of the time stamps.
        timed: Whether time stamps can be relied on where there are any.
        interlaced: Whether the last picture decoded was made of two fields.
    """

    def __init__(self, container: InputContainer, label: str, pipe: Pipe | None = None):
        """Takes an open container and finds its video stream; a cover picture of a sound file is none.

        Raises:
            VideoError: if there is none, or none that can be decoded in reasonable memory.
        """
        self.label, self.interlaced = label, False
        self._container, self._pipe, self._process = container, pipe, os.getpid()
        try:
            pictures = [each for each in container.streams.video if not each.disposition & Disposition.attached_pic]
            if not pictures:
                found = "only sound" if container.streams.audio else "no picture"
                raise VideoError(f"{label} holds {found}; give a video")
            # An unknown codec has no context, and a preview beside the film is smaller.
            self._stream = max(pictures, key=lambda each: each.width * each.height if each.codec_context else -1)
            self._codec = self._stream.codec_context
            if not self._codec:
                raise VideoError(f"{label} has a video format that cannot be decoded; convert it to H.264")
            check_pixels(self._codec.width, self._codec.height, f"the picture of {label}")
        except VideoError:
            self.close()
            raise
        # A header may tell another size than the pictures have.
        self._codec.options = {"max_pixels": str(MOST_PIXELS)}
        # Not by frame: then an error would surface frames later, and take good ones with it.
        self._stream.thread_type = "SLICE"
        rate = self._stream.average_rate or self._stream.guessed_rate
        self.rate = Fraction(rate.numerator, rate.denominator) if rate and rate > 0 else None
        self.tick = Fraction(self._stream.time_base or 1)
        self.timed = not (container.format.name == "avi" and self._codec.has_b_frames)
        # One for all frames: setting up a conversion costs more than doing it.
        self._converter = VideoReformatter()
        self._turn: float | None = None
        self._matrix: bytes | None = None
        # The end of the last packet of each stream, in its own ticks.
        self._ends: dict[int, int] = {}
        _OPEN.add(self)

    @property
    def fielded(self) -> bool:
        """Whether a packet may be one field of a picture, as far as the pictures decoded so far tell."""
        return self.interlaced and self._codec.name in _FIELDED

    @property
    def reorders(self) -> bool:
        """Whether frames are shown in another order than they are decoded."""
        return bool(self._codec.has_b_frames)

    def packets(self) -> Iterator[Part]:
        """Yields the packets of the video, up to where the container can be read.

        Those of other streams are read too: the last of all packets tells whether the file is whole.

        Raises:
            VideoError: if they are encrypted.
        """
        try:
            for packet in self._container.demux():
                if not packet.size:
                    continue
                if packet.pts is not None:
                    end = packet.pts + (packet.duration or 0)
                    if end > self._ends.get(packet.stream_index, 0):
                        self._ends[packet.stream_index] = end
                if packet.stream_index != self._stream.index:
                    continue
                # With a part of each packet in the clear, decoders make pictures of what they cannot read.
                if packet.has_sidedata("encryption_info"):
                    raise VideoError(f"{self.label} is encrypted; give a copy without protection")
                yield packet
        # At the end, PyAV stumbles over streams that were not there at the beginning, as in joined broadcasts.
        except (FFmpegError, IndexError) as error:
            log.debug("reading stopped: %s", error)
        if self._pipe is not None:
            self._pipe.check()

    def decode(self, packets: Iterable[tuple[int, Part]]) -> Iterator[tuple[int, Picture | None]]:
        """Yields frames in the order they are decoded, each with the number of its packet.

        Decoders hand a packet's time stamp on to its frame, so the number travels in its place: it is there for every
        packet and no two have the same, which cannot be said of time stamps.

        Yields:
            The number of a packet and its frame, -1 if the decoder does not tell; with `None` for a frame, a packet
            that cannot be decoded.
        """
        for number, packet in chain(packets, [(-1, None)]):
            if packet is not None:
                packet.pts = packet.dts = number
            try:
                try:
                    frames = self._stream.decode(packet)
                except BlockingIOError:
                    # After an error, a decoder may take nothing more until it is reset.
                    self._codec.flush_buffers()
                    frames = self._stream.decode(packet)
            except FFmpegError as error:
                log.debug("packet %d could not be decoded: %s", number, error)
                if packet is not None:
                    yield number, None
                continue
            for frame in frames:
                self.interlaced = frame.interlaced_frame
                yield -1 if frame.pts is None else frame.pts, frame

    def image(self, frame: Picture) -> RGB:
        """Returns a decoded frame as RGB, turned and mirrored the way its display matrix says.

        Raises:
            VideoError: if it cannot be converted.
        """
        try:
            image = self._converter.reformat(frame, format="rgb24", interpolation=EXACT).to_ndarray()
        except (FFmpegError, ValueError) as error:
            raise VideoError(
                f"the pictures of {self.label} cannot be made RGB ({error}); convert it to H.264"
            ) from error
        # Asking a frame for its side data ties the two in a circle, which keeps the picture until the collector comes
        # by; the turn can be asked for freely. So the matrix is looked at again only when the turn is another.
        if self._turn != frame.rotation:
            self._turn = frame.rotation
            try:
                matrix = frame.side_data.get("DISPLAYMATRIX")
            except ValueError:
                # PyAV lists no side data at all if there is one kind that it does not know, such as the EXIF of a JPEG
                # or the view of a spatial video: then whether the picture is mirrored stays unknown.
                self._matrix = None
            else:
                self._matrix = bytes(matrix) if isinstance(matrix, SideData) else None
        if self._matrix is None:
            return np.ascontiguousarray(np.rot90(image, round(self._turn / 90))) if self._turn else image
        # A pixel (x, y) of the stored picture is shown at (a*x + c*y, b*x + d*y), in 16.16 fixed point.
        a, b, _, c, d = np.frombuffer(self._matrix, np.int32)[:5].tolist()
        if abs(b) > abs(a):
            image, a, d = image.swapaxes(0, 1), c, b
        return np.ascontiguousarray(image[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1])

    def seek(self, place: int, *, offset: bool = False) -> Iterator[Part]:
        """Goes to a time stamp, or to a byte of the file, and returns the packets from the next keyframe on.

        There are none where seeking fails.
        """
        try:
            self._container.seek(place, stream=self._stream, unsupported_byte_offset=offset)
        except FFmpegError:
            return iter(())
        return dropwhile(lambda packet: not packet.is_keyframe, self.packets())

    def visible(self, packet: Part) -> bool:
        """Returns whether a packet shows a frame; an edit list hides some that only serve to decode others."""
        # So does VP8 (bit 4: show_frame).
        return not packet.is_discard and not (self._codec.name == "vp8" and not bytes(packet)[0] & 0x10)

    def torn(self, packet: Part) -> bool:
        """Returns whether a packet, if it is the last one, ends before its frame does."""
        # A whole packet of a gif ends in a terminator or the trailer.
        return packet.is_corrupt or (self._codec.name == "gif" and bytes(packet)[-1] not in b"\x00;")

    def is_field(self, packet: Part) -> bool:
        """Returns whether a packet may be but one field of an interlaced picture.

        Of mpeg-ts, FFmpeg reads how long each picture is shown from the picture itself.
        """
        if self._container.format.name == "mpegts" and self.rate and packet.duration:
            return packet.duration * self.tick * self.rate < _WHOLE
        return True

    def falls_short(self) -> bool:
        """Returns whether the packets read so far end before the duration that the header promises.

        The header of an avi only counts the frames that were meant to be recorded.
        """
        if self._container.format.name == "avi":
            return False
        # Where the clock wraps around, FFmpeg makes it begin below zero.
        begin = min(0, self._container.start_time or 0)
        ends = [end * Fraction(self._container.streams[at].time_base or 0) for at, end in self._ends.items()]
        return Fraction((self._container.duration or 0) + begin, av.time_base) - max(ends, default=0) > _MISSED

    def close(self) -> None:
        """Closes the container, and the pipe it came through; in a process forked since it was opened, nothing."""
        if self._process != os.getpid():
            return
        self._container.close()
        if self._pipe is not None:
            self._pipe.close()


_OPEN: WeakSet[Reel] = WeakSet()


def _keep() -> None:
    """Makes the reels of a forked process stay until it ends, and even then.

    The threads of a decoder stay behind in the process that forked, and freeing it would wait for them for ever.
    """
    for reel in _OPEN:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(reel))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_keep)
