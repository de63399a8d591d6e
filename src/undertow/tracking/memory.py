"""Which reference frames are alive: anchors the user gave, which stay, and recent ones in a ring."""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor


@dataclass(frozen=True)
class Reference:
    """A frame that labels are carried from.

    Attributes:
        index: Its number.
        keys: What queries are compared with.
        labels: Soft labels, background first; objects that it knows nothing of have zeros.
        known: Which channels it knows. A frame from before an object joined may well show it, as background.
        own: On an anchor, what every object whose mask was given scores on the anchor itself (see `Witnesses.own`),
            zeros for other channels. None on other frames.
    """

    index: int
    keys: Float[Tensor, "a s d"]
    labels: Float[Tensor, "n s"]
    known: Bool[Tensor, "n"]
    own: Float[Tensor, "2 n"] | None = None


class Memory:
    """Anchors and the `recent` last frames, anchors first; size depends on settings and anchors, never on length.

    Soft labels are kept as they came, never decided and never stretched, so that doubt survives.
    """

    def __init__(self, recent: int):
        self.anchors: list[Reference] = []
        self._ring: deque[Reference] = deque(maxlen=recent)

    def references(self) -> list[Reference]:
        """Returns the live references, anchors first, then recent frames from old to new; no frame twice."""
        return [*self.anchors, *self._ring]

    def add_anchor(self, reference: Reference) -> None:
        """Keeps a frame for good, in place of one with the same number."""
        self.anchors = [anchor for anchor in self.anchors if anchor.index != reference.index] + [reference]

    def push(self, reference: Reference) -> None:
        """Keeps a frame until `recent` newer ones have come."""
        self._ring.append(reference)

    def relabel(self, index: int, labels: Float[Tensor, "n s"]) -> None:
        """Gives the newest recent frame other soft labels, if it is frame `index`; an anchor keeps what was given."""
        if self._ring and self._ring[-1].index == index:
            self._ring[-1] = replace(self._ring[-1], labels=labels)

    def forget(self, channels: Sequence[int]) -> None:
        """Makes every reference unaware of some objects, and drops those that then know no object at all.

        A mask that corrects an object says that what was carried before it was wrong, and many wrong references would
        outvote the one that is right.

        Args:
            channels: Channels of the objects in the soft labels.
        """
        gone = list(channels)

        def without(reference: Reference) -> Reference:
            labels, known = reference.labels.clone(), reference.known.clone()
            labels[gone], known[gone] = 0.0, False
            own = None if reference.own is None else reference.own.index_fill(1, torch.tensor(gone), 0.0)
            return replace(reference, labels=labels, known=known, own=own)

        def kept(references: Iterable[Reference]) -> list[Reference]:
            return [each for each in map(without, references) if each.known[1:].any()]

        if gone:
            self.anchors = kept(self.anchors)
            self._ring = deque(kept(self._ring), maxlen=self._ring.maxlen)

    def add_objects(self, count: int) -> None:
        """Gives every reference `count` more channels, of objects that it does not know."""

        def widened(reference: Reference) -> Reference:
            zeros = reference.labels.new_zeros(count, reference.labels.shape[1])
            labels = torch.cat([reference.labels, zeros])
            known = torch.cat([reference.known, torch.zeros(count).bool()])
            own = None if reference.own is None else torch.cat([reference.own, torch.zeros(2, count)], dim=1)
            return replace(reference, labels=labels, known=known, own=own)

        self.anchors = [widened(anchor) for anchor in self.anchors]
        self._ring = deque((widened(each) for each in self._ring), maxlen=self._ring.maxlen)
