"""The task `points`: points through a video, in both directions."""

from pathlib import Path

from undertow.backbones import Backbone
from undertow.base import Progress
from undertow.points.cues import Points, gather
from undertow.points.job import FEATURES, TABLE, TAPVID, TRACKS, PointsJob, added_points
from undertow.points.settings import PointSettings, ResolvedPoints, resolve_points
from undertow.points.work import points_work
from undertow.runs.plan import first_frames
from undertow.runs.task import Given, Task
from undertow.video import Clip


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
