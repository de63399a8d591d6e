"""Video that comes once: standard input, named pipes and cameras."""

import os
import stat
import sys
from collections.abc import Callable, Sequence
from fractions import Fraction
from io import FileIO
from pathlib import Path

from undertow.base import VideoError
from undertow.video.frames import Rate, as_rate
from undertow.video.pipe import Pipe, RawFormat
from undertow.video.streams import EncodedStream, stream_of
from undertow.video.video import Video

_CAMERA = "camera:"
_STANDARD_INPUT = "-"


def is_stream(source: str | Path) -> bool:
    """Returns whether a source is read once, by `open_stream`: "-", camera:..., a named pipe or a camera's device."""
    text = str(source)
    if text == _STANDARD_INPUT or text.startswith(_CAMERA):
        return True
    mode = _mode(text)
    return stat.S_ISFIFO(mode) or _is_camera(text, mode)


def open_stream(
    source: str | Path, *, raw: str | None = None, fps: Rate | None = None, cache_frames: int = 16
) -> Video:
    """Opens a stream, whose frames arrive once and in order, in constant memory; its length is unknown until it ends.

        for frame in open_stream("camera:0"):
            frame.image  # uint8 (h, w, 3)

    Args:
        source: "-" for standard input; camera:0, camera:/dev/video0 or /dev/video0 for a camera; or the path of a
            named pipe or of a file, which is then read from front to back, on demand.
        raw: Layout of raw video, `WIDTHxHEIGHT[:FORMAT][@RATE]` such as 640x480:bgr24@30, with the formats
            rgb24, bgr24, rgba and gray; without it, the video is encoded (mkv, webm, mpeg-ts, mp4 with its index in
            front, y4m, mjpeg and others).
        fps: Frame rate that replaces the frames' own times; also requested from a camera.
        cache_frames: Number of last frames that stay available.

    Raises:
        VideoError: if nothing arrives, or it is not video.
    """
    rate = None if fps is None else as_rate(fps)
    form = None if raw is None else RawFormat.parse(raw)
    text = str(source)
    if text.startswith(_CAMERA) or _is_camera(text, _mode(text)):
        if form is not None:
            raise VideoError("a camera's frames are not raw video; leave the raw format out")
        # Times are the camera's own: asked for a rate, it may have chosen another.
        return Video(_camera(text.removeprefix(_CAMERA), rate), cache_frames=cache_frames)
    pipe = _standard_input() if text == _STANDARD_INPUT else _opened(text)
    return Video(stream_of(pipe, form), fps=fps, cache_frames=cache_frames)


def camera_name(camera: str, system: str, there: Callable[[str], Sequence[str]]) -> tuple[str, str]:
    """Returns which of FFmpeg's ways leads to a camera, known by number or name, and what it is called there.

    The system is `sys.platform`, and `there` returns the names of all cameras that one of FFmpeg's ways leads to.

    Raises:
        VideoError: if there is no way, or no such number.
    """
    if system.startswith("linux"):
        return "v4l2", f"/dev/video{camera}" if camera.isdecimal() else camera
    if system == "darwin":
        # Without sound, which would be what follows the colon.
        return "avfoundation", f"{camera}:none"
    if system != "win32":
        raise VideoError(f"cameras cannot be opened on {system}; pipe a video in from a program that can")
    names = there("dshow") if camera.isdecimal() else []
    if camera.isdecimal() and int(camera) >= len(names):
        raise VideoError(f"there is no camera {camera}, {len(names)} were found; connect one")
    return "dshow", f"video={names[int(camera)] if camera.isdecimal() else camera}"


def _camera(camera: str, rate: Fraction | None) -> EncodedStream:
    # Here and not above: raw video can be read where PyAV is missing.
    from undertow.video.container import cameras, open_device

    form, name = camera_name(camera, sys.platform, cameras)
    return EncodedStream(open_device(form, name, f"camera '{camera}'", rate), camera=True)


def _standard_input() -> Pipe:
    try:
        # Unbuffered: a live picture should not wait for the next one.
        file = FileIO(0, closefd=False)
    except OSError as error:
        raise VideoError("there is no standard input; give a file") from error
    if file.isatty():
        raise VideoError(
            "standard input is the terminal; pipe a video in, such as with `cat clip.mkv |`, or give a file"
        )
    return Pipe(file, "standard input")


def _opened(text: str) -> Pipe:
    """Returns a named pipe (waiting for a program to write into it) or file."""
    if not _mode(text):
        raise VideoError(f"'{text}' does not exist; give a named pipe, a camera or a file")
    if stat.S_ISDIR(_mode(text)):
        raise VideoError(f"'{text}' is a folder, which does not come as a stream; open it as a video")
    try:
        return Pipe(FileIO(text), f"'{text}'")
    except OSError as error:
        raise VideoError(f"'{text}' cannot be opened ({error.strerror}); check its permissions") from error


def _mode(text: str) -> int:
    """Returns the kind of file a path leads to, 0 for none."""
    try:
        return os.stat(text).st_mode
    except (OSError, ValueError):
        return 0


def _is_camera(text: str, mode: int) -> bool:
    return stat.S_ISCHR(mode) and Path(text).resolve().name.startswith("video")
