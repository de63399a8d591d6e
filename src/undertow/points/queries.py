"""Which points are asked for: given one by one, as a grid, on the objects of a mask, or in a file."""

import csv
import zipfile
import zlib
from pathlib import Path

import numpy as np
from jaxtyping import Float64, Real
from numpy.lib import format as npy

from undertow.base import CueError
from undertow.masks import LabelMap, object_ids

Points = Float64[np.ndarray, "q 3"]


def check_points(
    points: Real[np.ndarray, "q k"], size: tuple[int, int], length: int, first: int = 0, source: str = "the points"
) -> Points:
    """Returns points as (t, x, y) in float64.

    Args:
        points: (t, x, y), or (x, y) for points of frame `first`.
        size: (height, width) of the video.
        length: number of its frames.
        first: frame of points that name none.
        source: what they are, for messages.

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
        labels: of the frame; 0 is background.
        spacing: of the lattice in pixels; without it, so that the objects get about 100 points together.
        frame: its number.

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
        raise CueError(f"'{path}' is no file; give a .csv or .npz file of points")
    try:
        if path.suffix.lower() == ".npz":
            return _read_npz(path)
        if path.suffix.lower() == ".csv":
            return _read_csv(path)
    except (OSError, ValueError, KeyError, EOFError, csv.Error, zipfile.BadZipFile, zlib.error) as error:
        raise CueError(f"'{path}' is no readable file of points ({error}); write it again") from error
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
                raise CueError(f"row {number} of '{path}' is no point ({shown}); give numbers") from None
    return np.array(points, np.float64).reshape(-1, len(wanted))
