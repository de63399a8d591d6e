"""A recording for the viewer of rerun: masks, classes or points over time, and the pictures if the video is given."""

import errno
import os
from typing import Any, ClassVar

import numpy as np

from undertow.base import SettingsError, atomic_path
from undertow.export.exporter import Exporter, Plan, Shot
from undertow.export.run import OF_OBJECTS
from undertow.masks import object_colour

# Of the pictures, which are there to be looked at.
JPEG_QUALITY = 90


class Rerun(Exporter):
    """CLIP.rrd, on the timelines "frame" and "time", with the ids of the run and what objects are called."""

    tasks: ClassVar[tuple[str, ...]] = (*OF_OBJECTS, "parse", "points")
    template, fields = "{clip}", ()

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan)
        self._library, self._first = _library(), plan.run.frames.index(plan.frames[0])

    def open(self) -> None:
        """Begins to write."""
        super().open()
        library, temporary = self._library, self.stack.enter_context(atomic_path(self.plan.file(".rrd")))
        self._stream = library.RecordingStream("undertow", send_properties=False)
        self._stream.set_log_time_enabled(False)
        self._stream.set_log_tick_enabled(False)
        self._stream.save(temporary)
        self.stack.callback(self._stream.disconnect)
        legend = [(number, name, object_colour(number)) for number, name in self.plan.names.items()]
        self._stream.log("clip", library.AnnotationContext(legend), static=True)

    def frame(self, shot: Shot) -> None:
        """Writes a frame."""
        library, stream = self._library, self._stream
        stream.set_time("frame", sequence=shot.number)
        stream.set_time("time", duration=float(shot.frame.time))
        if self.plan.settings.video is not None:
            stream.log("clip/picture", library.Image(shot.image).compress(jpeg_quality=JPEG_QUALITY))
        if self.plan.run.task == "points":
            at, tracks = self._first + shot.place, self.plan.run.tracks
            seen = [number for number in self.plan.names if tracks.visible[number, at]]
            where = tracks.positions[seen, at].astype(np.float32).reshape(-1, 2)
            stream.log("clip/points", library.Points2D(where, class_ids=np.array(seen, np.uint16)))
        else:
            stream.log("clip/masks", library.SegmentationImage(shot.labels))

    def close(self) -> None:
        """Finishes the file."""
        try:
            self._stream.flush()
        except RuntimeError as error:
            # The thread that writes has stopped, and has only printed why.
            path = str(self.plan.file(".rrd"))
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path) from error
        super().close()


def _library() -> Any:
    try:
        import rerun
    except ImportError as error:
        raise SettingsError('rerun needs the package rerun-sdk; pip install "undertow[rerun]"') from error
    return rerun
