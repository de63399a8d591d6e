"""Following points into a Run folder: what the command line and the app do with a video and its points."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64
from PIL import Image

from undertow.backbones import Backbone
from undertow.base import CueError, MemoryBudgetError, Progress, SilentProgress, atomic_path
from undertow.base import memory as machine
from undertow.drawing.tracks import draw_tracks, draw_trajectories, point_colours
from undertow.observing.store import MEMORY
from undertow.points import PointSettings, PointTracker, Tracks
from undertow.points.folder import OVERLAY, PICTURE, PointsFolder, described_points
from undertow.runs.budget import shown_memory
from undertow.runs.render import DEFAULT_FPS
from undertow.video import Clip, Video, VideoWriter

# Tracks, visibility, confidence, and as much again while tables are made of them.
BYTES_PER_PLACE = 40


def track_points_into(
    out: Path,
    video: Video | Clip,
    points: Float64[np.ndarray, "q 3"],
    backbone: Backbone,
    settings: PointSettings | None = None,
    *,
    overwrite: bool = False,
    overlay: bool = True,
    keep_features: bool = False,
    memory: int = MEMORY,
    progress: Progress | None = None,
) -> Tracks:
    """Returns the tracks of all points of the run in a folder, with tables and pictures written there.

    Called again after an interruption, however hard, it goes on with the frames that the network has not seen, and the
    run becomes what it would have been. Called with other points on a complete run, it adds them; the network does
    not run again if the features were kept.

    Args:
        out: the folder to make, or of the run to continue.
        video: a video, or a clip of one, that can be read again.
        points: (t, x, y), the frame counted among those of `video`.
        backbone: the model.
        settings: options.
        overwrite: whether to replace a run that is there.
        overlay: whether to render overlay.mp4.
        keep_features: whether the features stay in the folder, so that points can be added at once.
        memory: most bytes of features kept in memory.
        progress: told of every frame.

    Raises:
        CueError: if a point is no number or outside the video, or the video cannot be read again.
        SettingsError: if the folder holds another run or other files.
        MemoryBudgetError: if the tracks would not fit in memory.
    """
    settings, progress = settings or PointSettings(), progress or SilentProgress()
    if not video.again:
        raise CueError(f"points need a video that can be read again, and {video.label} comes once; record it to a file")
    length = len(video.numbers or ())
    with PointTracker(backbone, settings, folder=None) as checking:
        points = checking.ask(video, points)
        resolved = checking.resolved
    check_room_for(len(points), length)
    record: dict[str, Any] = {
        "video": video.fingerprint(),
        "model": f"{resolved.model} {backbone.fingerprint()}",
        "settings": resolved.as_dict() | _selection(video),
        "cues": [described_points(points)],
    }
    with PointsFolder.open(out, record, overwrite=overwrite) as run:
        new = _new_points(points, run.earlier)
        if not len(new) and not run.unfinished and (not overlay or (out / OVERLAY).exists()):
            assert run.earlier is not None
            return run.earlier
        run.begin()
        numbers = list(video.numbers or ())
        tracks = run.earlier
        if len(new):
            check_room_for(len(new) + (0 if tracks is None else len(tracks.tracks)), length)
            with PointTracker(backbone, settings, folder=run.features, memory=memory) as tracker:
                tracker.ask(video, new)
                tracker.observe(video, anchors=tracker.anchors(new), progress=progress)
                tracks = _joined(run.earlier, tracker.follow(new, progress))
        assert tracks is not None
        run.write(tracks, [video.time_of(number) for number in numbers], numbers, (video.height, video.width))
        run.log(described_points(points))
        _picture(out / PICTURE, video, tracks, numbers)
        if overlay:
            progress.start("overlay", length)
            _overlay(out / OVERLAY, video, tracks, progress)
        else:
            (out / OVERLAY).unlink(missing_ok=True)
        run.complete(keep_features=keep_features)
        return tracks


def check_room_for(points: int, frames: int) -> None:
    """Raises MemoryBudgetError if the tracks of so many points on so many frames would not fit in memory."""
    needed, there = points * frames * BYTES_PER_PLACE, machine.available_memory()
    if needed > there:
        raise MemoryBudgetError(
            f"{points} points on {frames} frames would need about {shown_memory(needed)} for their tracks, and there "
            f"is {shown_memory(there)}; give fewer points, or a part of the video with --start and --end"
        )


def _new_points(points: Float64[np.ndarray, "q 3"], earlier: Tracks | None) -> Float64[np.ndarray, "q 3"]:
    """Returns the points that a run does not have."""
    if earlier is None or earlier.queries is None:
        return points
    known = {tuple(row) for row in earlier.queries.tolist()}
    return points[[tuple(row) not in known for row in points.tolist()]]


def _joined(earlier: Tracks | None, later: Tracks) -> Tracks:
    """Returns the tracks of the points of both, earlier ones first."""
    if earlier is None:
        return later
    parts = []
    for name in ("tracks", "visibility", "confidence", "queries"):
        first, second = getattr(earlier, name), getattr(later, name)
        parts.append(np.concatenate([first, second]))
    return Tracks(*parts)


def _picture(path: Path, video: Video | Clip, tracks: Tracks, numbers: Sequence[int]) -> None:
    """Draws all paths on the first frame that has a query."""
    assert tracks.queries is not None
    starts = tracks.queries[:, 0].astype(int).tolist()
    image = video.frame(numbers[min(starts)]).image
    colours = point_colours(tracks.queries[:, 1:], image.shape[:2])
    drawn = draw_trajectories(image, tracks.tracks, tracks.visibility, colours, starts)
    with atomic_path(path) as temporary:
        Image.fromarray(drawn).save(temporary)


def _overlay(path: Path, video: Video | Clip, tracks: Tracks, progress: Progress) -> None:
    """Renders the video with its points."""
    assert tracks.queries is not None
    colours = point_colours(tracks.queries[:, 1:], (video.height, video.width))
    with VideoWriter(path, fps=video.fps or DEFAULT_FPS, width=video.width, height=video.height) as writer:
        for time, frame in enumerate(video):
            writer.write(draw_tracks(frame.image, tracks.tracks, tracks.visibility, time, colours), frame.time)
            progress.advance()


def _selection(video: Video | Clip) -> dict[str, Any]:
    """Returns which frames of a video are looked at, for run.json."""
    chosen = (video.start, video.end, video.every) if isinstance(video, Clip) else (0, None, 1)
    return {"frames": dict(zip(("start", "end", "every"), chosen, strict=True))}
