"""From a video and its masks to a label map for every frame: the tracker fed batch by batch."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby, islice
from pathlib import Path

import numpy as np
from jaxtyping import Float
from torch import Tensor

from undertow import backbones
from undertow.backbones import Backbone
from undertow.base import CueError, MaskError, SilentProgress, VideoError
from undertow.masks import LabelMap, given_label_map, object_ids, read_label_map
from undertow.refinement import SoftFrame
from undertow.tracking.conditions import asked_kernels, asked_refiner
from undertow.tracking.kernels import TunedKernels
from undertow.tracking.refining import Refiner, refined
from undertow.tracking.results import TrackResult
from undertow.tracking.settings import TrackSettings
from undertow.tracking.tracker import MaskTracker
from undertow.video import Clip, Frame, Video

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

    Args:
        video: A video, a clip of one, or anything `Video` opens, an endless generator of images included.
        mask: Label map (array or file) of the first frame, or several by frame number; see `MaskTracker.step`.
        model: A loaded backbone, or the name or folder of one.
        settings: Options; defaults come from the model's card.
        tuned: Kernels of objects, in place of those that the settings ask for; see `undertow.tracking.tuning`.
        refiner: What makes better masks of the tracker's, in place of the settings' `refine`.

    Yields:
        One `TrackResult` per frame, as soon as it is known. Frames before the first mask have no objects and are
        yielded empty. Memory does not grow with the video.
    """
    video = video if isinstance(video, Video | Clip) else Video(video)
    start = video.start if isinstance(video, Clip) else 0
    masks = check_masks(video, mask if isinstance(mask, Mapping) else {start: mask})
    backbone, settings = backbones.load(model) if isinstance(model, str | Path) else model, settings or TrackSettings()
    tuned = tuned or asked_kernels(settings, backbone, video, masks, None, SilentProgress())
    refiner = refiner or asked_refiner(settings, backbone)
    for _, result in propagate(video, masks, MaskTracker(backbone, settings, tuned), refiner):
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
        else given_label_map(each, size=size, source=f"the mask of frame {index}")
        for index, each in given.items()
    }
    for index, labels in masks.items():
        if not object_ids(labels):
            raise MaskError(f"the mask of frame {index} has no object; paint at least one with an id of 1 or more")
    return masks


def propagate(
    frames: Iterable[Frame],
    masks: Mapping[int, LabelMap],
    tracker: MaskTracker,
    refiner: Refiner | None = None,
) -> Iterator[tuple[Frame, TrackResult]]:
    """Yields frames with their label maps, observing a batch of frames at a time.

    What a frame's batch is decides its features to the last bit. So a tracker whose state was kept between two
    batches, and who is then given the frames that follow, answers as if it had never stopped.

    Args:
        frames: The frames, in order; not more than a batch is held at a time.
        masks: Label maps by frame number.
        tracker: What has seen the frames before these, if any.
        refiner: What makes better masks of the tracker's, a batch at a time; they are propagated only if it feeds back.
    """
    first, frames = min(masks), iter(frames)
    while batch := list(islice(frames, tracker.settings.batch)):
        early = [frame for frame in batch if frame.index < first]
        for frame in early:
            blank = np.zeros(frame.image.shape[:2], np.uint16)
            yield frame, TrackResult(frame.index, frame.time, frame.name, blank, {})
        tracked = _advanced(batch[len(early) :], masks, tracker)
        if refiner is None:
            yield from ((frame, result) for frame, result, _ in tracked)
        elif refiner.feeds_back:
            # A frame's refined mask is what the next is tracked from, so they go one by one.
            for each in tracked:
                for frame, result in _refined([each], masks, tracker, refiner):
                    tracker.teach(result.labels)
                    yield frame, result
        else:
            yield from _refined(list(tracked), masks, tracker, refiner)


def _advanced(
    frames: Sequence[Frame], masks: Mapping[int, LabelMap], tracker: MaskTracker
) -> Iterator[tuple[Frame, TrackResult, Float[Tensor, "m h w"]]]:
    """Yields a batch's frames with their results and soft masks, each as soon as it is known."""
    for frame, features in zip(frames, tracker.observe(frames) if frames else (), strict=True):
        result = tracker.advance(frame, features, masks.get(frame.index))
        assert tracker.soft is not None
        yield frame, result, tracker.soft


def _refined(
    tracked: Sequence[tuple[Frame, TrackResult, Float[Tensor, "m h w"]]],
    masks: Mapping[int, LabelMap],
    tracker: MaskTracker,
    refiner: Refiner,
) -> Iterator[tuple[Frame, TrackResult]]:
    """Yields a batch's frames with refined results; frames before an object joins have a mask less than those after."""
    for count, group in groupby(tracked, key=lambda each: len(each[2])):
        together = list(group)
        pairs = [(SoftFrame(frame.index, frame.image, soft), result) for frame, result, soft in together]
        results = refined(pairs, masks, tracker.ids[: count - 1], refiner)
        yield from zip((frame for frame, _, _ in together), results, strict=True)
