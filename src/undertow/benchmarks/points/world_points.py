"""Benchmark worlds with exact tracks: points on objects and behind them, followed by the geometry itself."""

import json
import zipfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32, Float64

from undertow.base import Progress, SettingsError, SilentProgress, atomic_path
from undertow.benchmarks.datasets.registry import Dataset, register
from undertow.benchmarks.points.sample import PointSample
from undertow.benchmarks.worlds import render_world
from undertow.world import SUITES, Scene, WorldClip, point_tracks

FILE = "points.npz"
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


def _load(path: Path, clip: WorldClip) -> tuple[np.ndarray, np.ndarray] | None:
    """Returns the tracks in a clip's folder, `None` unless they are whole and of exactly this clip."""
    try:
        # A handle of our own, because numpy leaves the one it opened of a damaged file open.
        with path.open("rb") as handle, np.load(handle) as arrays:
            if str(arrays["stamp"]) != _stamp(clip):
                return None
            return arrays["tracks"], arrays["visible"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


def _suite(suite: str) -> Dataset:
    def prepare(root: Path, progress: Progress | None) -> None:
        render_world(suite, root, progress)
        missing = [clip for clip in SUITES[suite] if _load(root / suite / clip.name / FILE, clip) is None]
        if missing:
            progress = progress or SilentProgress()
            progress.start(f"follow points of {suite}", total=len(missing))
        for clip in missing:
            tracks, visible = clip_tracks(clip)
            with atomic_path(root / suite / clip.name / FILE) as path:
                np.savez_compressed(path, tracks=tracks, visible=visible, stamp=np.array(_stamp(clip)))
            if progress is not None:
                progress.advance(1, sequence=clip.name)

    def names(root: Path, split: str) -> Sequence[str]:
        return [clip.name for clip in SUITES[suite]]

    def open_one(root: Path, split: str, name: str) -> PointSample:
        clip = {each.name: each for each in SUITES[suite]}[name]
        folder = root / suite / name
        found = _load(folder / FILE, clip)
        if found is None:
            raise SettingsError(f"the tracks '{folder / FILE}' are not of this clip; remove them to have them made")
        return PointSample(
            dataset=f"{suite}-points",
            name=name,
            video=folder / "frames",
            frames=tuple(f"{time:05d}" for time in range(clip.frames)),
            size=(clip.height, clip.width),
            tracks=found[0].astype(np.float64),
            occluded=~found[1],
        )

    return Dataset(
        name=f"{suite}-points",
        task="points",
        title=f"points on and beside the objects of the benchmark clips '{suite}', with exact tracks",
        source="drawn on first use; nothing to fetch",
        tree=f"{suite}/<clip>/frames/<frame>.png\n{suite}/<clip>/{FILE}",
        names=names,
        open=open_one,
        rules=("first", "strided", "queries-at-0"),
        splits=("all",),
        prepare=prepare,
        may_show=True,
    )


WORLD_POINTS = tuple(register(_suite(name)) for name in SUITES)
