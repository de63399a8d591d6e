"""One video being tracked: what is written of each frame, drawn and listed."""

import json
import logging
from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from undertow.backbones import Backbone
from undertow.base import Progress, atomic_path
from undertow.drawing import overlay
from undertow.masks import LabelMap, label_map_rles, object_ids, read_written_map, too_small, write_label_map
from undertow.runs.folder import Folder
from undertow.runs.record import decimal_seconds
from undertow.runs.task import Given
from undertow.tracking import MaskTracker, Refiner, TrackResult, TrackSettings, propagate, resolve
from undertow.tracking.backward import BackwardPass, asked_backward
from undertow.tracking.conditions import asked_kernels, asked_refiner
from undertow.tracking.cues import Masks
from undertow.video import Clip, Frame

log = logging.getLogger(__name__)

FIGURES = ("margin", "mass", "presence")
COLUMNS = "frame,time,object,area,margin,mass,presence,lost"
MASKS, SOFT, SCORES, RLES, BACKWARD = "masks", "soft", "scores.csv", "masks.json", "backward"


class TrackJob:
    """One video being tracked."""

    def __init__(
        self,
        tracker: MaskTracker,
        masks: Mapping[int, LabelMap],
        refiner: Refiner | None = None,
        backward: BackwardPass | None = None,
    ) -> None:
        """Begins before the first frame.

        Args:
            tracker: Before its first frame, too.
            masks: Label maps by frame number.
            refiner: What makes better masks of the tracker's.
            backward: What carries the masks back, before the first frame is tracked.
        """
        self.tracker, self.masks, self.refiner, self.backward = tracker, masks, refiner, backward
        self.batch = tracker.settings.batch
        self.facts: dict[str, Any] = {}
        if tracker.tuned is not None:
            self.facts["tuned"] = tracker.tuned.fingerprint()
        if refiner is not None:
            self.facts["refiner"] = refiner.facts()

    def run(self, frames: Iterable[Frame], progress: Progress) -> Iterator[TrackResult]:
        """Yields each frame's label map."""
        frames, backward = iter(frames), self.backward
        first = next(frames, None)
        if first is None:
            return
        if backward is not None and first.index < backward.last and backward.run(self.refiner, progress):
            progress.start("track", backward.clip.frame_count)
        merge = None if backward is None else backward.merged
        for _, result in propagate(chain([first], frames), self.masks, self.tracker, self.refiner, merge):
            yield result

    def state(self) -> Mapping[str, Tensor]:
        """Returns the tracker's state; before the first mask there is nothing in it."""
        return self.tracker.state() if self.tracker.ids else {"before": torch.ones(1)}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Goes on from a tracker's state."""
        if "before" not in tensors:
            self.tracker.restore(tensors)

    def write(self, run: Folder, result: TrackResult) -> Mapping[str, Any]:
        """Writes the mask of a frame, and returns run lengths and scores of its objects."""
        return write_frame(run, result)

    def draw(self, run: Folder, frame: Frame, view: str) -> UInt8[np.ndarray, "h w 3"] | None:
        """Returns a frame with its mask over it."""
        path = run.file(MASKS, frame.name, ".png")
        return overlay(frame.image, read_written_map(path)) if path.exists() else None

    def finish(self, run: Folder, progress: Progress) -> None:
        """Writes masks.json and scores.csv in the order of frames."""
        write_tables(run, run.lines())
        if self.backward is not None:
            self.backward.close()


def start(
    settings: TrackSettings, backbone: Backbone, clip: Clip, given: Given[Masks], out: Path | None, progress: Progress
) -> TrackJob:
    """Returns a job on a clip, after kernels were learned if that is asked for; see `Task.start`."""
    grid = resolve(settings, backbone, clip.height, clip.width, tuned=settings.tuned).grid
    for index, labels in given.value.items():
        if small := too_small(labels, grid):
            log.warning(
                "the mask of frame %d: %s smaller than a cell of the model's grid, and may be lost at once; "
                "use a larger --size",
                index,
                f"object {small[0]} is" if len(small) == 1 else f"objects {', '.join(map(str, small))} are",
            )
    tuned = asked_kernels(settings, backbone, clip, given.value, out, progress)
    back, forth = (MaskTracker(backbone, settings, tuned) for _ in range(2))
    backward = asked_backward(back, given.value, clip, None if out is None else out / BACKWARD)
    return TrackJob(forth, given.value, asked_refiner(settings, backbone), backward)


def write_frame(run: Folder, result: TrackResult) -> dict[str, Any]:
    """Writes the mask of a frame, and its soft masks if they are kept; returns what the tables say of it."""
    path = run.file(MASKS, result.name, ".png")
    write_label_map(path, result.labels)
    files = [f"{MASKS}/{path.name}"]
    if result.soft is not None:
        kept = run.file(SOFT, result.name, ".npz")
        result.soft.write(kept)
        files.append(f"{SOFT}/{kept.name}")
    return {
        "files": files,
        "rles": label_map_rles(result.labels, object_ids(result.labels)),
        "scores": {
            object_id: [int(score.area), *(float(getattr(score, name)) for name in FIGURES), bool(score.lost)]
            for object_id, score in sorted(result.scores.items())
        },
    }


def write_tables(run: Folder, lines: Iterable[Mapping[str, Any]]) -> None:
    """Writes the tables of a run.

    masks.json has a row for each object seen in a frame, with the time as an exact fraction of seconds ("1001/30000";
    `Fraction` reads it) and an `rle` that `pycocotools.mask.decode` takes. scores.csv has a row for each object
    tracked, seen or not, with the time in decimal seconds to the nanosecond.

    Args:
        run: The run.
        lines: Of the journal, in the order of frames; they are gone through once.
    """
    with (
        atomic_path(run.path / RLES) as rles,
        atomic_path(run.path / SCORES) as scores,
        rles.open("w", encoding="utf-8") as objects,
        scores.open("w", encoding="utf-8") as figures,
    ):
        separator = "["
        figures.write(COLUMNS + "\n")
        for line in lines:
            for object_id, rle in line["rles"].items():
                row = {"frame": line["frame"], "time": line["time"], "object": int(object_id), "rle": rle}
                objects.write(separator + "\n" + json.dumps(row))
                separator = ","
            seconds = decimal_seconds(Fraction(line["time"]))
            for object_id, (area, *values, lost) in line["scores"].items():
                shown = ",".join(f"{value:.6f}" for value in values)
                figures.write(f"{line['frame']},{seconds},{object_id},{area},{shown},{int(lost)}\n")
        objects.write("\n]\n" if separator == "," else "[]\n")
