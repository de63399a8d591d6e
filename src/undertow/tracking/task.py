"""The task `track`: masks through a video."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from undertow.backbones import Backbone
from undertow.base import Progress
from undertow.masks import LabelMap, too_small
from undertow.runs.cues import described
from undertow.runs.task import Given, Task
from undertow.tracking import MaskTracker, Refiner, TrackSettings, TunedKernels, check_masks
from undertow.tracking.corrections import corrections
from undertow.tracking.job import MASKS, RLES, SCORES, TrackCues, TrackJob
from undertow.tracking.settings import ResolvedSettings, resolve
from undertow.video import Clip, Video

log = logging.getLogger(__name__)


def given_masks(
    video: Video | Clip,
    masks: Mapping[int, LabelMap],
    typed: Sequence[Mapping[str, Any]] = (),
    *,
    tuned: TunedKernels | None = None,
    refiner: Refiner | None = None,
) -> Given[TrackCues]:
    """Returns label maps by frame number as cues of a run.

    Args:
        video: The video.
        masks: The label maps.
        typed: What the user typed, for the log in run.json.
        tuned: Kernels of objects.
        refiner: What makes better masks of the tracker's.

    Raises:
        CueError, MaskError: if there is none, or one does not fit the video.
    """
    checked = check_masks(video, masks)
    digests = (described(index, labels) for index, labels in checked.items())
    return Given(TrackCues(checked, tuned, refiner), (*typed, *digests), tuple(sorted(checked)))


def _resolve(
    settings: TrackSettings, backbone: Backbone, size: tuple[int, int], given: Given[TrackCues]
) -> ResolvedSettings:
    resolved = resolve(settings, backbone, *size, tuned=given.value.tuned is not None)
    for index, labels in given.value.masks.items():
        if small := too_small(labels, resolved.grid):
            log.warning(
                "the mask of frame %d: %s smaller than a cell of the model's grid, and may be lost at once; "
                "use a larger --size",
                index,
                f"object {small[0]} is" if len(small) == 1 else f"objects {', '.join(map(str, small))} are",
            )
    return resolved


def _start(
    settings: TrackSettings, backbone: Backbone, clip: Clip, given: Given[TrackCues], out: Path | None, _: Progress
) -> TrackJob:
    return TrackJob(MaskTracker(backbone, settings, given.value.tuned), given.value)


TASK = Task(
    name="track",
    title="Masks, boxes, points or words through a video",
    settings=TrackSettings,
    cues=("mask", "box", "point", "text"),
    files=(f"{MASKS}/*.png", RLES, SCORES),
    views=("overlay.mp4",),
    gather=lambda cues, clip, backbone, settings: given_masks(clip, dict(cues)),
    resolve=_resolve,
    start=_start,
    amend=corrections,
    live=("overlay.mp4",),
)
