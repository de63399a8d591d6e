"""Corrections: a mask given later, at a frame of a complete run, is carried on from there.

Tracking goes on from the corrected frame up to the next frame whose mask the user gave, or to the end. Frames before
it and from the next given mask on stay as they are, to the last byte. The tracker starts from what a user sees: the
given masks before the corrected frame, and the masks that the run has for the frames just before it; so a correction
costs the same however long the run.

The new frames are made in the hidden folder `.correction` of the run and put in place when all are there. Interrupted
before that, a correction has changed nothing; interrupted after, it is completed by the same command.
"""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from undertow.base import Progress, SettingsError, atomic_path, exclusive, write_json
from undertow.masks import LabelMap, object_ids, read_written_map
from undertow.runs.folder import RunFolder
from undertow.runs.room import JOURNAL
from undertow.tracking import MaskTracker, Refiner, propagate
from undertow.video import Clip, Video, ranges

STAGING = ".correction"
CHANGED = "changed.json"


@dataclass(frozen=True)
class Correction:
    """What a correction did.

    Attributes:
        frame: number of the corrected frame.
        last: number of the last frame that was tracked again.
        changed: numbers of the frames whose masks are no longer what they were.
    """

    frame: int
    last: int
    changed: tuple[int, ...]

    def __str__(self) -> str:
        again = f"frames {self.frame} to {self.last} were tracked again"
        return f"{again}; changed: {ranges(self.changed)}" if self.changed else f"{again}; none changed"


def new_masks(out: Path, record: Mapping[str, Any]) -> list[int]:
    """Returns the frames whose masks are new or other in `record`, if that is all that differs from a complete run.

    Args:
        out: the folder, which may hold such a run or not.
        record: run.json as it would be for what is asked now.
    """
    earlier = _complete_run(out)
    before, now = _given(earlier), _given(record)
    others = {**earlier, **record}.keys() - {"cues"}
    if any(earlier.get(name) != record.get(name) for name in others) or not before.keys() <= now.keys():
        return []
    return sorted(frame for frame, digest in now.items() if before.get(frame) != digest)


def correct(
    out: Path,
    video: Video | Clip,
    masks: Mapping[int, LabelMap],
    frame: int,
    tracker: MaskTracker,
    record: Mapping[str, Any],
    progress: Progress,
    refiner: Refiner | None = None,
) -> Correction:
    """Carries the mask of one frame through a complete run and returns which frames changed.

    Args:
        out: the Run folder.
        video: the video of the run.
        masks: every given mask by frame number, the new one included.
        frame: the frame of the new mask.
        tracker: with the run's model and settings, and before its first frame.
        record: run.json as it would be for what is asked now; only its cues differ from the run's.
        progress: told of every frame.
        refiner: the run's, if it has one.

    Raises:
        SettingsError: if the video is a stream, which cannot be read again, or a mask of the run is gone.
    """
    if not video.again:
        raise SettingsError(f"'{out}' is a run of a stream, which cannot be read again; correct a run of a video file")
    whole, shown = video.video if isinstance(video, Clip) else video, list(video.numbers or ())
    start = shown.index(frame)
    named = set(object_ids(masks[frame]))
    # Only a mask that gives all of the corrected objects ends what the correction says of them.
    ends = [shown.index(later) for later in sorted(masks) if later > frame and named <= set(object_ids(masks[later]))]
    again = shown[start : ends[0] if ends else len(shown)]
    with exclusive(out):
        record = {**record, "cues": _logged(out, frame, record)}
        staged = out / STAGING
        with RunFolder.open(
            staged,
            video=str(record["video"]),
            model=str(record["model"]),
            settings={"frames": again},
            cues=record["cues"],
            overwrite=not _same(staged, record, again),
        ) as run:
            if not run.finished:
                _catch_up(tracker, out, whole, shown[:start], masks)
                progress.start("correct", len(again))
                for each, result in propagate(whole.frames(again), {frame: masks[frame]}, tracker, refiner):
                    run.write_result(result)
                    progress.advance(frame=each.index)
                names = {number: whole.name_of(number) for number in again}
                changed = tuple(n for n, name in names.items() if _differs(run.mask_path(name), _mask(out, name)))
                write_json(staged / CHANGED, asdict(Correction(frame, again[-1], changed)))
                run.finish()
                run.complete()
        return _put_in_place(out, staged, record)


