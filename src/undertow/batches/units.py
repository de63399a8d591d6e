"""The unit of a batch: the run of one clip, done by whoever has the model loaded."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, process_time
from typing import Any

from undertow import __version__
from undertow.base import SettingsError, inside
from undertow.batches.manifest import Row
from undertow.batches.settings import BatchSettings
from undertow.engines import Loaded, Steps, Unit
from undertow.runs.record import plain, read_record


@dataclass(frozen=True)
class ClipUnit(Unit):
    """One row of a batch; names and settings, so that it can be sent anywhere."""

    row: Row
    settings: BatchSettings

    @property
    def title(self) -> str:
        """Returns the row."""
        return self.row.title

    @property
    def group(self) -> str:
        """Returns the model, which all rows share."""
        return self.settings.model

    @property
    def length(self) -> int:
        """Returns one: progress is counted in clips."""
        return 1

    @property
    def cost(self) -> int:
        """Returns the bytes of the video file, which are there without opening it."""
        path = Path(self.row.request.video)
        return path.stat().st_size if path.is_file() else 0

    @property
    def device(self) -> str | None:
        """Returns the device of the batch."""
        return self.settings.device

    @property
    def folder(self) -> Path:
        """The folder of the run.

        Raises:
            SettingsError: if a link leads out of the batch's folder.
        """
        return inside(self.settings.out, self.row.out, links=False)

    @property
    def digest(self) -> str:
        """Of what is asked for, and of sizes and dates of files that are named; while it is the same, so is the run."""
        request, how = self.row.request, self.settings
        texts = [request.video, how.model, *(text for _, text in request.cues)]
        names = sorted(
            {name for text in texts for name in (text, text.rpartition("@")[0], text.partition("=")[2]) if name}
        )
        there = [(name, _stamp(Path(name))) for name in names]
        facts = [__version__, how.task, how.model, how.threads, how.dtype, plain(request), there]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]

    def complete(self) -> bool:
        """Returns whether the run is there, whole as far as its record says."""
        try:
            record = read_record(self.folder)
        except SettingsError:
            return False
        return record is not None and record.complete is not None

    def steps(self, loaded: Loaded) -> Steps:
        """Does the run, or what is left of it, and returns the number of its frames and the seconds that it took."""
        from undertow.backbones import Backbone, load
        from undertow.runs import execute
        from undertow.runs.budget import machine_memory
        from undertow.video import is_stream

        task, request, how = self.settings.described, self.row.request, self.settings
        begun, used = monotonic(), process_time()
        if is_stream(request.video):
            raise SettingsError("a batch reads files and folders of frames; save the stream to a file")

        def model() -> Backbone:
            made: Backbone = loaded.get(
                (how.model, how.device, how.dtype),
                lambda: load(how.model, device=how.device, dtype=how.dtype, sites=task.name),
            )
            return made

        with request.clip() as clip:
            given = request.given(task, clip, model)
            budget = how.max_memory or machine_memory(model().device)
            execute(
                task, self.folder, clip, given, model(), request.settings, views=request.views,
                overwrite=how.overwrite, budget=budget,
            )  # fmt: skip
            frames = clip.frame_count
        yield {"clip": self.row.out}
        seconds, processor = round(monotonic() - begun, 3), round(process_time() - used, 3)
        return {"frames": frames, "seconds": seconds, "processor": processor}

    def clear(self) -> None:
        """Leaves everything as it is: a run clears up itself when it goes on."""


def _stamp(path: Path) -> Any:
    """Returns size and date of a file or folder; nothing if it is not there."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    return found.st_size, found.st_mtime_ns
