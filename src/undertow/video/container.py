"""Everything that touches PyAV, and the only module that does: reels of frames to read, H.264 to write."""

import errno
import logging
from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import chain, dropwhile
from pathlib import Path
from typing import TypeAlias

import av
import numpy as np
from av.codec import Codec
from av.container import InputContainer
from av.device import enumerate_input_devices
from av.error import FFmpegError
from av.packet import Packet
from av.sidedata.sidedata import SideData
from av.stream import Disposition, Stream
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter

from undertow.base import VideoError
from undertow.video.frames import MOST_PIXELS, RGB, check_pixels
from undertow.video.pipe import Pipe

log = logging.getLogger(__name__)

Part: TypeAlias = "Packet[Stream]"
Picture: TypeAlias = VideoFrame

# FFmpeg also "plays" text files and follows playlists to other files; only real containers are let in, from disk only.
_FORMATS = "mov,matroska,gif,avi,mpegts,mpeg,flv,ogg,asf,mxf,ivf,nut,yuv4mpegpipe,h264,hevc,mjpeg,apng,wav,mp3,flac,aac"
_OPTIONS = {"format_whitelist": _FORMATS, "protocol_whitelist": "file"}
# Programs that write images into a pipe one after the other; as files they are frames.
_PIPE_OPTIONS = {**_OPTIONS, "format_whitelist": f"{_FORMATS},png_pipe"}
# swscale's SWS_BILINEAR, FULL_CHR_H_INT, ACCURATE_RND and BITEXACT, which PyAV names from version 18 on. Without them,
# fast paths lose more than a grey level on average (measured against the formula) and differ between processors.
_EXACT = 0x2 | 0x2000 | 0x40000 | 0x80000
# Seconds by which a file may fall short of the duration in its header.
_MISSED = Fraction(1, 4)
# x264's propagation of quality between frames (mbtree) reads memory that nobody wrote where the processor has AVX-512:
# the same pictures then give another file every time. Seen with the x264 in PyAV 18.1; without it files are the same.
_X264 = {"crf": "18", "preset": "medium", "x264-params": "mbtree=0"}
# ITU-T H.273 code for BT.709, as primaries, transfer and matrix; and that for limited range.
_BT709, _LIMITED = 1, 1


class Reel:
    """The video stream of an open file, pipe or camera: its packets, its frames in the order shown, and these as RGB.

    Attributes:
        label: what this is, for messages.
        rate: mean frames per second, `None` if the container does not tell.
        tick: seconds per unit of the time stamps.
        timed: whether time stamps can be relied on where there are any.
        failures: how many packets could not be decoded so far.
    """

    def __init__(self, container: InputContainer, label: str, pipe: Pipe | None = None):
        """Takes an open container and finds its video stream; a cover picture of a sound file is none.

        Raises:
            VideoError: if there is none, or none that can be decoded in reasonable memory.
        """
        self.label, self.failures = label, 0
        self._container, self._pipe = container, pipe
        try:
            pictures = [each for each in container.streams.video if not each.disposition & Disposition.attached_pic]
            if not pictures:
                found = "only sound" if container.streams.audio else "no picture"
                raise VideoError(f"{label} holds {found}; give a video")
            self._stream = pictures[0]
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
        self._end = Fraction(0)

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
                    self._end = max(self._end, (packet.pts + (packet.duration or 0)) * packet.time_base)
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

    def decode(self, packets: Iterable[Part]) -> Iterator[Picture]:
        """Yields the frames of some packets in the order shown; packets that cannot be decoded give none."""
        for packet in chain(packets, [None]):
            try:
                frames = self._stream.decode(packet)
            except FFmpegError as error:
                self.failures += 1
                log.debug("a packet could not be decoded: %s", error)
            else:
                yield from frames

    def image(self, frame: Picture) -> RGB:
        """Returns a decoded frame as RGB, turned and mirrored the way its display matrix says.

        Raises:
            VideoError: if it cannot be converted.
        """
        try:
            image = self._converter.reformat(frame, format="rgb24", interpolation=_EXACT).to_ndarray()
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

    def seek(self, stamp: int) -> Iterator[Part]:
        """Goes to a time stamp and returns the packets from the next keyframe on; none where seeking fails."""
        try:
            self._container.seek(stamp, stream=self._stream)
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

    def falls_short(self) -> bool:
        """Returns whether the packets read so far end before the duration that the header promises."""
        return Fraction(self._container.duration or 0, av.time_base) - self._end > _MISSED

    def close(self) -> None:
        """Closes the container, and the pipe it came through."""
        self._container.close()
        if self._pipe is not None:
            self._pipe.close()


