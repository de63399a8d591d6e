"""The task `points`: points through a video, in both directions."""

from pathlib import Path

from undertow.backbones import Backbone
from undertow.base import Progress
from undertow.observing.store import MEMORY
from undertow.points.cues import BYTES_PER_PLACE, Points, gather
from undertow.points.job import FEATURES, TABLE, TAPVID, TRACKS, PointsJob, added_points
from undertow.points.settings import PointSettings, ResolvedPoints, resolve_points
from undertow.runs.task import Given, Phase, Task, Work
from undertow.tracking.footprint import network_bytes_per_pixel, weights_bytes
from undertow.video import Clip


def _resolve(
    settings: PointSettings, backbone: Backbone, size: tuple[int, int], given: Given[Points]
) -> ResolvedPoints:
    return resolve_points(settings, backbone, *size)


def _work(resolved: ResolvedPoints, backbone: Backbone, clip: Clip, given: Given[Points]) -> Work:
    """Returns what shapes tell of a run: weights, a batch in the network, features up to what goes to disk, tracks."""
    frames, tokens = clip.frame_count or 0, resolved.grid[0] * resolved.grid[1]
    inputs = resolved.input_size[0] * resolved.input_size[1]
    # Queries and keys, in half precision.
    features = 2 * 2 * frames * tokens * sum(site.heads * site.head_dim for site in resolved.sites)
    held = {
        "weights": weights_bytes(backbone),
        "network": int(network_bytes_per_pixel(backbone) * max(resolved.batch, resolved.chunk) * inputs),
        "features": min(features, MEMORY),
        "tracks": BYTES_PER_PLACE * frames * len(given.value),
    }
    size = (clip.height, clip.width)
    return Work(frames, size, resolved.input_size, resolved.grid, len(given.value), (Phase("points", bytes=held),))


def _start(
    settings: PointSettings, backbone: Backbone, clip: Clip, given: Given[Points], out: Path | None, _: Progress
) -> PointsJob:
    return PointsJob(settings, backbone, clip, given.value, out)


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
    work=_work,
    amend=added_points,
)
