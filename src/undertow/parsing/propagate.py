"""Coarse labels moved by the tracker's kernel: class c goes along as object c + 1 (see `undertow.tracking`)."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from undertow.masks import LabelMap
from undertow.observing.observer import Observer
from undertow.parsing.protocols import CoarseBatch
from undertow.parsing.settings import ResolvedParse
from undertow.tracking import MaskTracker, TrackSettings
from undertow.video import Frame

# Frames observed at once.
_TOGETHER = 4


class PropagatingLabeller:
    """Labels tokens by what the tracker carries over from the anchors and the frames before.

    Frames before the first anchor are tracked backwards from it. Anchors after the first are used when they come.

    Args:
        observer: What shows the model the frames.
        resolved: The run's numbers.
        ids: Classes of the anchors.
    """

    def __init__(self, observer: Observer, resolved: ResolvedParse, ids: Sequence[int]) -> None:
        self.observer, self.resolved, self.ids = observer, resolved, tuple(ids)
        self.objects = {number: place for place, number in enumerate(ids, start=1)}
        self.forward = self._tracker()
        self.backward: MaskTracker | None = None

    def learn(self, frames: Sequence[Frame], anchors: Mapping[int, LabelMap]) -> None:
        """Does nothing: the tracker knows an anchor when it comes to its frame."""

    @torch.no_grad()
    def label(
        self, frames: Sequence[Frame], anchors: Mapping[int, LabelMap], *, backwards: bool = False
    ) -> CoarseBatch:
        """Returns the labels of a batch's tokens."""
        soft: dict[int, Float[Tensor, "m h w"]] = {}
        if backwards and self.backward is not None:
            soft = self._track(self.backward, frames[::-1], {})
        elif self.forward.ids:
            soft = self._track(self.forward, frames, anchors)
        else:
            first = next(place for place, frame in enumerate(frames) if frame.index in anchors)
            self.backward = self._tracker()
            # Forwards first, so that frames are encoded in the batches of a tracker.
            forward = self._track(self.forward, frames[first:], anchors)
            soft = self._track(self.backward, frames[first::-1], anchors) | forward
        maps = torch.stack([soft[frame.index] for frame in frames])
        return CoarseBatch([frame.index for frame in frames], [frame.image for frame in frames], maps, self.ids)

    def _tracker(self) -> MaskTracker:
        asked, resolved = self.resolved.settings, self.resolved
        size = (resolved.input_size[1], resolved.input_size[0])
        # A class has no presence of its own to be judged: something is everywhere.
        settings = TrackSettings(
            size=size,
            fit=asked.fit,
            timestep=asked.timestep,
            noising=asked.noising,
            seed=asked.seed,
            batch=_TOGETHER,
            lost="keep",
            cache=asked.cache,
        )
        return MaskTracker(self.observer.backbone, settings, store=self.observer.store)

    def _track(
        self, tracker: MaskTracker, frames: Sequence[Frame], anchors: Mapping[int, LabelMap]
    ) -> dict[int, Float[Tensor, "m h w"]]:
        """Returns the classes' probabilities by frame number, for frames in the order they are tracked in."""
        found = {}
        for start in range(0, len(frames), _TOGETHER):
            part = frames[start : start + _TOGETHER]
            for frame, features in zip(part, tracker.observe(part), strict=True):
                anchor = anchors.get(frame.index)
                tracker.advance(frame, features, None if anchor is None else self._as_objects(anchor))
                assert tracker.soft is not None
                found[frame.index] = self._classes(tracker)
        return found

    def _as_objects(self, anchor: LabelMap) -> LabelMap:
        """Returns an anchor with class c as the object of its place among the ids, and void as background."""
        table = np.zeros(65536, np.uint16)
        for number, place in self.objects.items():
            table[number] = place
        return table[anchor]

    def _classes(self, tracker: MaskTracker) -> Float[Tensor, "m h w"]:
        """Returns a tracker's soft masks as probabilities of the classes; background, which is void, goes to none."""
        assert tracker.soft is not None
        soft = tracker.soft.new_zeros(len(self.ids), *tracker.soft.shape[1:])
        for channel, number in enumerate(tracker.ids, start=1):
            soft[number - 1] = tracker.soft[channel]
        return (soft + 1e-6) / (soft + 1e-6).sum(0)

    def state(self) -> dict[str, Tensor]:
        """Returns the tracker's state, none before the first anchor."""
        return self.forward.state() if self.forward.ids else {}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Goes on from what `state` returned."""
        self.forward = self._tracker()
        if tensors:
            self.forward.restore(tensors)
