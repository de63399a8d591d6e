"""Benchmark worlds with exact tracks: points on objects and behind them, followed by the geometry itself."""

import json
import zipfile
from dataclasses import asdict
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32, Float64

from undertow.base import SettingsError, atomic_path
from undertow.benchmarks.core.datasets import Dataset
from undertow.benchmarks.core.worlds import world_dataset
from undertow.benchmarks.points.sample import PointSample
from undertow.world import SUITES, Scene, WorldClip, point_tracks

FILE = "points.npz"
# Of a clip's arrays; a clip of 48 frames has some 20 000.
MOST_BYTES = 1 << 24
# Raised whenever the points of a clip change.
VERSION = 2
# Points that are picked on the first frame, and on one in the middle, where what entered later has its share.
POINTS = ((0.0, 16), (0.5, 8))
# Points of the first frame beside the objects: on the background, or on what passes in front of them.
BESIDE = 8


def pick_points(
    scene: Scene, time: float, count: int, random: np.random.Generator, *, beside: bool = False
) -> Float64[np.ndarray, "q 2"]:
    """Returns places (x, y) in pixels on the objects seen at a time, every object having the same share.

    Without an object in sight there are none. With `beside`, they are on anything but the objects.
    """
    labels = scene.labels(time)
    if beside:
        labels = (labels == 0).astype(labels.dtype)
    objects = np.unique(labels[labels > 0])
    chosen = []
    for place in range(count if objects.size else 0):
        rows, columns = np.nonzero(labels == objects[place % objects.size])
        pick = random.integers(rows.size)
        chosen.append((columns[pick], rows[pick]))
    # Anywhere inside the pixel, as nobody's tracks lie on a grid.
    return np.array(chosen, np.float64).reshape(-1, 2) + random.random((len(chosen), 2))


def clip_tracks(clip: WorldClip) -> tuple[Float32[np.ndarray, "q t 2"], Bool[np.ndarray, "q t"]]:
    """Returns tracks (x, y) in pixels and visibility of the points of a clip; the same on every machine."""
    scene, random = clip.scene(), np.random.default_rng((clip.seed, 11))
    times = range(clip.frames)
    found = []
    for share, count in POINTS:
        time = float(int(share * clip.frames))
        points = pick_points(scene, time, count, random)
        if len(points):
            found.append(point_tracks(scene, points, times, time))
    points = pick_points(scene, 0.0, BESIDE, random, beside=True)
    if len(points):
        found.append(point_tracks(scene, points, times))
    tracks, visible = zip(*found, strict=True)
    return np.concatenate(tracks), np.concatenate(visible)


def _stamp(clip: WorldClip) -> str:
    return json.dumps({"version": VERSION, "points": [*POINTS, BESIDE], **asdict(clip)}, sort_keys=True)


def load_points(path: Path, stamp: str) -> tuple[np.ndarray, np.ndarray] | None:
    """Returns the tracks and visibility in a file, `None` unless they are whole and were saved under this stamp."""
    try:
        # A handle of our own, because numpy leaves the one it opened of a damaged file open.
        with path.open("rb") as handle, np.load(handle) as arrays:
            too_large = sum(member.file_size for member in arrays.zip.infolist()) > MOST_BYTES
            if too_large or str(arrays["stamp"]) != stamp:
                return None
            return arrays["tracks"], arrays["visible"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


def save_points(path: Path, tracks: Float32[np.ndarray, "q t 2"], visible: Bool[np.ndarray, "q t"], stamp: str) -> None:
    """Writes tracks and visibility, with a stamp of all that decides them."""
    with atomic_path(path) as temporary:
        np.savez_compressed(temporary, tracks=tracks, visible=visible, stamp=np.array(stamp))


def draw_points(clip: WorldClip, folder: Path) -> None:
    """Writes the tracks of a clip into its folder, unless they are there."""
    if load_points(folder / FILE, _stamp(clip)) is None:
        save_points(folder / FILE, *clip_tracks(clip), _stamp(clip))


def _suite(suite: str) -> Dataset:
    name = f"{suite}-points"

    def open_clip(clip: WorldClip, folder: Path) -> PointSample:
        found = load_points(folder / FILE, _stamp(clip))
        if found is None:
            raise SettingsError(f"the tracks '{folder / FILE}' are not of this clip; remove them to have them made")
        return PointSample(
            dataset=name,
            name=clip.name,
            video=folder / "frames",
            frames=tuple(f"{time:05d}" for time in range(clip.frames)),
            size=(clip.height, clip.width),
            tracks=found[0].astype(np.float64),
            occluded=~found[1],
        )

    return world_dataset(
        name,
        suite,
        open_clip,
        task="points",
        title=f"points on and beside the objects of the benchmark clips '{suite}', with exact tracks",
        truth=FILE,
        rules=("first", "strided", "queries-at-0"),
        draw=draw_points,
    )


DATASETS = tuple(_suite(suite) for suite in SUITES)
