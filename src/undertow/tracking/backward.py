"""Masks carried both ways: back from the last given one to the start of the clip, and merged with what comes forward.

Before its first mask an object is known by the backward pass alone, after its last one by the forward pass alone.
Between two, each token's soft label of the object is the mean of both, weighted by

    how sure the pass is of the token (its best soft label minus the second best)
    x the square of how near the mask is that the pass comes from (1 on the frame of the mask, 0 on that of the other)

so that of two passes that are equally sure the nearer mask wins. A pass that has lost the object has no say in it.
"""

import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from time import monotonic

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from undertow.base import Progress
from undertow.masks import LabelMap, object_ids
from undertow.observing.store import TensorStore
from undertow.tracking.passes import propagate
from undertow.tracking.propagation import decide
from undertow.tracking.refining import Refiner
from undertow.tracking.results import ObjectScore, Tracked, TrackResult
from undertow.tracking.tracker import MaskTracker
from undertow.video import Clip, Frame

log = logging.getLogger(__name__)

# Between two states of the pass; those of a run are as far apart.
STATE_SECONDS = 5.0
_STATE, _DONE = "state", "done"


def backward_frames(masks: Mapping[int, LabelMap], clip: Clip) -> Sequence[int]:
    """Returns the numbers of the frames up to the last mask, if masks can be carried back to any of them."""
    last = max(masks)
    if last == clip.start or not clip.again:
        return ()
    numbers = Clip(clip.video, clip.start, last + 1, clip.every).numbers or ()
    return numbers if len(numbers) > 1 else ()


def asked_backward(
    tracker: MaskTracker, masks: Mapping[int, LabelMap], clip: Clip, folder: Path | None = None
) -> "BackwardPass | None":
    """Returns the backward pass that a tracker's settings ask for; `None` if no mask can be carried back.

    Of a stream none can, which is logged.
    """
    if tracker.settings.direction == "forward":
        return None
    if max(masks) > clip.start and not clip.again:
        log.warning(
            "%s comes once, so masks are carried forward only: an object is not on frames before its first mask",
            clip.label,
        )
    return BackwardPass(tracker, masks, clip, folder) if backward_frames(masks, clip) else None


