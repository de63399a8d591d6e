"""overlay.mp4: the finished masks of a run over their video, for looking at; the masks stay the result."""

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import numpy as np
from jaxtyping import UInt8

from undertow.base import Progress, SilentProgress, VideoError
from undertow.drawing import overlay
from undertow.masks import LabelMap, read_written_map
from undertow.runs.earlier import RunFolder
from undertow.video import Clip, Video, VideoWriter

# Of a video whose frame rate nobody knows (a folder, an array).
DEFAULT_FPS = Fraction(24)


class FrameLike(Protocol):
    """What is needed of a frame; `undertow.video.Frame` is one."""

    @property
    def time(self) -> Fraction:
        """Exact time in seconds."""

    @property
    def name(self) -> str:
        """Name of the frame's mask file, without suffix."""

    @property
    def image(self) -> UInt8[np.ndarray, "h w 3"]:
        """RGB pixels."""


class FrameWriter(Protocol):
    """What is needed of a video writer; `undertow.video.VideoWriter` is one."""

    def write(self, image: UInt8[np.ndarray, "h w 3"], time: Fraction | None = None) -> None:
        """Adds a frame at a time."""


def render_overlay(
    run: RunFolder, frames: Iterable[FrameLike], writer: FrameWriter, progress: Progress | None = None
) -> int:
    """Returns how many frames were written: every frame that has a mask in the run, with the mask drawn over it.

    One frame is in memory at a time, and frame times are passed on, so a variable frame rate survives.

    Args:
        run: a run whose masks are written.
        frames: the video again, from the start (`Video` is an iterable of frames).
        writer: where the pictures go, such as an open `VideoWriter`.
        progress: told of every frame.

    Raises:
        VideoError: if no frame of the video has a mask in the run.
    """
    progress = progress or SilentProgress()
    drawn = 0
    for frame in frames:
        path = run.mask_path(frame.name)
        if path.exists():
            writer.write(overlay(frame.image, read_written_map(path)), frame.time)
            progress.advance()
            drawn += 1
    if not drawn:
        raise VideoError(f"no frame of the video has a mask in '{run.path}'; give the video that the run is of")
    return drawn


def write_overlay(run: RunFolder, video: Video | Clip, progress: Progress | None = None) -> Path:
    """Returns the path of overlay.mp4 in the run's folder, written atomically: H.264, yuv420p, faststart.

    A video whose frame rate is not known is shown at 24 frames per second.

    Raises:
        VideoError: if no frame of the video has a mask in the run, or the video cannot be read a second time.
    """
    path = run.path / "overlay.mp4"
    with VideoWriter(path, fps=video.fps or DEFAULT_FPS, width=video.width, height=video.height) as writer:
        render_overlay(run, video, writer, progress)
    return path


class LiveOverlay:
    """overlay.mp4 drawn while frames come, for streams, which cannot be read a second time.

    Used as a context manager; the file appears, whole, with `finish`, and not at all without it.
    """

    def __init__(self, run: RunFolder, video: Video | Clip) -> None:
        """Prepares to draw for a run."""
        rate = video.fps or DEFAULT_FPS
        self._writer = VideoWriter(run.path / "overlay.mp4", fps=rate, width=video.width, height=video.height)

    def draw(self, frame: FrameLike, labels: LabelMap) -> None:
        """Adds a frame with its labels drawn over it."""
        self._writer.write(overlay(frame.image, labels), frame.time)

    def finish(self) -> None:
        """Puts the file in place."""
        self._writer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.discard()
