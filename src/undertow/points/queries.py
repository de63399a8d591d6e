"""Which points are asked for: given one by one, as a grid, on the objects of a mask, or in a file."""

import csv
import hashlib
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64, Real
from numpy.lib import format as npy

from undertow.backbones import Backbone
from undertow.base import CueError, MemoryBudgetError
from undertow.base import memory as machine
from undertow.export.cues import take
from undertow.export.taking import is_annotations
from undertow.masks import LabelMap, object_ids
from undertow.points.settings import PointSettings
from undertow.runs.budget import shown_memory
from undertow.runs.cues import Cue
from undertow.runs.task import Given
from undertow.tracking.cues import read_masks
from undertow.video import Clip, Video

Points = Float64[np.ndarray, "q 3"]


def check_points(
    points: Real[np.ndarray, "q k"], size: tuple[int, int], length: int, first: int = 0, source: str = "the points"
) -> Points:
    """Returns points as (t, x, y) in float64.

    Args:
        points: (t, x, y), or (x, y) for points of frame `first`.
        size: (height, width) of the video.
        length: Number of its frames.
        first: Frame of points that name none.
        source: What they are, for messages.

    Raises:
        CueError: if there are none, or one is not a number, outside the frame or on a frame that is not there.
    """
    try:
        values = np.asarray(points, np.float64)
    except (TypeError, ValueError) as error:
        raise CueError(f"{source} are no array of numbers ({error}); give (q, 2) or (q, 3)") from error
    if values.ndim != 2 or values.shape[1] not in (2, 3):
        raise CueError(f"{source} have the shape {values.shape}; give (q, 2) as x, y or (q, 3) as frame, x, y")
    if not len(values):
        raise CueError(f"{source} are none; give at least one point")
    if values.shape[1] == 2:
        values = np.column_stack([np.full(len(values), float(first)), values])
    height, width = size
    frames, x, y = values.T
    for wrong, problem in (
        (~np.isfinite(values).all(1), "is not a number"),
        (frames != np.round(frames), "names a part of a frame"),
        (~((frames >= 0) & (frames < length)), f"is on a frame that is not among 0 to {length - 1}"),
        (~((x >= 0) & (x <= width) & (y >= 0) & (y <= height)), f"lies outside the frame of {width}x{height} pixels"),
    ):
        if wrong.any():
            number = int(wrong.argmax())
            frame, column, row = values[number]
            more = f", and {int(wrong.sum()) - 1} more do" if wrong.sum() > 1 else ""
            place = f"({column:g}, {row:g} on frame {frame:g})"
            raise CueError(f"point {number} of {source} {place} {problem}{more}; change or remove it")
    return values


def grid_points(side: int, size: tuple[int, int], frame: int = 0) -> Points:
    """Returns `side` by `side` points spread evenly over a frame, at the centres of equal cells, row by row.

    Raises:
        CueError: if `side` is less than 1.
    """
    if side < 1:
        raise CueError(f"a grid of {side} points across has none; give 1 or more")
    height, width = size
    steps = (np.arange(side) + 0.5) / side
    rows, columns = np.meshgrid(steps * height, steps * width, indexing="ij")
    return np.column_stack([np.full(side * side, float(frame)), columns.ravel(), rows.ravel()])


def mask_points(labels: LabelMap, spacing: float | None = None, frame: int = 0) -> Points:
    """Returns points on the objects of a label map, on a square lattice; an object that it misses gets one of its own.

    Args:
        labels: Of the frame; 0 is background.
        spacing: Of the lattice in pixels; without it, so that the objects get about 100 points together.
        frame: Its number.

    Raises:
        CueError: if no object is painted.
    """
    objects = object_ids(labels)
    if not objects:
        raise CueError(f"the mask of frame {frame} has no object; paint at least one with an id of 1 or more")
    painted = np.isin(labels, objects)
    step = max(1.0, spacing or (painted.sum() / 100) ** 0.5)
    height, width = labels.shape
    rows, columns = (np.arange(step / 2, side, step) for side in (height, width))
    y, x = (each.ravel() for each in np.meshgrid(rows, columns, indexing="ij"))
    chosen = painted[y.astype(int), x.astype(int)]
    places = np.column_stack([x[chosen], y[chosen]])
    met = set(labels[y.astype(int), x.astype(int)][chosen].tolist())
    extra = [_middle(labels == each) for each in objects if each not in met]
    places = np.concatenate([places, np.array(extra, np.float64).reshape(-1, 2)])
    return np.column_stack([np.full(len(places), float(frame)), places])


