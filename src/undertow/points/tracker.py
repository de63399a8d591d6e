"""The point tracker: a video is observed once, and any points are then followed through what was seen.

DiffTrack (arXiv 2506.17220) for video models, DIFT (arXiv 2306.03881) for image models, behind the same calls.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64, Real
from torch import Tensor

from undertow import backbones
from undertow.backbones import Backbone
from undertow.base import Progress, SettingsError, SilentProgress, VideoError
from undertow.masks import LabelMap
from undertow.observing.cache import cache_at
from undertow.observing.store import MEMORY, TensorStore
from undertow.points.carrying import KEPT, Hypotheses, Odds, advance, begin, best_of
from undertow.points.following import best_path, judge, search, step
from undertow.points.matching import VisibilityModel
from undertow.points.queries import check_points, grid_points, mask_points
from undertow.points.seeing import SeenVideo
from undertow.points.settings import PointSettings, ResolvedPoints, resolve_points
from undertow.points.tracks import Tracks
from undertow.video import Clip, Frame, Video

# Rows of costs in one block of points: 64 MB in float32.
ROWS = 1 << 24


def track_points(
    video: Video | Clip | str | Path | np.ndarray,
    points: Real[np.ndarray, "q k"] | Sequence[Sequence[float]] | None = None,
    *,
    grid: int | None = None,
    mask: LabelMap | None = None,
    frame: int = 0,
    model: Backbone | str | Path = "tiny",
    settings: PointSettings | None = None,
    progress: Progress | None = None,
) -> Tracks:
    """Returns where points are on every frame of a video, before and after the frame they are given on.

        tracks = ut.track_points("clip.mp4", [[320, 180], [100.5, 60]])  # x, y in pixels of frame 0
        tracks.tracks, tracks.visibility  # (q, t, 2), (q, t)

    Args:
        video: A video, a clip of one, or anything `Video` opens.
        points: (q, 2) as x, y in pixels on frame `frame`, or (q, 3) as frame, x, y.
        grid: Instead of points, this many points across and down, spread evenly over frame `frame`.
        mask: Instead of points, a label map of frame `frame`, for about 100 points on its objects.
        frame: Frame of points given as x, y, counted from the first tracked frame.
        model: A loaded backbone, or the name or folder of one.
        settings: Options; defaults come from the model's card.
        progress: Notified after each frame that is observed or followed.

    Returns:
        Tracks with `tracks` (q, t, 2) in pixels x, y, `visibility` (q, t), `confidence` (q, t) and the `queries`.

    Raises:
        CueError: if there is no point, or one is not a number or outside the video.
        SettingsError: unless exactly one of points, grid and mask is given.
    """
    if sum(each is not None for each in (points, grid, mask)) != 1:
        raise SettingsError("points can be given, or a grid, or a mask; give exactly one of them")
    video = video if isinstance(video, Video | Clip) else Video(video)
    size = (video.height, video.width)
    if grid is not None:
        points = grid_points(grid, size, frame)
    elif mask is not None:
        points = mask_points(mask, frame=frame)
    with PointTracker(model, settings) as tracker:
        asked = tracker.ask(video, np.asarray(points), frame)
        tracker.observe(video, anchors=tracker.anchors(asked), progress=progress)
        return tracker.follow(asked, progress)


class PointTracker:
    """Observes a video once and follows any number of points through it.

        with PointTracker("tiny") as tracker:
            tracker.observe(video)
            tracks = tracker.follow([[0, 100.5, 60.5]])
            more = tracker.follow([[12, 30.0, 40.0]])  # the network does not run again

    Memory does not grow with the length of the video: features beyond the limit go to files.

    Attributes:
        backbone: The model.
        visibility: The model that computes confidence from evidence.
    """

    def __init__(
        self,
        model: Backbone | str | Path = "tiny",
        settings: PointSettings | None = None,
        *,
        folder: Path | None = None,
        memory: int = MEMORY,
    ) -> None:
        """Loads the model, if it is not loaded.

        Args:
            model: A loaded backbone, or the name or folder of one.
            settings: Options.
            folder: Where features are written as they come, and found again; else only what exceeds `memory` is.
            memory: Most bytes of features kept in memory.
        """
        self.backbone = backbones.load(model, sites="points") if isinstance(model, str | Path) else model
        self.settings = settings or PointSettings()
        self.visibility, self.odds = VisibilityModel(), Odds()
        self._store = TensorStore(folder, memory)
        self._resolved: ResolvedPoints | None = None
        self._size = (0, 0)
        self._seen: SeenVideo | None = None

    @property
    def resolved(self) -> ResolvedPoints:
        """The resolved settings, known once a video was observed."""
        if self._resolved is None:
            raise SettingsError("the settings are resolved when a video is observed; call observe first")
        return self._resolved

    @property
    def length(self) -> int:
        """Number of frames observed."""
        return len(self._seen.numbers) if self._seen else 0

    @property
    def forwards(self) -> int:
        """How many times the network has run on the video."""
        return self._seen.forwards if self._seen else 0

    def ask(self, video: Video | Clip, points: Real[np.ndarray, "q k"], frame: int = 0) -> Float64[np.ndarray, "q 3"]:
        """Returns points as (t, x, y) after checking them against a video; see `check_points`."""
        self._begin(video)
        length = video.frame_count
        return check_points(points, self._size, 1 << 62 if length is None else length, frame)

    def anchors(self, points: Float64[np.ndarray, "q 3"]) -> tuple[int, ...]:
        """Returns the frames that a video model's chunks must begin with for these points; none for image models."""
        if self.resolved.chunk == 1:
            return ()
        return (0,) if self.resolved.anchor == "first" else tuple(np.unique(points[:, 0]).astype(int).tolist())

    def observe(
        self,
        video: Video | Clip,
        *,
        anchors: Sequence[int] = (),
        frames: Iterable[Frame] | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Runs the network on every frame of a video, each encoded once.

        Args:
            video: A video that can be read again or a stream, which is read to its end.
            anchors: First frames of a video model's chunks; others are added when needed. Image
                models have none.
            frames: Its frames, if they should not be read from the video.
            progress: Notified after each frame.

        Raises:
            VideoError: if there is no frame, or they differ in size.
        """
        self._begin(video)
        settings, progress = self.resolved, progress or SilentProgress()
        if self.length:
            # Another video than before, perhaps.
            self._store.forget()
        cache = cache_at(self.settings.cache)
        seen = self._seen = SeenVideo(self.backbone, settings, self._size, self._store, cache)
        progress.start("observe" if settings.chunk == 1 else "encode", video.frame_count)
        left = iter(video if frames is None else frames)
        while batch := list(islice(left, settings.batch)):
            seen.show(batch)
            progress.advance(len(batch), frame=batch[-1].index)
        if not seen.numbers:
            raise VideoError(f"{video.label} has no frame; give a video with one or more")
        for anchor in anchors if settings.chunk > 1 else ():
            seen.anchor(anchor, progress)

    def follow(
        self, points: Real[np.ndarray, "q 3"] | Sequence[Sequence[float]], progress: Progress | None = None
    ) -> Tracks:
        """Returns where points (t, x, y) are on every observed frame; points do not affect each other.

        Raises:
            CueError: if there is no point, or one is not a number or outside the video.
        """
        settings, progress = self.resolved, progress or SilentProgress()
        queries = check_points(np.asarray(points), self._size, self.length)
        seen = self._video
        tracks = np.empty((len(queries), self.length, 2), np.float32)
        confidence = np.empty((len(queries), self.length), np.float32)
        for anchor in self.anchors(queries):
            seen.anchor(anchor, progress)
        blocks = list(self._blocks(queries[:, 0].astype(np.int64)))
        progress.start("follow", len(blocks) * self.length)
        for frame, block in blocks:
            places = self._cells(torch.from_numpy(queries[block, 1:]).float()).to(self.backbone.device)
            tracks[block, frame], confidence[block, frame] = queries[block, 1:], 1.0
            progress.advance()
            for time, found, sure in (self._carry if settings.flow else self._walk)(frame, places):
                tracks[block, time], confidence[block, time] = self._pixels(found.cpu()).numpy(), sure.cpu().numpy()
                progress.advance(frame=seen.numbers[time])
        return Tracks(tracks, confidence >= settings.visible, confidence, queries)

    def close(self) -> None:
        """Releases the features; those in a given folder stay there."""
        self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _begin(self, video: Video | Clip) -> None:
        """Settles sizes and settings."""
        size = (video.height, video.width)
        if self._size not in ((0, 0), size):
            self.close()
        self._size = size
        self._resolved = resolve_points(self.settings, self.backbone, *size)

    @property
    def _video(self) -> SeenVideo:
        """What was observed, which is something once points have been checked against it."""
        assert self._seen is not None
        return self._seen

    def _walk(
        self, start: int, places: Float[Tensor, "n 2"]
    ) -> Iterator[tuple[int, Float[Tensor, "n 2"], Float[Tensor, "n"]]]:
        """Yields (frame, places, confidence) of points of frame `start`, going forward in time and then backward."""
        video = self._video
        for times in (range(start + 1, self.length), range(start - 1, -1, -1)):
            before, known, seen = start, places, torch.ones_like(places[:, 0]).bool()
            # Of one block of points only the candidates of all frames are held.
            steps: list[tuple[Float[Tensor, "n k 2"], Float[Tensor, "n k"], Float[Tensor, "n k"]]] = []
            for time in times:
                recent = None
                if self.resolved.recent > 0 and before != start:
                    recent = (video.pairs(start, before, time), known, seen)
                found = step(video.pairs(start, start, time), places, self.resolved, recent)
                sure = self.visibility.confidence(found.evidence)
                before, known, seen = time, found.places[:, 0], sure[:, 0] >= self.resolved.visible
                if self.resolved.smoothing == 0:
                    yield time, found.places[:, 0], sure[:, 0]
                else:
                    steps.append((found.places, found.scores, sure))
            candidates, scores, sures = ([each[part] for each in steps] for part in range(3))
            chosen = best_path(places, candidates, scores, self.resolved.smoothing)
            rows = torch.arange(len(places), device=places.device)
            for time, which, found_there, sure in zip(times, chosen, candidates, sures, strict=False):
                yield time, found_there[rows, which], sure[rows, which]

    def _carry(
        self, start: int, places: Float[Tensor, "n 2"]
    ) -> Iterator[tuple[int, Float[Tensor, "n 2"], Float[Tensor, "n"]]]:
        """Yields (frame, places, confidence) as `_walk` does, along paths that flow carries."""
        video = self._video
        rows, edge = torch.arange(len(places), device=places.device), places.new_tensor(self.resolved.grid[::-1]) - 0.5
        for times in (range(start + 1, self.length), range(start - 1, -1, -1)):
            here, frames = begin(places), list[Hypotheses]()
            for time in times:
                pairs = video.pairs(start, start, time)
                carried, slips = video.flow.carry(here.places, time - times.step, time)
                matched, _, forward = search(pairs, places, self.resolved)
                matched, misfits = video.flow.register(places, matched, start, time)
                found = torch.cat([carried, matched], 1)
                evidence = judge(pairs[0], places, found, forward, self.resolved)
                inside = ((found >= -0.5) & (found <= edge)).all(-1)
                here = advance(here, found, torch.cat([slips, misfits], 1), evidence, inside, self.odds)
                frames.append(here)
            for time, frame, which in zip(times, frames, best_of(frames), strict=True):
                yield time, frame.places[rows, which], torch.sigmoid(frame.seen[rows, which])

    def _blocks(self, frames: Int64[np.ndarray, " q"]) -> Iterator[tuple[int, Int64[np.ndarray, " n"]]]:
        """Yields query frames with the numbers of their points, as many at a time as there is room for."""
        tokens = self.resolved.grid[0] * self.resolved.grid[1]
        searched = self.resolved.candidates + (KEPT if self.resolved.flow else 0)
        rows = tokens * (4 if self.resolved.lookup == "matches" else searched)
        # A path is chosen when the candidates of all frames are known, up to six numbers each.
        most = max(1, min(ROWS // rows, ROWS // (6 * searched * self.length)))
        for frame in np.unique(frames):
            chosen = np.flatnonzero(frames == frame)
            for start in range(0, len(chosen), most):
                yield int(frame), chosen[start : start + most]

    def _cells(self, pixels: Float[Tensor, "n 2"]) -> Float[Tensor, "n 2"]:
        """Returns pixels of the video as cells of the grid."""
        return pixels / self._cell() - (0.5 if self.resolved.convention == "centre" else 0.0)

    def _pixels(self, cells: Float[Tensor, "n 2"]) -> Float[Tensor, "n 2"]:
        """Returns cells of the grid as pixels of the video."""
        return (cells + (0.5 if self.resolved.convention == "centre" else 0.0)) * self._cell()

    def _cell(self) -> Float[Tensor, "2"]:
        """Returns the width and height of a cell in pixels of the video."""
        (height, width), (rows, columns) = self._size, self.resolved.grid
        return torch.tensor([width / columns, height / rows])