class BackwardPass:
    """What the masks of a clip give the frames before them.

    Soft labels of every frame and now and then the tracker's state are kept on disk, so that memory does not grow with
    the video, and a pass that is interrupted goes on where it was.
    """

    def __init__(
        self, tracker: MaskTracker, masks: Mapping[int, LabelMap], clip: Clip, folder: Path | None = None
    ) -> None:
        """Prepares the pass.

        Args:
            tracker: Before its first frame.
            masks: Label maps by frame number.
            clip: The video, whose frames can be read again.
            folder: Where soft labels are kept, in a run that is to survive an interruption; `None` for a temporary one.
        """
        self.masks, self.clip, self.last = masks, clip, max(masks)
        self._named = {index: object_ids(mask) for index, mask in sorted(masks.items())}
        self._tracker, self._folder = tracker, folder
        self._store: TensorStore | None = None

    def run(self, refiner: Refiner | None, progress: Progress) -> bool:
        """Carries the masks back to the start of the clip, and returns whether there was anything left to do.

        Args:
            refiner: That of the run; it has a say here only if it feeds back.
            progress: Notified of every frame, in the stage "backward".
        """
        tracker, store = self._tracker, TensorStore(self._folder, memory=0)
        self._store = store
        numbers = backward_frames(self.masks, self.clip)
        done = self._restored(numbers)
        if done == len(numbers):
            return False
        progress.start("backward", len(numbers))
        progress.advance(done)
        left = Clip(self.clip.video, self.clip.start, numbers[len(numbers) - done - 1] + 1, self.clip.every)
        saved, feeding = monotonic(), refiner if refiner is not None and refiner.feeds_back else None
        for frame, result in propagate(reversed(left), self.masks, tracker, feeding):
            assert tracker.soft is not None
            figures = [[each.mass, each.presence, each.lost] for each in result.scores.values()]
            scores = torch.tensor(figures, dtype=torch.float64)
            ids = torch.tensor(list(result.scores))
            store.put(str(frame.index), {"soft": tracker.soft.cpu(), "ids": ids, "scores": scores})
            progress.advance(frame=frame.index)
            done += 1
            whole = done % tracker.settings.batch == 0 and monotonic() - saved >= STATE_SECONDS
            if whole or done == len(numbers):
                store.put(_STATE, {**tracker.state(), _DONE: torch.tensor(done)})
                saved = monotonic()
        return True

    def merged(self, forward: Tracked) -> Tracked:
        """Returns what both passes say of a frame together."""
        frame = forward.frame
        if frame.index >= self.last:
            return forward
        backward, mask = self._kept(frame), self.masks.get(frame.index)
        if not forward.ids:
            soft, ids = backward.soft, backward.ids
        else:
            ids = (*forward.ids, *(each for each in backward.ids if each not in forward.ids))
            soft = self._mixed((forward, backward), ids)
        decided = decide(soft, ids, frame.image.shape[:2], self._tracker.settings.channel_norm or "none", mask)
        scores = {}
        for each in ids:
            known = [side.result.scores[each] for side in (forward, backward) if each in side.ids]
            surest, area = max(known, key=lambda score: score.presence), decided.area[each]
            if each in self._named.get(frame.index, ()):
                scores[each] = replace(surest, area=area)
            else:
                presence = surest.presence if area or surest.lost else 0.0
                lost = surest.lost or area == 0
                scores[each] = ObjectScore(area, decided.margin[each], surest.mass, presence, lost)
        result = replace(forward.result, labels=decided.labels, scores=scores)
        return Tracked(frame, result, soft, ids)

    def close(self) -> None:
        """Removes what was kept."""
        if self._store is not None:
            self._store.close()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _restored(self, numbers: Sequence[int]) -> int:
        """Returns how many frames an interrupted pass had done, and goes on from there."""
        store = self._store
        assert store is not None
        if not store.holds(_STATE):
            return 0
        tensors = dict(store.get(_STATE))
        done = int(tensors.pop(_DONE))
        if not all(store.holds(str(number)) for number in numbers[len(numbers) - done :]):
            return 0
        self._tracker.restore(tensors)
        return done

    def _kept(self, frame: Frame) -> Tracked:
        """Returns what the pass said of a frame, the label map and what follows from it apart."""
        assert self._store is not None
        kept = self._store.get(str(frame.index))
        ids = tuple(kept["ids"].tolist())
        scores = {
            each: ObjectScore(0, 0.0, mass, presence, bool(lost))
            for each, (mass, presence, lost) in zip(ids, kept["scores"].tolist(), strict=True)
        }
        blank = np.zeros(frame.image.shape[:2], np.uint16)
        return Tracked(frame, TrackResult(frame.index, frame.time, frame.name, blank, scores), kept["soft"], ids)

    def _mixed(self, sides: tuple[Tracked, Tracked], ids: Sequence[int]) -> Float[Tensor, "m h w"]:
        """Returns the soft labels that the forward and the backward pass give a frame; the rest is background."""
        at = sides[0].frame.index
        sure = [_sureness(side.soft) for side in sides]
        objects = []
        for each in ids:
            known = [side for side in sides if each in side.ids]
            known = [side for side in known if not side.result.scores[each].lost] or known
            labels = [side.soft[1 + side.ids.index(each)].cpu() for side in known]
            if len(known) == 1 or each in self._named.get(at, ()):
                objects.append(labels[0])
                continue
            given = [index for index, named in self._named.items() if each in named]
            before, after = max(n for n in given if n < at), min(n for n in given if n > at)
            weights = [(after - at) ** 2 * sure[0], (at - before) ** 2 * sure[1]]
            objects.append((weights[0] * labels[0] + weights[1] * labels[1]) / (weights[0] + weights[1]))
        claimed = torch.stack(objects)
        return torch.cat([(1 - claimed.sum(0, keepdim=True)).clamp(min=0), claimed])


def _sureness(soft: Float[Tensor, "m h w"]) -> Float[Tensor, "h w"]:
    """Returns the best soft label of each token less the second best; never zero, so that there is a mean."""
    best = soft.cpu().topk(2, dim=0).values
    return (best[0] - best[1]).clamp(min=1e-6)