def _middle(mask: np.ndarray) -> tuple[float, float]:
    """Returns the centre (x, y) of the mask's pixel nearest to the mean of them all."""
    rows, columns = np.nonzero(mask)
    near = np.argmin((rows - rows.mean()) ** 2 + (columns - columns.mean()) ** 2)
    return columns[near] + 0.5, rows[near] + 0.5


def read_points(path: Path) -> Real[np.ndarray, "q k"]:
    """Returns the points in a file: (t, x, y), or (x, y) if it names no frames.

    A .csv file has a header with `x`, `y` and perhaps `frame`; a .npz file an array `queries` or `points` of (q, 3) as
    frame, x, y or (q, 2) as x, y, in pixels. Where it also has `frames`, as tracks.npz of `undertow points`, the frame
    of a query counts among these.

    Raises:
        CueError: naming the file, if it cannot be read so.
    """
    if not path.is_file():
        raise CueError(f"'{path}' is not a file; give a .csv or .npz file of points")
    try:
        if path.suffix.lower() == ".npz":
            return _read_npz(path)
        if path.suffix.lower() == ".csv":
            return _read_csv(path)
    except (OSError, ValueError, KeyError, EOFError, csv.Error, zipfile.BadZipFile, zlib.error) as error:
        raise CueError(f"'{path}' is not a readable file of points ({error}); write it again") from error
    raise CueError(f"'{path}' is neither a .csv nor a .npz file; convert the points to one of these")


def _read_npz(path: Path) -> Real[np.ndarray, "q k"]:
    with zipfile.ZipFile(path) as archive:
        names = {name.removesuffix(".npy") for name in archive.namelist()}
        name = next((each for each in ("queries", "points") if each in names), None)
        if name is None:
            raise CueError(f"'{path}' has no array 'queries' or 'points'; save one of (q, 3) as frame, x, y")
        with archive.open(f"{name}.npy") as member:
            # The header first: what is not a list of points is not read.
            version = npy.read_magic(member)
            read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
            shape, _, kind = read(member)
        if len(shape) != 2 or shape[1] not in (2, 3) or kind.kind not in "fiu":
            raise CueError(f"'{path}' has '{name}' of shape {shape} and type {kind}; give floats of (q, 2) or (q, 3)")
    with path.open("rb") as handle, np.load(handle) as arrays:
        points = np.asarray(arrays[name], np.float64)
        if points.shape[1] == 3 and "frames" in names:
            # What a clip looks at may begin later or leave frames out; a user names frames of the whole video.
            frames, chosen = np.asarray(arrays["frames"]), points[:, 0]
            if frames.ndim != 1 or not np.isin(chosen, np.arange(len(frames))).all():
                raise CueError(f"'{path}' has '{name}' on frames that are not among its 'frames'; write it again")
            points[:, 0] = frames[chosen.astype(int)]
        return points


def _read_csv(path: Path) -> Real[np.ndarray, "q k"]:
    with path.open(newline="", encoding="utf-8-sig") as handle:
        rows = csv.DictReader(handle)
        columns = [name.strip().lower() for name in rows.fieldnames or ()]
        rows.fieldnames = columns
        wanted = ["frame", "x", "y"] if "frame" in columns else ["x", "y"]
        missing = [name for name in wanted if name not in columns]
        if missing:
            raise CueError(f"'{path}' has no column '{missing[0]}'; give a header with x, y and perhaps frame")
        points = []
        for number, row in enumerate(rows, start=1):
            try:
                points.append([float(row[name]) for name in wanted])
            except (TypeError, ValueError):
                shown = ", ".join(f"{name} {row[name] or 'nothing'}" for name in wanted)
                raise CueError(f"row {number} of '{path}' is not a point ({shown}); give numbers") from None
    return np.array(points, np.float64).reshape(-1, len(wanted))


