"""One video whose points are followed: what is written of them, and pictures.

tracks.npz        tracks (q, t, 2), visibility (q, t), confidence (q, t), queries (q, 3) as frame, x, y, frames (t)
tracks.csv        point, frame, time, x, y, visible, confidence
tapvid.npz        the same as TAP-Vid has it: points in [0, 1], occluded, query_points (t, y, x) of 256 x 256
trajectories.png  their paths on one frame
features/         what the network saw of every frame, while the run is unfinished or if it is to be kept
"""

import csv
import logging
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float32, Float64, UInt8
from torch import Tensor

from undertow.backbones import Backbone
from undertow.base import Progress, SettingsError, atomic_path
from undertow.drawing.tracks import draw_tracks, draw_trajectories, point_colours
from undertow.observing.settings import FLOAT, network_bytes, passes_per_frame
from undertow.observing.store import MEMORY
from undertow.points import PointSettings, PointTracker, ResolvedPoints, Tracks, cover
from undertow.points.flow import PIXELS
from undertow.points.queries import BYTES_PER_PLACE, Points
from undertow.points.tracker import ROWS
from undertow.runs.folder import Folder
from undertow.runs.plan import first_frames
from undertow.runs.record import decimal_seconds
from undertow.runs.task import Amendment, Given, Phase, Work
from undertow.video import Clip, Frame

log = logging.getLogger(__name__)

TRACKS, TABLE, TAPVID, FEATURES = "tracks.npz", "tracks.csv", "tapvid.npz", "features"
RASTER = 256
_PARTS = ("tracks", "visibility", "confidence", "queries")


@dataclass(frozen=True)
class PointsResult:
    """Where the points of a run are on one frame.

    Attributes:
        index: Frame number.
        time: Seconds, exact.
        name: Stem of the frame's files.
        positions: (x, y) of each point, in pixels.
        visible: Whether each can be seen.
        confidence: How sure that is, in [0, 1].
    """

    index: int
    time: Fraction
    name: str
    positions: Float32[np.ndarray, "q 2"]
    visible: Bool[np.ndarray, " q"]
    confidence: Float32[np.ndarray, " q"]


