"""A finished run, read back frame by frame: masks, soft masks, scores and tracks, by frame number.

Nothing here needs a model or torch, and nothing is read before it is asked for.
"""

import csv
import json
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float32, UInt16
from PIL import Image

from undertow.base import SettingsError, inside
from undertow.masks import VOID, LabelMap, label_map_rles, object_ids, read_written_map
from undertow.runs.record import FRAMES, Record, read_record

# Of a run whose frames have no times that differ.
DEFAULT_FPS = Fraction(24)


class RunFrame(NamedTuple):
    """A frame of a run.

    Attributes:
        number: 0-based number in the whole video.
        time: Exact time in seconds.
        name: Stem of the files made of it.
    """

    number: int
    time: Fraction
    name: str


@dataclass(frozen=True)
class SoftMasks:
    """How much of each cell of a grid belongs to each object.

    Attributes:
        ids: Object of each map; 0 is the background.
        maps: Shares in [0, 1], which sum to one over all maps.
    """

    ids: UInt16[np.ndarray, " m"]
    maps: Float32[np.ndarray, "m h w"]


@dataclass(frozen=True)
class RunTracks:
    """Points of a run.

    Attributes:
        positions: (x, y) in pixels.
        visible: Whether each point can be seen.
        confidence: How sure that is, in [0, 1].
        queries: (place of the frame in the run, x, y) as asked.
    """

    positions: Float[np.ndarray, "q t 2"]
    visible: Bool[np.ndarray, "q t"]
    confidence: Float[np.ndarray, "q t"]
    queries: Float[np.ndarray, "q 3"]


def open_run(path: Path | str) -> "Run":
    """Returns the finished run in a folder.

    Raises:
        SettingsError: if there is none, it is still being written, or it is damaged.
    """
    folder = Path(path)
    record = read_record(folder) if folder.is_dir() else None
    if record is None:
        raise SettingsError(f"'{path}' holds no run; name the --out of a finished one")
    if record.complete is None:
        raise SettingsError(f"the run in '{path}' is not finished; wait for it, or give its command again")
    return Run(folder, record, _frames(folder))


