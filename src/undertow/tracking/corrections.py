"""Corrections: a mask given later, at a frame of a complete run, is carried on from there.

Tracking goes on from the corrected frame up to the next frame whose mask the user gave, or to the end. Frames before
it and from the next given mask on stay as they are, to the last byte. The tracker starts from what a user sees: the
given masks before the corrected frame, and the masks that the run has for the frames just before it; so a correction
costs the same however long the run. If the run goes both ways, the next given mask is carried back to the corrected
frame, and both are merged between them. With `correct_back`, the same is done between the corrected frame and the given
mask before it.
"""

import csv
import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from heapq import merge
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from undertow.base import Progress, SettingsError
from undertow.masks import object_ids, read_written_map
from undertow.runs.folder import Folder
from undertow.runs.record import digests
from undertow.runs.task import Amendment, Given
from undertow.tracking import MaskTracker, TrackResult, propagate
from undertow.tracking.backward import BackwardPass, asked_backward
from undertow.tracking.cues import Masks
from undertow.tracking.job import FIGURES, MASKS, RLES, SCORES, TrackJob, write_tables
from undertow.video import Clip, Frame, ranges

log = logging.getLogger(__name__)


class Correction(TrackJob):
    """A mask of one frame being carried through a part of a complete run.

    Attributes:
        corrected: The run.
        frame: Number of the frame whose mask is new.
        numbers: Of the frames that are tracked again.
        changed: Those of them whose masks are no longer what they were, so far.
    """

    def __init__(
        self,
        fresh: TrackJob,
        run: Folder,
        clip: Clip,
        frame: int,
        numbers: Sequence[int],
        backward: BackwardPass | None = None,
    ) -> None:
        """Takes a job before its first frame, with every given mask, the new one included."""
        super().__init__(fresh.tracker, fresh.masks, fresh.refiner, backward)
        self.corrected, self.frame, self.numbers, self.changed = run, frame, numbers, list[int]()
        self._clip = clip

    def run(self, frames: Iterable[Frame], progress: Progress) -> Iterator[TrackResult]:
        """Yields the label maps of the frames that are tracked again."""
        backward, merge = self.backward, None
        if backward is not None:
            backward.run(self.refiner, progress)
            progress.start("amend", len(self.numbers))
            merge = backward.merged
        self._catch_up()
        masks = {number: self.masks[number] for number in self.numbers if number in self.masks}
        for _, result in propagate(frames, masks, self.tracker, self.refiner, merge):
            yield result
        if backward is not None:
            backward.close()

    def write(self, run: Folder, result: TrackResult) -> Mapping[str, Any]:
        """Writes the mask of a frame, and notes whether it is another than before."""
        if not np.array_equal(result.labels, read_written_map(self._earlier(result.name))):
            self.changed.append(result.index)
        return super().write(run, result)

    def finish(self, run: Folder, progress: Progress) -> None:
        """Writes the tables of the whole run, and logs the correction."""
        first, last = self.numbers[0], self.numbers[-1]
        kept = (line for line in _table_lines(self.corrected.path) if not first <= line["frame"] <= last)
        write_tables(run, merge(kept, run.lines(), key=lambda line: int(line["frame"])))
        run.log({"corrected": {"frame": self.frame, "first": first, "last": last, "changed": ranges(self.changed)}})
        changed = f"changed: {ranges(self.changed)}" if self.changed else "none changed"
        log.info("frames %d to %d were tracked again; %s", first, last, changed)

    def _catch_up(self) -> None:
        """Shows the tracker the given masks before the first frame, and the run's masks of those just before it.

        A first frame whose mask gives every object again would make the tracker forget all of them.
        """
        tracker, masks = self.tracker, self.masks
        before = [number for number in self._clip.numbers or () if number < self.numbers[0]]
        anchors = [number for number in before if number in masks]
        known = {each for number in anchors for each in object_ids(masks[number])}
        if self.numbers[0] in masks and known <= set(object_ids(masks[self.numbers[0]])):
            return
        if not anchors:
            return
        for frame in self._clip.video.frames(anchors):
            tracker.advance(frame, tracker.observe([frame])[0], masks[frame.index])
        recent = before[max(0, len(before) - tracker.resolved.recent) :]
        for frame in self._clip.video.frames([n for n in recent if n > anchors[0] and n not in masks]):
            tracker.remember(frame, tracker.observe([frame])[0], read_written_map(self._earlier(frame.name)))

    def _earlier(self, name: str) -> Path:
        return self.corrected.file(MASKS, name, ".png")


