"""From a video and its masks to a label map for every frame."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from undertow import backbones
from undertow.backbones import Backbone
from undertow.base import CueError, MaskError, SilentProgress, VideoError
from undertow.masks import LabelMap, given_label_map, object_ids, read_label_map
from undertow.tracking.backward import asked_backward
from undertow.tracking.conditions import asked_kernels, asked_refiner
from undertow.tracking.kernels import TunedKernels
from undertow.tracking.passes import propagate
from undertow.tracking.refining import Refiner
from undertow.tracking.results import TrackResult
from undertow.tracking.settings import TrackSettings
from undertow.tracking.tracker import MaskTracker
from undertow.video import Clip, Video

Mask = LabelMap | str | Path


def track(
    video: Video | Clip | str | Path | np.ndarray,
    mask: Mask | Mapping[int, Mask],
    model: Backbone | str | Path = "tiny",
    settings: TrackSettings | None = None,
    tuned: TunedKernels | None = None,
    refiner: Refiner | None = None,
) -> Iterator[TrackResult]:
    """Yields the label map of every frame of a video.

        for frame in ut.track("clip.mp4", mask="first.png"):
            frame.labels, frame.scores

    Args:
        video: A video, a clip of one, or anything `Video` opens, an endless generator of images included.
        mask: Label map (array or file) of the first frame, or several by frame number; see `MaskTracker.step`.
        model: A loaded backbone, or the name or folder of one.
        settings: Options; defaults come from the model's card.
        tuned: Kernels of objects, instead of those of the settings; see `undertow.tracking.tuning`.
        refiner: Refiner of the tracker's masks, instead of the settings' `refine`.

    Yields:
        One `TrackResult` per frame, in order. If a mask belongs to a later frame than the first, the video is read
        backward first (see `undertow.tracking.backward`). For a stream, or if the settings' direction is forward,
        frames before an object's first mask are yielded without it. Memory does not grow with the video.
    """
    video = video if isinstance(video, Video | Clip) else Video(video)
    video = video if isinstance(video, Clip) else Clip(video)
    masks = check_masks(video, mask if isinstance(mask, Mapping) else {video.start: mask})
    backbone, settings = backbones.load(model) if isinstance(model, str | Path) else model, settings or TrackSettings()
    tuned = tuned or asked_kernels(settings, backbone, video, masks, None, SilentProgress())
    refiner = refiner or asked_refiner(settings, backbone)
    backward = asked_backward(MaskTracker(backbone, settings, tuned), masks, video)
    if backward is not None:
        backward.run(refiner, SilentProgress())
    merge = None if backward is None else backward.merged
    for _, result in propagate(video, masks, MaskTracker(backbone, settings, tuned), refiner, merge):
        yield result
    if backward is not None:
        backward.close()


def check_masks(video: Video | Clip, given: Mapping[int, Mask]) -> dict[int, LabelMap]:
    """Returns the label map of every frame that has one, read and checked.

    Raises:
        CueError: if there is none, or the video has no such frame.
        MaskError: if one is not a label map of the video's size, or has no object.
    """
    if not given:
        raise CueError("no mask was given; pass one for the first frame to say what to track")
    for index in given:
        try:
            video.name_of(index)
        except VideoError as error:
            raise CueError(f"the mask of frame {index} cannot be used: {error}") from error
    size = (video.height, video.width)
    masks = {
        index: read_label_map(each, size=size)
        if isinstance(each, str | Path)
        else given_label_map(each, size=size, source=f"the mask of frame {index}")
        for index, each in given.items()
    }
    for index, labels in masks.items():
        if not object_ids(labels):
            raise MaskError(f"the mask of frame {index} has no object; paint at least one with an id of 1 or more")
    return masks