def open_file(path: Path) -> Reel:
    """Returns the reel of a video file.

    Raises:
        VideoError: if it is none, or nothing in it can be decoded.
    """
    try:
        container = av.open(str(path.absolute()), options=_OPTIONS, metadata_errors="ignore")
    except (FFmpegError, OSError, ValueError) as error:
        raise _no_video(f"'{path}'", error) from error
    return Reel(container, f"'{path}'")


def open_pipe(pipe: Pipe) -> Reel:
    """Returns the reel of a video that comes through a pipe, which the reel will close.

    Raises:
        VideoError: if it is none, or one that can only be read by going back and forth in it.
    """
    try:
        container = av.open(pipe, "r", options=_PIPE_OPTIONS, metadata_errors="ignore")
    except (FFmpegError, OSError, ValueError) as error:
        pipe.close()
        pipe.check()
        raise _no_video(pipe.label, error) from error
    return Reel(container, pipe.label, pipe)


def open_device(form: str, name: str, label: str, rate: Fraction | None = None) -> Reel:
    """Returns the reel of a camera.

    Args:
        form: which of FFmpeg's ways to reach cameras; see `cameras`.
        name: what the camera is called there.
        label: what it is, for messages.
        rate: frames per second to ask of it; by default its own.

    Raises:
        VideoError: if there is no such camera, it is busy, or it may not be used.
    """
    try:
        container = av.open(name, "r", format=form, options={} if rate is None else {"framerate": str(rate)})
    except (FFmpegError, OSError, ValueError) as error:
        if isinstance(error, PermissionError):
            what = "may not be used; ask for the right (on Linux, join the group 'video')"
        elif getattr(error, "errno", None) in (errno.EBUSY, errno.EAGAIN):
            what = "is busy; close the program that uses it"
        else:
            what = f"cannot be opened ({_reason(error)}); connect one, or name another such as camera:0"
        raise VideoError(f"{label} {what}") from error
    return Reel(container, label)


def cameras(form: str) -> list[str]:
    """Returns what the cameras are called that one of FFmpeg's ways (v4l2, avfoundation, dshow) can reach."""
    try:
        return [device.name for device in enumerate_input_devices(form) if "video" in device.media_types]
    except (FFmpegError, OSError, ValueError):
        return []


def can_decode(name: str) -> bool:
    """Returns whether there is a decoder of this name."""
    return _exists(name, "r")


def can_encode(name: str) -> bool:
    """Returns whether there is an encoder of this name."""
    return _exists(name, "w")


class H264File:
    """An mp4 or mov file being written, that plays everywhere: H.264, yuv420p, BT.709, index before the pictures."""

    def __init__(self, path: Path, width: int, height: int, rate: Fraction, tick: Fraction):
        """Starts a file of even `width` and `height` whose time stamps count `tick` seconds."""
        # `faststart` puts the index (moov) in front, so that browsers can begin before they have the whole file.
        self._container = av.open(str(path.absolute()), "w", options={"movflags": "+faststart"})
        self._stream = self._container.add_stream("libx264", rate=rate, options=_X264)
        self._stream.width, self._stream.height, self._stream.pix_fmt = width, height, "yuv420p"
        context = self._stream.codec_context
        context.time_base = self._stream.time_base = tick
        # Without tags, players guess the matrix from the picture's height, and colours shift.
        context.color_primaries = context.color_trc = context.colorspace = _BT709
        context.color_range = _LIMITED
        self._converter = VideoReformatter()
        self._tick = tick
        self._duration = max(1, round(1 / (rate * tick)))

    def write(self, image: RGB, stamp: int) -> None:
        """Adds a frame, shown from tick `stamp` on."""
        frame = self._converter.reformat(
            VideoFrame.from_ndarray(np.ascontiguousarray(image), "rgb24"),
            format="yuv420p",
            dst_colorspace=Colorspace.ITU709,
            dst_color_range=ColorRange.MPEG,
            interpolation=_EXACT,
        )
        frame.pts, frame.time_base, frame.duration = stamp, self._tick, self._duration
        self._container.mux(self._stream.encode(frame))

    def close(self, *, finish: bool) -> None:
        """Closes the file, first writing what the encoder still holds if it is to be complete."""
        if finish:
            self._container.mux(self._stream.encode(None))
        self._container.close()


def _exists(name: str, mode: str) -> bool:
    try:
        Codec(name, "r" if mode == "r" else "w")
    except FFmpegError:
        return False
    return True


def _reason(error: Exception) -> str:
    """Returns what went wrong in words, without file names."""
    return getattr(error, "strerror", None) or str(error)


def _no_video(label: str, error: Exception) -> VideoError:
    if isinstance(error, PermissionError | FileNotFoundError):
        return VideoError(f"{label} cannot be read ({_reason(error)}); check that it is there and its permissions")
    return VideoError(f"{label} is not a video that can be read ({_reason(error)}); give an mp4, mov, webm, mkv or gif")
