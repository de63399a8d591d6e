"""Which reference frames are alive: anchors the user gave, which stay, the most recent frames, and a few older ones."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

# By the number of a frame, row and column there, in tokens, of every token of another frame.
Origins = Mapping[int, Float[Tensor, "2 s"]]


@dataclass(frozen=True)
class Reference:
    """A frame that labels are carried from.

    Attributes:
        index: Its number.
        keys: What queries are compared with.
        labels: Soft labels, background first; objects that it knows nothing of have zeros.
        known: Which channels it knows. A frame from before an object joined may well show it, as background.
        own: On an anchor, what every object whose mask was given scores on the anchor itself (see `AnchorTokens.own`),
            zeros for other channels. None on other frames.
        places: Where its tokens are expected in the next frame: row, column, and from 0 to 1 how far that is to be
            believed. None if they may be anywhere.
        origins: Where its tokens were in frames of long ago, if they were followed.
        colours: The mean colours of its tokens, if objects are told apart by what they look like.
    """

    index: int
    keys: Float[Tensor, "a s d"]
    labels: Float[Tensor, "n s"]
    known: Bool[Tensor, "n"]
    own: Float[Tensor, "2 n"] | None = None
    places: Float[Tensor, "3 s"] | None = None
    origins: Origins = field(default_factory=dict)
    colours: Float[Tensor, "s 3"] | None = None


@dataclass(frozen=True)
class Memory:
    """Anchors, the last and a few older frames; its size depends on settings and anchors, not on the video's length.

    Soft labels are kept as they came, never decided and never stretched, so that doubt survives. A memory does not
    change: every method returns another one, so whoever is interrupted still has the one before.

    Attributes:
        limit: Most recent frames kept.
        anchors: Frames whose masks were given, in the order they were given.
        recent: The last frames, from old to new.
        distant: A few older frames, if tokens are followed; see `undertow.tracking.origins`.
        origins: Where the last frame's tokens were in distant frames and anchors.
        seen: How many frames have been remembered as recent ones.
    """

    limit: int
    anchors: tuple[Reference, ...] = ()
    recent: tuple[Reference, ...] = ()
    distant: tuple[Reference, ...] = ()
    origins: Origins = field(default_factory=dict)
    seen: int = 0

    def references(self) -> list[Reference]:
        """Returns the live references, anchors first, then recent frames from old to new."""
        return [*self.anchors, *self.recent]

    def with_anchor(self, reference: Reference) -> "Memory":
        """Keeps a frame for good, in place of one with the same number."""
        others = tuple(anchor for anchor in self.anchors if anchor.index != reference.index)
        return replace(self, anchors=(*others, reference))

    def with_recent(self, reference: Reference) -> "Memory":
        """Keeps a frame until `limit` newer ones have come."""
        recent = (*self.recent, reference)
        return replace(self, recent=recent[max(0, len(recent) - self.limit) :], seen=self.seen + 1)

    def limited(self, limit: int) -> "Memory":
        """Keeps another number of recent frames from now on."""
        return replace(self, limit=limit, recent=self.recent[max(0, len(self.recent) - limit) :])

    def with_distant(self, reference: Reference, limit: int) -> "Memory":
        """Keeps a frame until `limit` newer ones have been kept like it."""
        return replace(self, distant=(*self.distant, reference)[-limit:])

    def followed(self, move: Callable[[Float[Tensor, "3 s"]], Float[Tensor, "3 s"]]) -> "Memory":
        """Takes the places that tokens of references are followed to on to another frame."""
        return self._mapped(lambda each: each if each.places is None else replace(each, places=move(each.places)))

    def relabelled(self, index: int, labels: Float[Tensor, "n s"]) -> "Memory":
        """Gives a frame that was not given its mask other soft labels."""

        def told(references: Iterable[Reference]) -> tuple[Reference, ...]:
            return tuple(replace(each, labels=labels) if each.index == index else each for each in references)

        return replace(self, recent=told(self.recent), distant=told(self.distant))

    def with_objects(self, count: int) -> "Memory":
        """Gives every reference `count` more channels, of objects that it does not know."""

        def widened(reference: Reference) -> Reference:
            zeros = reference.labels.new_zeros(count, reference.labels.shape[1])
            labels = torch.cat([reference.labels, zeros])
            known = torch.cat([reference.known, torch.zeros(count).bool()])
            own = None if reference.own is None else torch.cat([reference.own, torch.zeros(2, count)], dim=1)
            return replace(reference, labels=labels, known=known, own=own)

        return self._mapped(widened)

    def without_knowledge(self, channels: Sequence[int]) -> "Memory":
        """Makes every reference unaware of some objects, and drops those that then know no object at all.

        A mask that corrects an object says that what was carried before it was wrong, and many wrong references would
        outvote the one that is right.

        Args:
            channels: Channels of the objects in the soft labels.
        """
        gone = list(channels)

        def unaware(reference: Reference) -> Reference:
            labels, known = reference.labels.clone(), reference.known.clone()
            labels[gone], known[gone] = 0.0, False
            own = None if reference.own is None else reference.own.index_fill(1, torch.tensor(gone), 0.0)
            return replace(reference, labels=labels, known=known, own=own)

        return self._mapped(unaware)._useful() if gone else self

    def without_object(self, channel: int) -> "Memory":
        """Takes an object out of every reference: what it held is background there."""

        def thinner(reference: Reference) -> Reference:
            kept = [each for each in range(len(reference.labels)) if each != channel]
            labels = reference.labels[kept].clone()
            labels[0] += reference.labels[channel]
            own = None if reference.own is None else reference.own[:, kept]
            return replace(reference, labels=labels, known=reference.known[kept], own=own)

        return self._mapped(thinner)._useful()

    def _mapped(self, change: Callable[[Reference], Reference]) -> "Memory":
        anchors, recent, distant = (tuple(map(change, each)) for each in (self.anchors, self.recent, self.distant))
        return replace(self, anchors=anchors, recent=recent, distant=distant)

    def _useful(self) -> "Memory":
        """Returns the memory without references that know no object."""

        def kept(references: Iterable[Reference]) -> tuple[Reference, ...]:
            return tuple(each for each in references if each.known[1:].any())

        anchors, recent, distant = map(kept, (self.anchors, self.recent, self.distant))
        return replace(self, anchors=anchors, recent=recent, distant=distant)
