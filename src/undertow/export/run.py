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

from undertow.base import SettingsError, atomic_path, inside
from undertow.export.converting import annotations, detections, needed
from undertow.masks import VOID, LabelMap, read_written_map
from undertow.runs.record import FRAMES, Record, read_record

# Of a run whose frames have no times that differ.
DEFAULT_FPS = Fraction(24)
# Tasks whose masks are of objects.
OF_OBJECTS = ("track", "refer")


class RunFrame(NamedTuple):
    """A frame of a run.

    Attributes:
        number: 0-based number in the whole video.
        time: Exact time in seconds.
        name: Stem of the frame's files.
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

    def write(self, path: Path) -> None:
        """Writes them in 256 levels: a byte for each cell and object, before they are packed."""
        with atomic_path(path) as temporary:
            np.savez_compressed(temporary, soft=np.round(self.maps * 255).astype(np.uint8), ids=self.ids)


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

        run = ut.open_run("out")
        run.masks(30), list(run.scores())

    Raises:
        SettingsError: if the folder has no run, or the run is unfinished or damaged.
    """
    folder = Path(path)
    record = read_record(folder) if folder.is_dir() else None
    if record is None:
        raise SettingsError(f"'{path}' holds no run; name the --out of a finished one")
    if record.complete is None:
        raise SettingsError(f"the run in '{path}' is not finished; wait for it, or give its command again")
    return Run(folder, record, _frames(folder))


def grid_of(record: Record) -> tuple[int, int] | None:
    """Returns rows and columns of a run's tokens, if run.json says."""
    found: Any = record.settings.get("grid")
    whole = isinstance(found, list) and len(found) == 2 and all(type(each) is int and each > 0 for each in found)
    return (found[0], found[1]) if whole else None


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
        said: Any = self._json("words.json") if self.task == "refer" else ()
        words = {each["object"]: str(each["text"]) for each in said}
        numbers = sorted({int(row["object"]) for row in self.scores()})
        return {number: words.get(number, f"object_{number}") for number in numbers}

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
        known = maps.dtype == np.uint8 or maps.dtype.kind == "f"
        if maps.ndim != 3 or not known or ids.shape != maps.shape[:1] or ids.dtype.kind not in "iu":
            raise SettingsError(f"'{path}' holds no soft masks; make the run again with --overwrite")
        shares = maps.astype(np.float32)
        return SoftMasks(ids.astype(np.uint16), shares / np.maximum(shares.sum(0), 1e-6))

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
        """Returns a `pandas.DataFrame`; needs pandas.

        It has the rows of scores.csv, or of tracks.csv of `points`; of `parse` one for each frame and class on it, with
        name, area and confidence.

        Raises:
            SettingsError: if the table is damaged, or pandas is not installed.
        """
        pandas = needed("pandas", "to_pandas")
        if self.task == "parse":
            return pandas.DataFrame(self._classes())
        table = "tracks.csv" if self.task == "points" else "scores.csv"
        try:
            return pandas.read_csv(self.path / table)
        except (OSError, ValueError) as error:
            raise SettingsError(f"'{self.path / table}' is damaged; make the run again with --overwrite") from error

    def to_supervision(self, number: int) -> Any:
        """Returns the objects of a frame as `supervision.Detections`, with ids as `tracker_id`; needs supervision.

        Classes of `parse` are `class_id` instead.
        """
        return detections(self.masks(number), classes=self.task == "parse")

    def to_coco(self, number: int) -> list[dict[str, Any]]:
        """Returns the objects of a frame as COCO annotations with compressed run lengths and `track_id`.

        Classes of `parse` are `category_id` instead.
        """
        return annotations(self.masks(number), classes=self.task == "parse")

    def _classes(self) -> list[dict[str, Any]]:
        """Returns what labels.json says of each class on each frame that it is on."""
        rows = self._json("labels.json")["classes"]
        try:
            return [
                {
                    "frame": frame.number, "time": float(frame.time), "class": int(row["id"]),
                    "name": str(row["name"]), "area": int(row["areas"][at]),
                    "confidence": float(row["confidences"][at]),
                }
                for at, frame in enumerate(self.frames)
                for row in rows
                if row["areas"][at]
            ]  # fmt: skip
        except (TypeError, ValueError, KeyError, IndexError) as error:
            raise SettingsError(
                f"'{self.path / 'labels.json'}' is damaged; make the run again with --overwrite"
            ) from error

    def _needs_masks(self) -> None:
        if self.task not in (*OF_OBJECTS, "parse"):
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
