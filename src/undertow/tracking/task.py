"""The task `track`: masks through a video."""

import logging
from pathlib import Path

from undertow.backbones import Backbone
from undertow.base import Progress
from undertow.masks import object_ids, too_small
from undertow.runs.task import Given, Phase, Task, Work
from undertow.tracking import MaskTracker, TrackSettings
from undertow.tracking import footprint as footprints
from undertow.tracking.conditions import asked_kernels, asked_refiner
from undertow.tracking.corrections import corrections
from undertow.tracking.cues import Masks, gather
from undertow.tracking.footprint import footprint, network_bytes_per_pixel, weights_bytes
from undertow.tracking.job import MASKS, RLES, SCORES, TrackJob
from undertow.tracking.settings import ResolvedSettings, resolve
from undertow.video import Clip

log = logging.getLogger(__name__)


def _resolve(
    settings: TrackSettings, backbone: Backbone, size: tuple[int, int], given: Given[Masks]
) -> ResolvedSettings:
    resolved = resolve(settings, backbone, *size, tuned=settings.tuned)
    for index, labels in given.value.items():
        if small := too_small(labels, resolved.grid):
            log.warning(
                "the mask of frame %d: %s smaller than a cell of the model's grid, and may be lost at once; "
                "use a larger --size",
                index,
                f"object {small[0]} is" if len(small) == 1 else f"objects {', '.join(map(str, small))} are",
            )
    return resolved


def _work(resolved: ResolvedSettings, backbone: Backbone, clip: Clip, given: Given[Masks]) -> Work:
    weights, objects = weights_bytes(backbone), {each for labels in given.value.values() for each in object_ids(labels)}
    held = footprint(
        footprints.Work(
            clip.height, clip.width, clip.frame_count, len(objects), len(given.value), overlay=True, base=weights,
            weights=weights, network=network_bytes_per_pixel(backbone), cuda=backbone.device.type == "cuda",
        ),
        resolved,
    )  # fmt: skip
    phases = tuple(Phase(name, bytes={"in all": size}) for name, size in held.phases.items())
    size = (clip.height, clip.width)
    return Work(clip.frame_count, size, resolved.input_size, resolved.grid, len(objects), phases)


def _start(
    settings: TrackSettings, backbone: Backbone, clip: Clip, given: Given[Masks], out: Path | None, progress: Progress
) -> TrackJob:
    tuned = asked_kernels(settings, backbone, clip, given.value, out, progress)
    tracker = MaskTracker(backbone, settings, tuned)
    return TrackJob(tracker, given.value, asked_refiner(settings, backbone))


TASK = Task(
    name="track",
    title="Masks, boxes, points or words through a video",
    settings=TrackSettings,
    cues=("mask", "box", "point", "text"),
    files=(f"{MASKS}/*.png", RLES, SCORES),
    views=("overlay.mp4",),
    gather=gather,
    resolve=_resolve,
    start=_start,
    work=_work,
    amend=corrections,
    live=("overlay.mp4",),
)