# Tracks, visibility, confidence, and as much again while tables are made of them.
BYTES_PER_PLACE = 40


def gather(cues: Sequence[Cue], clip: Clip, model: Callable[[], Backbone], settings: PointSettings) -> Given[Points]:
    """Returns the points that cues name, each once, in the order given.

    Args:
        cues: Points, grids, masks and files of points, their frames counted in the whole video.
        clip: The video.
        model: Not asked.
        settings: Whether masks are RGB-coded.

    Raises:
        CueError: if there are none, one is of no use, or the video cannot be read again.
        MemoryBudgetError: if the tracks would not fit in memory.
    """
    _check_video(clip)
    found = list(_points(cues, clip, mask_colors=settings.mask_colors))
    if not found:
        raise CueError("no point was given; add --point x,y or --grid N or --mask FILE or --queries FILE")
    numbers, size = clip.numbers or (), (clip.height, clip.width)
    asked = np.concatenate([check_points(each, size, numbers[-1] + 1, clip.start) for each in found])
    for frame in np.unique(asked[:, 0]).astype(int):
        if frame not in numbers:
            raise CueError(f"a point is on frame {frame}, which is not looked at; change it, --start or --every")
    asked[:, 0] = np.searchsorted(numbers, asked[:, 0])
    return given_points(clip, asked[np.sort(np.unique(asked, axis=0, return_index=True)[1])], [cue.log for cue in cues])


def given_points(
    video: Video | Clip, points: Real[np.ndarray, "q k"], typed: Sequence[Mapping[str, Any]] = ()
) -> Given[Points]:
    """Returns points as cues of a run.

    Args:
        video: The video.
        points: (t, x, y), the frame counted among those of the video or clip; or (x, y) on its first frame.
        typed: What the user typed, for the log in run.json.

    Raises:
        CueError: if there are none, one is no number or outside the video, or the video cannot be read again.
        MemoryBudgetError: if the tracks would not fit in memory.
    """
    _check_video(video)
    numbers = video.numbers or ()
    checked = check_points(points, (video.height, video.width), len(numbers))
    check_room_for(len(checked), len(numbers))
    digest = hashlib.sha256(np.ascontiguousarray(checked).tobytes()).hexdigest()
    frames = tuple(int(numbers[int(place)]) for place in np.unique(checked[:, 0]))
    return Given(checked, (*typed, {"points": len(checked), "sha256": digest}), frames)


def check_room_for(points: int, frames: int) -> None:
    """Raises MemoryBudgetError if the tracks of so many points on so many frames would not fit in memory."""
    needed, there = points * frames * BYTES_PER_PLACE, machine.available_memory()
    if needed > there:
        raise MemoryBudgetError(
            f"{points} points on {frames} frames would need about {shown_memory(needed)} for their tracks, and there "
            f"is {shown_memory(there)}; give fewer points, or a part of the video with --start and --end"
        )


def _points(cues: Sequence[Cue], clip: Clip, *, mask_colors: bool) -> Iterator[Real[np.ndarray, "q k"]]:
    """Yields the points of each cue, their frames counted in the whole video."""
    for cue in cues:
        if cue.kind == "point":
            x, y, inside = cue.value
            if not inside or cue.object_id is not None:
                raise CueError(f"--point is '{cue.typed}', and points that are followed have no object; give x,y[@F]")
            yield np.array([[cue.frame, x, y]])
        elif cue.kind == "grid":
            # A number typed with a digit too many is refused before there are so many points.
            check_room_for(cue.value**2, clip.frame_count or 1)
            yield grid_points(cue.value, (clip.height, clip.width), cue.frame)
        elif cue.kind == "mask":
            for frame, labels in read_masks([cue], clip, mask_colors=mask_colors).items():
                yield mask_points(labels, frame=frame)
        elif is_annotations(cue.value):
            yield take(cue.value, clip).points()
        else:
            yield read_points(cue.value)


def _check_video(video: Video | Clip) -> None:
    if not video.again:
        raise CueError(f"points need a video that can be read again, and {video.label} comes once; record it to a file")
