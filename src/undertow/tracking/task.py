"""The task `track`: masks through a video."""

import logging
from dataclasses import replace
from pathlib import Path

from undertow.backbones import Backbone
from undertow.base import Progress
from undertow.masks import too_small
from undertow.runs.plan import first_frames
from undertow.runs.task import Given, Task
from undertow.tracking import MaskTracker, TrackSettings
from undertow.tracking.backward import asked_backward
from undertow.tracking.conditions import asked_kernels, asked_refiner
from undertow.tracking.corrections import corrections
from undertow.tracking.cues import Masks, gather
from undertow.tracking.job import BACKWARD, MASKS, RLES, SCORES, TrackJob
from undertow.tracking.settings import ResolvedSettings, resolve
from undertow.tracking.work import track_work
from undertow.video import Clip

log = logging.getLogger(__name__)


def _resolve(
    settings: TrackSettings, backbone: Backbone, size: tuple[int, int], given: Given[Masks]
) -> ResolvedSettings:
    return resolve(settings, backbone, *size, tuned=settings.tuned)


def _start(
    settings: TrackSettings, backbone: Backbone, clip: Clip, given: Given[Masks], out: Path | None, progress: Progress
) -> TrackJob:
    grid = _resolve(settings, backbone, (clip.height, clip.width), given).grid
    for index, labels in given.value.items():
        if small := too_small(labels, grid):
            log.warning(
                "the mask of frame %d: %s smaller than a cell of the model's grid, and may be lost at once; "
                "use a larger --size",
                index,
                f"object {small[0]} is" if len(small) == 1 else f"objects {', '.join(map(str, small))} are",
            )
    tuned = asked_kernels(settings, backbone, clip, given.value, out, progress)
    back, forth = (MaskTracker(backbone, settings, tuned) for _ in range(2))
    backward = asked_backward(back, given.value, clip, None if out is None else out / BACKWARD)
    return TrackJob(forth, given.value, asked_refiner(settings, backbone), backward)


def _trial(
    settings: TrackSettings, clip: Clip, given: Given[Masks], frames: int, tokens: int
) -> tuple[TrackSettings, Clip, Given[Masks]]:
    """Returns a run of the first frames whose objects begin there, by one kernel for all."""
    settings, short, _ = first_frames(settings, clip, given, frames, tokens)
    untuned = replace(settings, tuning="off", class_name=None, caption=None, captioner=None, conditioning=None)
    return untuned, short, Given({short.start: given.value[min(given.value)]})


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
    amend=corrections,
    work=track_work,
    trial=_trial,
    live=("overlay.mp4",),
    extras=(f"{BACKWARD}/*.safetensors",),
)
