"""The task `points`: points through a video, in both directions."""

from undertow.base.on_demand import late
from undertow.points.settings import PointSettings, resolve_points
from undertow.runs.task import Task

TASK = Task(
    name="points",
    title="Points through a video",
    settings=PointSettings,
    cues=("point", "grid", "mask", "queries"),
    files=("tracks.npz", "tracks.csv", "tapvid.npz"),
    extras=("features/*.safetensors",),
    views=("overlay.mp4", "trajectories.png"),
    gather=late("undertow.points.queries:gather"),
    resolve=lambda settings, backbone, size, given: resolve_points(settings, backbone, *size),
    start=late("undertow.points.job:start"),
    amend=late("undertow.points.job:added_points"),
    work=late("undertow.points.job:points_work"),
    trial=late("undertow.points.job:trial"),
)
