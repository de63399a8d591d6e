"""The task `points`: points through a video, in both directions."""

from pathlib import Path

from undertow.backbones import Backbone
from undertow.base import Progress
from undertow.observing.settings import FLOAT, network_bytes, passes_per_frame
from undertow.observing.store import MEMORY
from undertow.points.following import cover
from undertow.points.job import FEATURES, TABLE, TAPVID, TRACKS, PointsJob, added_points
from undertow.points.queries import BYTES_PER_PLACE, Points, gather
from undertow.points.settings import PointSettings, ResolvedPoints, resolve_points
from undertow.points.tracker import ROWS
from undertow.runs.plan import first_frames
from undertow.runs.task import Given, Phase, Task, Work
from undertow.video import Clip


def points_work(resolved: ResolvedPoints, backbone: Backbone, clip: Clip, given: Given[Points]) -> Work:
    """Returns what following the points of a clip will take."""
    frames, points = clip.frame_count or 0, len(given.value)
    together = resolved.batch if resolved.chunk == 1 else resolved.chunk
    tokens = resolved.grid[0] * resolved.grid[1]
    sites = resolved.sites if resolved.source == "attention" else resolved.sites[-1:]
    features = 2 * FLOAT * tokens * sum(site.heads * site.head_dim for site in sites)
    kept = {
        "features": min(MEMORY, frames * features) + 2 * together * features,
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


def _resolve(
    settings: PointSettings, backbone: Backbone, size: tuple[int, int], given: Given[Points]
) -> ResolvedPoints:
    return resolve_points(settings, backbone, *size)


def _start(
    settings: PointSettings, backbone: Backbone, clip: Clip, given: Given[Points], out: Path | None, _: Progress
) -> PointsJob:
    return PointsJob(settings, backbone, clip, given.value, out)


def _trial(
    settings: PointSettings, clip: Clip, given: Given[Points], frames: int, tokens: int
) -> tuple[PointSettings, Clip, Given[Points]]:
    """Returns a run of the first frames with all points; those of later frames begin on the last of them."""
    settings, short, _ = first_frames(settings, clip, given, frames, tokens)
    asked = given.value.copy()
    asked[:, 0] = asked[:, 0].clip(max=(short.frame_count or 1) - 1)
    return settings, short, Given(asked)


TASK = Task(
    name="points",
    title="Points through a video",
    settings=PointSettings,
    cues=("point", "grid", "mask", "queries"),
    files=(TRACKS, TABLE, TAPVID),
    extras=(f"{FEATURES}/*.safetensors",),
    views=("overlay.mp4", "trajectories.png"),
    gather=gather,
    resolve=_resolve,
    start=_start,
    amend=added_points,
    work=points_work,
    trial=_trial,
)
