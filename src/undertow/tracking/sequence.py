"""From a video and its masks to a label map for every frame: the tracker fed batch by batch."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path

import numpy as np

from undertow.backbones import Backbone
from undertow.base import CueError, MaskError, VideoError
from undertow.masks import LabelMap, check_label_map, object_ids, read_label_map
from undertow.tracking.kernels import TunedKernels
from undertow.tracking.settings import TrackSettings
from undertow.tracking.tracker import MaskTracker, TrackResult
from undertow.video import Clip, Frame, Video

Mask = LabelMap | str | Path


def track(
    video: Video | Clip | str | Path | np.ndarray,
    mask: Mask | Mapping[int, Mask],
    model: Backbone | str | Path = "tiny",
    settings: TrackSettings | None = None,
    tuned: TunedKernels | None = None,
) -> Iterator[TrackResult]:
    """Yields the label map of every frame of a video.

    Args:
        video: A video, a clip of one, or anything `Video` opens, an endless generator of images included.
        mask: Label map (array or file) of the first frame, or several by frame number; see `MaskTracker.step`.
        model: A loaded backbone, or the name or folder of one.
        settings: Options; defaults come from the model's card.
        tuned: Kernels of objects; see `undertow.tracking.tuning`.

    Yields:
        One `TrackResult` per frame, as soon as it is known. Frames before the first mask have no objects and are
        yielded empty. Memory does not grow with the video.
    """
    video = video if isinstance(video, Video | Clip) else Video(video)
    start = video.start if isinstance(video, Clip) else 0
    masks = check_masks(video, mask if isinstance(mask, Mapping) else {start: mask})
    for _, result in propagate(video, masks, MaskTracker(model, settings, tuned)):
        yield result


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
        else check_label_map(each, size=size, source=f"the mask of frame {index}")
        for index, each in given.items()
    }
    for index, labels in masks.items():
        if not object_ids(labels):
            raise MaskError(f"the mask of frame {index} has no object; paint at least one with an id of 1 or more")
    return masks


def propagate(
    frames: Iterable[Frame], masks: Mapping[int, LabelMap], tracker: MaskTracker
) -> Iterator[tuple[Frame, TrackResult]]:
    """Yields frames with their label maps, observing a batch of frames at a time.

    What a frame's batch is decides its features to the last bit. So a tracker whose state was kept between two
    batches, and who is then given the frames that follow, answers as if it had never stopped.

    Args:
        frames: The frames, in order; not more than a batch is held at a time.
        masks: Label maps by frame number.
        tracker: What has seen the frames before these, if any.
    """
    first, frames = min(masks), iter(frames)
    while batch := list(islice(frames, tracker.settings.batch)):
        wanted = [frame for frame in batch if frame.index >= first]
        features = iter(tracker.observe(wanted)) if wanted else iter(())
        for frame in batch:
            if frame.index < first:
                yield (
                    frame,
                    TrackResult(frame.index, frame.time, frame.name, np.zeros(frame.image.shape[:2], np.uint16), {}),
                )
            else:
                yield frame, tracker.advance(frame, next(features), masks.get(frame.index))