def corrections(
    run: Folder, clip: Clip, given: Given[Masks], start: Callable[[], TrackJob]
) -> Iterator[Amendment] | None:
    """Returns the corrections that make a complete run one of the masks given now, in the order of their frames.

    `None` if there is another difference than masks that are new or other than before.
    """
    before, now = digests(run.record.cues), digests(given.log)
    if not before.keys() <= now.keys():
        return None
    fresh = [frame for frame in given.frames if before.get(f"frame {frame}") != now[f"frame {frame}"]]
    return (_correction(run, clip, given, start(), frame) for frame in fresh)


def _correction(run: Folder, clip: Clip, given: Given[Masks], job: TrackJob, frame: int) -> Amendment:
    masks = given.value
    named = set(object_ids(masks[frame]))
    # Only masks that give all of the corrected objects end what the correction says of them.
    ends = [number for number in given.frames if number != frame and named <= set(object_ids(masks[number]))]
    before, after = [n for n in ends if n < frame], [n for n in ends if n > frame]
    numbers = [n for n in clip.numbers or () if not after or n < after[0]]
    back = job.tracker.settings.correct_back
    numbers = [n for n in numbers if n >= frame or (back and (not before or n > before[-1]))]
    log = [cue for cue in given.log if cue not in run.record.cues and cue.get("frame", frame) == frame]
    backward = None
    if after or numbers[0] < frame:
        # As in a run, a given mask has a say in the frames before it.
        last = after[0] if after else frame
        known = {index: mask for index, mask in masks.items() if index <= last}
        tracker = MaskTracker(job.tracker.backbone, job.tracker.settings, job.tracker.tuned)
        backward = asked_backward(tracker, known, Clip(clip.video, numbers[0], last + 1, clip.every))
    return Amendment(numbers, Correction(job, run, clip, frame, numbers, backward), tuple(log))


def _table_lines(out: Path) -> Iterator[dict[str, Any]]:
    """Yields what the tables of a run say of each frame, as lines of a journal.

    Raises:
        SettingsError: if a table is gone or damaged.
    """
    try:
        rows = merge(_score_lines(out / SCORES), _object_lines(out / RLES), key=lambda line: int(line["frame"]))
        for _, both in groupby(rows, key=lambda line: int(line["frame"])):
            # The later one has the exact time.
            line: dict[str, Any] = {"rles": {}, "scores": {}}
            for part in both:
                line |= part
            yield line
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise SettingsError(
            f"the tables of the run in '{out}' cannot be read ({error}); add --overwrite to make it again"
        ) from error


def _score_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yields the scores of each frame in scores.csv."""
    with path.open(encoding="utf-8", newline="") as file:
        for frame, rows in groupby(csv.DictReader(file), key=lambda row: int(row["frame"])):
            together = list(rows)
            scores = {
                row["object"]: [row["area"], *(float(row[name]) for name in FIGURES), row["lost"]] for row in together
            }
            yield {"frame": frame, "time": str(Fraction(together[0]["time"])), "scores": scores}


def _object_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yields the run lengths of each frame in masks.json, whose rows are one to a line."""
    with path.open(encoding="utf-8") as file:
        rows = (json.loads(line.rstrip("\n").removesuffix(",")) for line in file if line.startswith("{"))
        for frame, group in groupby(rows, key=lambda row: int(row["frame"])):
            together = list(group)
            yield {
                "frame": frame,
                "time": together[0]["time"],
                "rles": {row["object"]: row["rle"] for row in together},
            }