def _complete_run(out: Path) -> dict[str, Any]:
    """Returns run.json of a folder that holds a complete run, else nothing."""
    if not (out / "scores.csv").is_file() or (out / JOURNAL).exists():
        return {}
    try:
        record = json.loads((out / "run.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) else {}


def _given(record: Mapping[str, Any]) -> dict[int, str]:
    """Returns the digest of each given mask by frame, the last one of a frame given twice."""
    cues = record.get("cues")
    log = cues if isinstance(cues, list) else []
    return {cue["frame"]: cue["sha256"] for cue in log if isinstance(cue, dict) and {"frame", "sha256"} <= cue.keys()}


def _logged(out: Path, frame: int, record: Mapping[str, Any]) -> list[Any]:
    """Returns the cues of a run with those that are new in `record`; of other new masks, nothing is known yet."""
    earlier = _complete_run(out)["cues"]
    fresh = [cue for cue in record["cues"] if cue not in earlier]
    return [*earlier, *(cue for cue in fresh if not isinstance(cue, dict) or cue.get("frame", frame) == frame)]


def _same(staged: Path, record: Mapping[str, Any], again: list[int]) -> bool:
    """Returns whether a staged correction is of the same masks and whole; a part of one is made anew."""
    try:
        earlier = json.loads((staged / "run.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    same = earlier.get("cues") == record["cues"] and earlier.get("settings") == {"frames": again}
    return same and (staged / CHANGED).is_file() and (staged / "scores.csv").is_file()


def _catch_up(tracker: MaskTracker, out: Path, video: Video, before: list[int], masks: Mapping[int, LabelMap]) -> None:
    """Shows a tracker the given masks before a frame, and the run's masks of the frames just before it."""
    anchors = [index for index in before if index in masks]
    for frame in video.frames(anchors):
        tracker.advance(frame, tracker.observe([frame])[0], masks[frame.index])
    if not anchors:
        return
    recent = before[max(0, len(before) - tracker.resolved.recent) :]
    for frame in video.frames([index for index in recent if index > anchors[0] and index not in masks]):
        tracker.remember(frame, tracker.observe([frame])[0], read_written_map(_mask(out, frame.name)))


def _mask(out: Path, name: str) -> Path:
    path = out / "masks" / f"{name}.png"
    if not path.is_file():
        raise SettingsError(f"the run in '{out}' lacks the mask '{path}'; add --overwrite to make the run again")
    return path


def _differs(one: Path, other: Path) -> bool:
    return not np.array_equal(read_written_map(one), read_written_map(other))


def _put_in_place(out: Path, staged: Path, record: Mapping[str, Any]) -> Correction:
    """Moves the staged frames into the run; done again after an interruption, it ends the same."""
    facts = json.loads((staged / CHANGED).read_text(encoding="utf-8"))
    correction = Correction(facts["frame"], facts["last"], tuple(facts["changed"]))
    # The picture of the masks is no longer true from here on.
    (out / "overlay.mp4").unlink(missing_ok=True)
    for name in ("scores.csv", "masks.json"):
        _splice(out / name, staged / name, correction)
    for mask in sorted((staged / "masks").glob("*.png")):
        os.replace(mask, out / "masks" / mask.name)
    log = {"corrected": {"frame": correction.frame, "last": correction.last, "changed": ranges(correction.changed)}}
    write_json(out / "run.json", {**record, "cues": [*record["cues"], log]})
    shutil.rmtree(staged)
    return correction


def _splice(table: Path, staged: Path, correction: Correction) -> None:
    """Replaces the rows of the corrected frames in a table by the staged ones, a line at a time."""
    rows = _csv_rows if table.suffix == ".csv" else _json_rows
    head, separator, tail = ("", "\n", "\n") if table.suffix == ".csv" else ("[\n", ",\n", "\n]\n")

    def spliced() -> Iterator[str]:
        placed = False
        for number, line in rows(table):
            if number is not None and correction.frame <= number <= correction.last:
                continue
            if number is not None and number > correction.last and not placed:
                placed = True
                yield from (new for n, new in rows(staged) if n is not None)
            yield line
        if not placed:
            yield from (new for n, new in rows(staged) if n is not None)

    with atomic_path(table) as temporary, temporary.open("w", encoding="utf-8") as file:
        empty = True
        for line in spliced():
            file.write((head if empty else separator) + line)
            empty = False
        file.write("[]\n" if empty and head else tail)


def _csv_rows(path: Path) -> Iterator[tuple[int | None, str]]:
    """Yields the lines of scores.csv with their frames, the heading with none."""
    with path.open(encoding="utf-8") as file:
        for place, line in enumerate(file):
            yield (None if place == 0 else int(line.split(",", 1)[0])), line.rstrip("\n")


def _json_rows(path: Path) -> Iterator[tuple[int | None, str]]:
    """Yields the rows of masks.json, which are one to a line."""
    with path.open(encoding="utf-8") as file:
        for line in file:
            if line.startswith("{"):
                row = line.rstrip("\n").removesuffix(",")
                yield int(json.loads(row)["frame"]), row
