"""One pass through a video: a tracker fed batch by batch, in whichever order the frames come."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby

import numpy as np
import torch

from undertow.export.run import SoftMasks
from undertow.masks import LabelMap
from undertow.refinement import SoftFrame
from undertow.tracking.refining import Refiner, refined
from undertow.tracking.results import Tracked, TrackResult
from undertow.tracking.tracker import MaskTracker
from undertow.video import Frame
from undertow.video.frames import batches


def propagate(
    frames: Iterable[Frame],
    masks: Mapping[int, LabelMap],
    tracker: MaskTracker,
    refiner: Refiner | None = None,
    merge: Callable[[Tracked], Tracked] | None = None,
) -> Iterator[tuple[Frame, TrackResult]]:
    """Yields frames with their label maps, observing a batch of frames at a time.

    What a frame's batch is decides its features to the last bit. So a tracker whose state was kept between two
    batches, and who is then given the frames that follow, answers as if it had never stopped.

    Args:
        frames: The frames, in the order in which masks are carried; not more than a batch is held at a time.
        masks: Label maps by frame number.
        tracker: What has seen the frames before these, if any.
        refiner: What makes better masks of the tracker's, a batch at a time; they are propagated only if it feeds back.
        merge: Merges what the tracker gives a frame with what is known of the frame otherwise, before it is refined.
    """
    for batch in batches(frames, tracker.settings.batch):
        tracked = _tracked(batch, masks, tracker)
        if merge is not None:
            tracked = map(merge, tracked)
        if tracker.settings.keep_soft:
            tracked = map(_with_soft, tracked)
        if refiner is None:
            yield from ((each.frame, each.result) for each in tracked)
        elif refiner.feeds_back:
            # A frame's refined mask is what the next is tracked from, so they go one by one.
            for each in tracked:
                for frame, result in _refined([each], masks, refiner):
                    if tracker.ids:
                        tracker.teach(result.labels)
                    yield frame, result
        else:
            yield from _refined(list(tracked), masks, refiner)


def _tracked(batch: Sequence[Frame], masks: Mapping[int, LabelMap], tracker: MaskTracker) -> Iterator[Tracked]:
    """Yields a batch's frames, each as soon as it is tracked; those before the first mask are blank."""
    begin = 0 if tracker.ids else next((n for n, frame in enumerate(batch) if frame.index in masks), len(batch))
    for frame in batch[:begin]:
        blank = np.zeros(frame.image.shape[:2], np.uint16)
        yield Tracked(frame, TrackResult(frame.index, frame.time, frame.name, blank, {}), torch.ones(1, 1, 1), ())
    late = batch[begin:]
    for frame, features in zip(late, tracker.observe(late) if late else (), strict=True):
        result = tracker.advance(frame, features, masks.get(frame.index))
        assert tracker.soft is not None
        yield Tracked(frame, result, tracker.soft, tracker.ids)


def _with_soft(tracked: Tracked) -> Tracked:
    """Returns a frame whose result has its soft masks too; before the first mask there are none."""
    if not tracked.ids:
        return tracked
    soft = SoftMasks(np.array([0, *tracked.ids], np.uint16), tracked.soft.float().cpu().numpy())
    return tracked._replace(result=replace(tracked.result, soft=soft))


def _refined(
    tracked: Sequence[Tracked], masks: Mapping[int, LabelMap], refiner: Refiner
) -> Iterator[tuple[Frame, TrackResult]]:
    """Yields a batch's frames with refined results; frames before an object joins have a mask less than those after."""
    for ids, group in groupby(tracked, key=lambda each: each.ids):
        together = list(group)
        pairs = [(SoftFrame(each.frame.index, each.frame.image, each.soft), each.result) for each in together]
        results = refined(pairs, masks, ids, refiner) if ids else (each.result for each in together)
        yield from zip((each.frame for each in together), results, strict=True)
