"""What PyAV opens: files, pipes and cameras to read, H.264 to write; apart from `reel` only this module touches it."""

import errno
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import av
import numpy as np
from av.codec import Codec, CodecContext
from av.device import enumerate_input_devices
from av.error import ArgumentError, FFmpegError
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter
from jaxtyping import UInt8

from undertow.base import VideoError
from undertow.video.frames import RGB
from undertow.video.pipe import Pipe
from undertow.video.reel import EXACT, Reel

# FFmpeg also "plays" text files and follows playlists to other files; only what holds pictures itself is let in, from
# disk only. Which of these a file is, its content tells and not its name.
_FORMATS = (
    "mov,matroska,gif,avi,mpegts,mpeg,flv,ogg,asf,mxf,gxf,ivf,nut,rm,wtv,dv,yuv4mpegpipe,"
    "h261,h263,h264,hevc,vvc,m4v,mpegvideo,vc1,av1,obu,dirac,dnxhd,mjpeg,mpjpeg,apng,wav,mp3,flac,aac"
)
_OPTIONS = {"format_whitelist": _FORMATS, "protocol_whitelist": "file"}
# Programs that write images into a pipe one after the other; as files they are frames.
_PIPE_OPTIONS = {**_OPTIONS, "format_whitelist": f"{_FORMATS},png_pipe"}
# x264's propagation of quality between frames (mbtree) reads memory that nobody wrote where the processor has AVX-512:
# the same pictures then give another file every time. Seen with the x264 in PyAV 18.1; without it files are the same.
_X264 = {"crf": "18", "preset": "medium", "x264-params": "mbtree=0"}
# The names of what reads and writes each kind. FFmpeg's own av1 decoder is not among them: it needs a GPU.
_CODERS = {
    "h264": (("h264",), ("libx264",)),
    "hevc": (("hevc",), ("libx265",)),
    "vp9": (("vp9", "libvpx-vp9"), ("libvpx-vp9",)),
    "av1": (("libdav1d", "libaom-av1"), ("libsvtav1", "libaom-av1")),
    "prores": (("prores",), ("prores_ks", "prores")),
    "ffv1": (("ffv1",), ("ffv1",)),
    "mjpeg": (("mjpeg",), ("mjpeg",)),
}
# ITU-T H.273 code for BT.709, as primaries, transfer and matrix; and that for limited range.
_BT709, _LIMITED = 1, 1


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
    """Returns the reel of a camera, called `name` by one of FFmpeg's ways (`form`, see `cameras`) to reach it.

    Messages call it `label`; `rate` is asked of it in frames per second, its own by default.

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


@dataclass(frozen=True)
class CodecSupport:
    """What can be done with one kind of video.

    Attributes:
        decode: Whether it can be read.
        encode: Whether it can be written.
    """

    decode: bool
    encode: bool


def codecs() -> dict[str, CodecSupport]:
    """Returns, by name, which of h264, hevc, vp9, av1, prores, ffv1 and mjpeg can be decoded and encoded here."""
    return {
        name: CodecSupport(any(_exists(each, "r") for each in readers), any(_exists(each, "w") for each in writers))
        for name, (readers, writers) in _CODERS.items()
    }


@dataclass(frozen=True)
class _Alpha:
    """How a codec keeps alpha.

    Attributes:
        encoder: What writes it.
        pixels: Format of its pixels.
        layout: Order of the channels it is given.
        options: Of the encoder.
        form: The container, where the name of the file does not tell.
        decoder: What reads it with its alpha, where that is not the usual decoder.
    """

    encoder: str
    pixels: str
    layout: str
    options: dict[str, str]
    form: str | None = None
    decoder: str | None = None


# With 8 bits of alpha ProRes is two levels off, with 16 one; FFmpeg's own decoder of VP9 drops alpha.
_ALPHAS = {
    "prores": _Alpha("prores_ks", "yuva444p10le", "rgba", {"profile": "4444", "alpha_bits": "16", "vendor": "apl0"}),
    "ffv1": _Alpha("ffv1", "bgra", "bgra", {}),
    "apng": _Alpha("apng", "rgba", "rgba", {"plays": "0"}, "apng"),
    "vp9": _Alpha("libvpx-vp9", "yuva420p", "rgba", {"crf": "18", "b": "0"}, decoder="libvpx-vp9"),
}


class AlphaFile:
    """A film with alpha being written, at a constant rate."""

    def __init__(self, path: Path, codec: str, width: int, height: int, rate: Fraction):
        """Starts a film; `codec` is prores, ffv1, apng or vp9."""
        self._how = how = _ALPHAS[codec]
        self._container = av.open(str(path.absolute()), "w", format=how.form)
        stream: Any = self._container.add_stream(how.encoder, rate=rate, options=how.options)
        stream.width, stream.height, stream.pix_fmt = width, height, how.pixels
        self._stream, context = stream, stream.codec_context
        context.time_base = 1 / rate
        if how.pixels.startswith("yuv"):
            context.color_primaries = context.color_trc = context.colorspace = _BT709
            context.color_range = _LIMITED
        self._converter, self._count = VideoReformatter(), 0

    def write(self, image: UInt8[np.ndarray, "h w 4"]) -> None:
        """Adds a frame of RGBA."""
        how = self._how
        image = np.ascontiguousarray(image if how.layout == "rgba" else image[..., [2, 1, 0, 3]])
        frame = VideoFrame.from_ndarray(image, how.layout)
        if how.pixels != how.layout:
            frame = self._converter.reformat(
                frame, format=how.pixels, dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG,
                interpolation=EXACT,
            )  # fmt: skip
        frame.pts, frame.time_base = self._count, self._stream.codec_context.time_base
        self._count += 1
        self._container.mux(self._stream.encode(frame))

    def close(self, *, finish: bool) -> None:
        """Closes the file, first writing what the encoder still holds if it is to be complete."""
        if finish:
            self._container.mux(self._stream.encode(None))
        self._container.close()


def read_alpha(path: Path, codec: str) -> Iterator[UInt8[np.ndarray, "h w"]]:
    """Yields the alpha of the frames of a film that `AlphaFile` wrote."""
    with av.open(str(path.absolute()), options={"protocol_whitelist": "file"}) as container:
        name = _ALPHAS[codec].decoder
        decoder: Any = container.streams.video[0].codec_context if name is None else CodecContext.create(name, "r")
        for packet in container.demux(video=0):
            for frame in decoder.decode(packet):
                yield frame.to_ndarray(format="rgba")[..., 3]


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
            interpolation=EXACT,
        )
        frame.pts, frame.time_base, frame.duration = stamp, self._tick, self._duration
        self._container.mux(self._stream.encode(frame))

    def close(self, *, finish: bool) -> None:
        """Closes the file, first writing what the encoder still holds if it is to be complete."""
        if finish:
            self._container.mux(self._stream.encode(None))
        self._container.close()


def _exists(name: str, mode: Literal["r", "w"]) -> bool:
    try:
        Codec(name, mode)
    except FFmpegError:
        return False
    return True


def _reason(error: Exception) -> str:
    """Returns what went wrong in words, without file names."""
    return getattr(error, "strerror", None) or str(error)


def _no_video(label: str, error: Exception) -> VideoError:
    if isinstance(error, PermissionError | FileNotFoundError):
        return VideoError(f"{label} cannot be read ({_reason(error)}); check that it is there and its permissions")
    # What FFmpeg knows but is not to read is an "invalid argument" to it.
    reason = "a kind of file that is not read" if isinstance(error, ArgumentError) else _reason(error)
    return VideoError(f"{label} is not a video that can be read ({reason}); give an mp4, mov, webm, mkv or gif")