class PointsJob:
    """One video whose points are followed: all frames are observed before the first result is known."""

    def __init__(
        self,
        settings: PointSettings,
        backbone: Backbone,
        clip: Clip,
        points: Float64[np.ndarray, "q 3"],
        out: Path | None,
        earlier: Tracks | None = None,
    ) -> None:
        """Begins before the first frame.

        Args:
            settings: Options.
            backbone: The model.
            clip: The video.
            points: (t, x, y), the frame counted among those of `clip`.
            out: Folder of the run, in which features are kept; `None` for a temporary one.
            earlier: Tracks that the run has already, which come before those of `points`.
        """
        self.batch = settings.batch
        self.facts: Mapping[str, Any] = {}
        self.points, self.earlier = points, earlier
        self._settings, self._backbone, self._clip, self._out = settings, backbone, clip, out
        self._followed: Tracks | None = None
        self._drawn: tuple[Path, Tracks] | None = None

    def run(self, frames: Iterable[Frame], progress: Progress) -> Iterator[PointsResult]:
        """Yields each frame's positions, once all frames have been observed."""
        seen: Iterable[tuple[int, Fraction, str]] = ((each.index, each.time, each.name) for each in frames)
        if self._followed is None:
            shown: list[tuple[int, Fraction, str]] = []

            def noted() -> Iterator[Frame]:
                for frame in frames:
                    shown.append((frame.index, frame.time, frame.name))
                    yield frame

            folder = None if self._out is None else self._out / FEATURES
            memory = self._settings.feature_memory << 20
            with PointTracker(self._backbone, self._settings, folder=folder, memory=memory) as tracker:
                points = tracker.ask(self._clip, self.points)
                tracker.observe(self._clip, anchors=tracker.anchors(points), frames=noted(), progress=progress)
                self._followed = tracker.follow(points, progress)
            progress.start("write", len(shown))
            seen = shown
        numbers = self._clip.numbers
        if numbers is None:
            # Of a stream, once it has ended.
            seen = list(seen)
            numbers = [index for index, _, _ in seen]
        tracks, places = self._followed, {number: place for place, number in enumerate(numbers)}
        assert tracks.confidence is not None
        for index, time, name in seen:
            at = places[index]
            yield PointsResult(
                index, time, name, tracks.tracks[:, at], tracks.visibility[:, at], tracks.confidence[:, at]
            )

    def state(self) -> Mapping[str, Tensor]:
        """Returns the tracks once they are known; until then an interrupted run goes on from the features it kept."""
        if self._followed is None:
            return {}
        return {name: torch.from_numpy(getattr(self._followed, name)).contiguous() for name in _PARTS}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Goes on with tracks that are known.

        Raises:
            SettingsError: if the tensors are not the state of such a job.
        """
        if set(tensors) != set(_PARTS):
            raise SettingsError("this is not the state of a run of points; start the run anew")
        self._followed = Tracks(*(tensors[name].numpy() for name in _PARTS))

    def write(self, run: Folder, result: PointsResult) -> Mapping[str, Any]:
        """Writes nothing: the tables are by point, and made at the end."""
        return {}

    def draw(self, run: Folder, frame: Frame, view: str) -> UInt8[np.ndarray, "h w 3"] | None:
        """Returns a frame with its points ("overlay"), or the first frame that has a query with all "trajectories"."""
        if self._drawn is None or self._drawn[0] != run.path:
            self._drawn = run.path, read_run(run.path)
        tracks = self._drawn[1]
        assert tracks.queries is not None
        numbers, starts = self._clip.numbers or (), tracks.queries[:, 0].astype(int).tolist()
        colours = point_colours(tracks.queries[:, 1:], frame.image.shape[:2])
        if view == "trajectories":
            if frame.index != numbers[min(starts)]:
                return None
            return draw_trajectories(frame.image, tracks.tracks, tracks.visibility, colours, starts)
        return draw_tracks(frame.image, tracks.tracks, tracks.visibility, numbers.index(frame.index), colours)

    def finish(self, run: Folder, progress: Progress) -> None:
        """Writes the tables of all points of the run, earlier ones first."""
        assert self._followed is not None
        tracks = self._followed
        if self.earlier is not None:
            pairs = [(getattr(self.earlier, name), getattr(tracks, name)) for name in _PARTS]
            tracks = Tracks(*(np.concatenate(pair) for pair in pairs))
        write_run(run.path, tracks, self._clip)
        self._drawn = None
        if self._out is not None and not self._settings.keep_features:
            shutil.rmtree(self._out / FEATURES, ignore_errors=True)
        count, length = tracks.visibility.shape
        shown = f"{count} points on {length} frames" if count > 1 else f"1 point on {length} frames"
        log.info("%s, seen on %.0f%% of them", shown, 100 * tracks.visibility.mean())


def added_points(
    run: Folder, clip: Clip, given: Given[Float64[np.ndarray, "q 3"]], start: Callable[[], PointsJob]
) -> Iterator[Amendment] | None:
    """Returns the change that adds points to a complete run, if there are new ones.

    The network does not run again if the features were kept.
    """
    earlier = read_run(run.path)
    assert earlier.queries is not None
    known = {tuple(row) for row in earlier.queries.tolist()}
    new = [row for row in given.value.tolist() if tuple(row) not in known]
    if not new:
        return iter(())
    job = start()
    job.points, job.earlier = np.array(new), earlier
    return iter([Amendment(clip.numbers or (), job, tuple(cue for cue in given.log if cue not in run.record.cues))])


def read_run(out: Path) -> Tracks:
    """Returns the tracks of a complete run.

    Raises:
        SettingsError: if they cannot be read.
    """
    try:
        with (out / TRACKS).open("rb") as handle, np.load(handle) as arrays:
            return Tracks(*(arrays[name] for name in _PARTS))
    except Exception as error:  # whatever a damaged file makes numpy and zipfile raise
        raise SettingsError(f"'{out / TRACKS}' cannot be read ({error}); add --overwrite to make it again") from error


def write_run(out: Path, tracks: Tracks, clip: Clip) -> None:
    """Writes tables of all tracks of a run, each atomically; frames are named by their numbers in the video."""
    queries, numbers = tracks.queries, list(clip.numbers or ())
    assert queries is not None and tracks.confidence is not None
    with atomic_path(out / TRACKS) as temporary:
        np.savez_compressed(
            temporary, allow_pickle=False, tracks=tracks.tracks, visibility=tracks.visibility,
            confidence=tracks.confidence, queries=queries, frames=np.asarray(numbers),
        )  # fmt: skip
    scale = np.array([1 / clip.width, 1 / clip.height])
    asked = np.column_stack([queries[:, 0], queries[:, 2] * scale[1] * RASTER, queries[:, 1] * scale[0] * RASTER])
    with atomic_path(out / TAPVID) as temporary:
        np.savez_compressed(
            temporary, allow_pickle=False, points=(tracks.tracks * scale).astype(np.float32),
            occluded=~tracks.visibility, query_points=asked.astype(np.float32),
        )  # fmt: skip
    seconds = [decimal_seconds(clip.time_of(number)) for number in numbers]
    with atomic_path(out / TABLE) as temporary, temporary.open("w", encoding="utf-8", newline="") as handle:
        table = csv.writer(handle, lineterminator="\n")
        table.writerow(["point", "frame", "time", "x", "y", "visible", "confidence"])
        for point in range(len(queries)):
            rows = zip(tracks.tracks[point], tracks.visibility[point], tracks.confidence[point], strict=True)
            for number, second, ((x, y), seen, sure) in zip(numbers, seconds, rows, strict=True):
                table.writerow([point, number, second, f"{x:.3f}", f"{y:.3f}", int(seen), f"{sure:.4f}"])


def start(
    settings: PointSettings, backbone: Backbone, clip: Clip, given: Given[Points], out: Path | None, _: Progress
) -> PointsJob:
    """Returns a job on a clip; see `Task.start`."""
    return PointsJob(settings, backbone, clip, given.value, out)


def points_work(resolved: ResolvedPoints, backbone: Backbone, clip: Clip, given: Given[Points]) -> Work:
    """Returns what following the points of a clip will take."""
    frames, points = clip.frame_count or 0, len(given.value)
    together = resolved.batch if resolved.chunk == 1 else resolved.chunk
    tokens = resolved.grid[0] * resolved.grid[1]
    sites = resolved.sites if resolved.source == "attention" else resolved.sites[-1:]
    features = 2 * FLOAT * tokens * sum(site.heads * site.head_dim for site in sites)
    # Of each frame a grey picture, and two flows of half its side in two numbers of two bytes.
    kept_of_frame = features + (3 * min(PIXELS, clip.height * clip.width) if resolved.flow else 0)
    kept = {
        "features": min(MEMORY, frames * kept_of_frame) + 2 * together * features,
        "tracks": points * frames * BYTES_PER_PLACE,
    }
    watched = resolved.source in ("attention", "features")
    passes = float(passes_per_frame(resolved.noising)) if watched else 0.0
    if resolved.chunk > 1 and watched and frames:
        # A video model sees each chunk at once, from every frame that has points.
        starts = {0} if resolved.anchor == "first" else set(given.value[:, 0].astype(int).tolist())
        passes *= sum(len(cover(range(frames), start, resolved.chunk, resolved.cover)) for start in starts) / frames
    network = network_bytes(backbone, resolved.input_size, together) if watched else 2 * together * features
    rows = min(ROWS, points * tokens * resolved.candidates)
    return Work(
        input_size=resolved.input_size,
        grid=resolved.grid,
        labels=points,
        phases=(
            Phase("observe", passes, {"network at work": network, **kept}),
            Phase("follow", 0, {"costs": 4 * FLOAT * rows, **kept}),
        ),
    )


def trial(
    settings: PointSettings, clip: Clip, given: Given[Points], frames: int, tokens: int
) -> tuple[PointSettings, Clip, Given[Points]]:
    """Returns a run of the first frames with all points; those of later frames begin on the last of them."""
    settings, short, _ = first_frames(settings, clip, given, frames, tokens)
    asked = given.value.copy()
    asked[:, 0] = asked[:, 0].clip(max=(short.frame_count or 1) - 1)
    return settings, short, Given(asked)
