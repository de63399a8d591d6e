"""Pictures of a run, drawn by its job from the files of the run over the video; the files stay the result."""

from collections.abc import Sequence
from fractions import Fraction
from typing import Protocol, Self

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from undertow.base import Progress, VideoError, atomic_path
from undertow.runs.folder import Folder
from undertow.video import Clip, Frame, VideoWriter

# Of a video whose frame rate is not known (a folder, an array).
DEFAULT_FPS = Fraction(24)


class Draws(Protocol):
    """The part of a job that views need."""

    def draw(self, run: Folder, frame: Frame, view: str) -> UInt8[np.ndarray, "h w 3"] | None:
        """Returns a picture of a frame's result; see `undertow.runs.task.Job`."""


class Views:
    """Files of pictures, all drawn in one pass. Used as a context manager.

    A view in a video file has a picture of every frame that has a result; one in an image file has the first picture
    that is drawn. The files appear, whole, with `finish`, and not at all without it.
    """

    def __init__(self, run: Folder, job: Draws, clip: Clip, files: Sequence[str]) -> None:
        """Prepares to draw files such as "overlay.mp4", of which what comes before the suffix names the view."""
        self._run, self._job, self._rate = run, job, clip.fps or DEFAULT_FPS
        self._films: dict[str, VideoWriter | None] = {name: None for name in files if name.endswith(".mp4")}
        self._stills = [name for name in files if name not in self._films]

    @property
    def wanting(self) -> bool:
        """Whether more frames are needed."""
        return bool(self._films or self._stills)

    def add(self, frame: Frame) -> bool:
        """Adds a frame, and returns whether there is something to see on it."""
        drawn = False
        for name, writer in self._films.items():
            picture = self._job.draw(self._run, frame, name.removesuffix(".mp4"))
            if picture is not None:
                if writer is None:
                    height, width = picture.shape[:2]
                    writer = VideoWriter(self._run.path / name, fps=self._rate, width=width, height=height)
                    self._films[name] = writer
                writer.write(picture, frame.time)
                drawn = True
        for name in list(self._stills):
            picture = self._job.draw(self._run, frame, name.partition(".")[0])
            if picture is not None:
                with atomic_path(self._run.path / name) as temporary:
                    Image.fromarray(picture).save(temporary)
                self._stills.remove(name)
                drawn = True
        return drawn

    def finish(self) -> None:
        """Puts the files in place.

        Raises:
            VideoError: if no frame had something to see on it.
        """
        if self._stills or None in self._films.values():
            raise VideoError(
                f"no frame of the video has a result in '{self._run.path}'; give the video that the run is of"
            )
        for writer in self._films.values():
            if writer is not None:
                writer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        for writer in self._films.values():
            if writer is not None:
                writer.discard()


def render(run: Folder, job: Draws, clip: Clip, files: Sequence[str], progress: Progress) -> None:
    """Draws views of a run whose results are all there, in one pass over the video.

    The clip is read again from the start.

    Raises:
        VideoError: if no frame of the video has something to see on it, or the video cannot be read again.
    """
    if not files:
        return
    progress.start("draw", clip.frame_count)
    with Views(run, job, clip, files) as views:
        for frame in clip:
            if views.add(frame):
                progress.advance(frame=frame.index)
            if not views.wanting:
                break
        views.finish()