class Run:
    """A finished run; see `open_run`.

    Attributes:
        path: Its folder.
        record: What run.json says.
        frames: Its frames, in order.
    """

    def __init__(self, path: Path, record: Record, frames: Sequence[RunFrame]) -> None:
        """Takes what `open_run` found."""
        self.path, self.record, self.frames = path, record, frames
        self._numbers = [frame.number for frame in frames]
        self._tracks: RunTracks | None = None

    @property
    def task(self) -> str:
        """Name of the task, such as "track"."""
        return self.record.task

    @property
    def clip(self) -> str:
        """What the video is called."""
        return self.record.source or self.path.resolve().name

    @property
    def fps(self) -> Fraction:
        """Mean frames per second, exact."""
        if len(self.frames) < 2 or self.frames[-1].time <= self.frames[0].time:
            return DEFAULT_FPS
        return (len(self.frames) - 1) / (self.frames[-1].time - self.frames[0].time)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the frames, in pixels.

        Raises:
            SettingsError: if the run does not say, and has no masks either.
        """
        if self.record.size is not None:
            return self.record.size
        self._needs_masks()
        with Image.open(self._mask_file(self.frames[0])) as image:
            return image.height, image.width

    @property
    def names(self) -> Mapping[int, str]:
        """What objects, classes or points are called, by id, ascending; points count from 0."""
        if self.task == "points":
            return {number: f"point_{number}" for number in range(len(self.tracks.queries))}
        if self.task == "parse":
            rows = self._json("labels.json")["classes"]
            return {int(row["id"]): str(row["name"]) for row in rows if int(row["id"]) != VOID}
        return {number: f"object_{number}" for number in sorted({int(row["object"]) for row in self.scores()})}

    def frame(self, number: int) -> RunFrame:
        """Returns a frame by its number in the video.

        Raises:
            SettingsError: if the run has no such frame.
        """
        place = bisect_left(self._numbers, number)
        if place == len(self._numbers) or self._numbers[place] != number:
            raise SettingsError(f"the run in '{self.path}' has no frame {number}; it has {self._span()}")
        return self.frames[place]

    def masks(self, number: int) -> LabelMap:
        """Returns the label map of a frame at native size; of classes, as edited names want them.

        Raises:
            SettingsError: if the run has no such frame or no masks.
        """
        self._needs_masks()
        return read_written_map(self._mask_file(self.frame(number)))

    def soft(self, number: int) -> SoftMasks | None:
        """Returns the soft masks of a frame; `None` if the run did not keep them, or none was known on that frame.

        Raises:
            SettingsError: if the file is damaged.
        """
        path = inside(self.path / "soft", self.frame(number).name, suffix=".npz", source=self.path / FRAMES)
        if not path.exists():
            return None
        arrays = self._arrays(path)
        maps = next((arrays[name] for name in ("soft", "probabilities") if name in arrays), np.zeros(0))
        ids = np.asarray(arrays.get("ids"))
        if maps.ndim != 3 or maps.dtype.kind != "f" or ids.shape != maps.shape[:1] or ids.dtype.kind not in "iu":
            raise SettingsError(f"'{path}' holds no soft masks; make the run again with --overwrite")
        return SoftMasks(ids.astype(np.uint16), maps.astype(np.float32))

    def scores(self) -> Iterator[dict[str, str]]:
        """Yields the rows of scores.csv, as text: frame, time, object, area and what the tracker says of it.

        Raises:
            SettingsError: if the run has no such table.
        """
        path = self.path / "scores.csv"
        if not path.is_file():
            raise SettingsError(f"the run of {self.task} in '{self.path}' has no scores; name a run of track")
        with path.open(encoding="utf-8", newline="") as file:
            yield from csv.DictReader(file)

    @property
    def tracks(self) -> RunTracks:
        """The points of a run of `points`.

        Raises:
            SettingsError: if it is another run, or the file is damaged.
        """
        if self.task != "points":
            raise SettingsError(f"the run of {self.task} in '{self.path}' has no tracks; name a run of points")
        if self._tracks is None:
            arrays = self._arrays(self.path / "tracks.npz")
            try:
                found = RunTracks(*(arrays[name] for name in ("tracks", "visibility", "confidence", "queries")))
                whole = found.positions.shape == (len(found.queries), len(self.frames), 2)
            except (KeyError, TypeError):
                whole = False
            if not whole:
                raise SettingsError(f"'{self.path / 'tracks.npz'}' is damaged; make the run again with --overwrite")
            self._tracks = found
        return self._tracks

    def to_pandas(self) -> Any:
        """Returns scores (or, of points, positions) as a `pandas.DataFrame`; needs pandas."""
        import pandas

        return pandas.read_csv(self.path / ("tracks.csv" if self.task == "points" else "scores.csv"))

    def to_supervision(self, number: int) -> Any:
        """Returns the objects of a frame as `supervision.Detections`, with ids as `tracker_id`; needs supervision."""
        return detections(self.masks(number))

    def to_coco(self, number: int) -> list[dict[str, Any]]:
        """Returns the objects of a frame as COCO annotations with compressed run lengths."""
        return annotations(self.masks(number))

    def _needs_masks(self) -> None:
        if self.task not in ("track", "refer", "parse"):
            raise SettingsError(
                f"the run of {self.task} in '{self.path}' has no masks; name a run of track, refer or parse"
            )

    def _mask_file(self, frame: RunFrame) -> Path:
        edited = inside(self.path / "edited", frame.name, suffix=".png", source=self.path / FRAMES)
        if edited.exists():
            return edited
        return inside(self.path / "masks", frame.name, suffix=".png", source=self.path / FRAMES)

    def _json(self, name: str) -> Any:
        try:
            return json.loads((self.path / name).read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise SettingsError(f"'{self.path / name}' is damaged; make the run again with --overwrite") from error

    def _arrays(self, path: Path) -> dict[str, np.ndarray]:
        try:
            with path.open("rb") as handle, np.load(handle) as arrays:
                return {name: arrays[name] for name in arrays.files}
        except Exception as error:  # whatever a damaged file makes numpy and zipfile raise
            raise SettingsError(f"'{path}' cannot be read; make the run again with --overwrite") from error

    def _span(self) -> str:
        return f"{len(self._numbers)}, from {self._numbers[0]} to {self._numbers[-1]}"


def detections(labels: LabelMap) -> Any:
    """Returns the objects of a label map as `supervision.Detections`, with ids as `tracker_id`."""
    import supervision

    ids = object_ids(labels)
    masks = np.array([labels == each for each in ids], bool).reshape(len(ids), *labels.shape)
    return supervision.Detections(
        xyxy=supervision.mask_to_xyxy(masks).astype(np.float32), mask=masks,
        class_id=np.zeros(len(ids), int), tracker_id=np.array(ids, int),
    )  # fmt: skip


def annotations(labels: LabelMap) -> list[dict[str, Any]]:
    """Returns the objects of a label map as COCO annotations with compressed run lengths."""
    return [
        annotation(labels == each, rle) | {"track_id": each}
        for each, rle in label_map_rles(labels, object_ids(labels)).items()
    ]


def annotation(mask: Bool[np.ndarray, "h w"], rle: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what COCO says of a mask: run lengths, area, box (x, y, width, height) and that it is no crowd."""
    left, top, right, bottom = bounds(mask)
    return {
        "segmentation": dict(rle), "area": int(mask.sum()), "bbox": [left, top, right - left, bottom - top],
        "iscrowd": 0,
    }  # fmt: skip


def bounds(mask: Bool[np.ndarray, "h w"]) -> tuple[int, int, int, int]:
    """Returns the box (left, top, right, bottom) around a mask with at least one pixel, the last two exclusive."""
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _frames(folder: Path) -> list[RunFrame]:
    """Returns the frames of a run in the order of frames.json."""
    path = folder / FRAMES
    try:
        with path.open(encoding="utf-8") as file:
            rows = json.load(file)
        found = [RunFrame(int(row["frame"]), Fraction(row["time"]), str(row["name"])) for row in rows]
    except FileNotFoundError:
        raise SettingsError(
            f"the run in '{folder}' is of an earlier version and does not list its frames; give its command again with "
            "--overwrite"
        ) from None
    except (OSError, ValueError, TypeError, KeyError, ArithmeticError, RecursionError) as error:
        raise SettingsError(f"'{path}' is damaged; make the run again with --overwrite") from error
    numbers = [frame.number for frame in found]
    if not found or any(later <= sooner for sooner, later in pairwise(numbers)):
        raise SettingsError(f"'{path}' lists no frames in order; make the run again with --overwrite")
    return found
