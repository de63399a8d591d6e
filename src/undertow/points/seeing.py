"""What a model saw of a video: features of its frames, one at a time or in chunks, and flow between neighbours."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from undertow.backbones import Backbone
from undertow.base import Progress
from undertow.observing.cache import Cache
from undertow.observing.observer import FrameFeatures, Observer
from undertow.observing.store import TensorStore
from undertow.points.flow import Flow
from undertow.points.following import Pair, cover, descriptors
from undertow.points.settings import ResolvedPoints
from undertow.video import Frame


class SeenVideo:
    """The frames of one video, each encoded once; the network sees them as they come, or chunk by chunk when asked.

    Args:
        backbone: The model.
        resolved: Settings for this video.
        size: (height, width) of its frames.
        store: Where everything is kept; what is there already is not computed again.
        cache: The cache of earlier runs, if there is one.

    Attributes:
        numbers: Each frame's number in the file it is from.
        flow: Optical flow between neighbours, if the settings ask for it.
        forwards: How many times the network has run.
    """

    def __init__(
        self,
        backbone: Backbone,
        resolved: ResolvedPoints,
        size: tuple[int, int],
        store: TensorStore,
        cache: Cache | None,
    ) -> None:
        # Frames of a video model are seen in chunks, more than once, and what is kept of them are latents.
        latents = store if resolved.chunk > 1 else None
        self.numbers: list[int] = []
        self.flow = Flow(store, size, resolved.grid)
        self.forwards = 0
        self._resolved, self._device, self._store = resolved, backbone.device, store
        self._observer = Observer(backbone, resolved, resolved.source, store=latents, cache=cache)
        self._anchored: dict[int, list[tuple[int, ...]]] = {}

    def show(self, frames: Sequence[Frame]) -> None:
        """Encodes the next frames, at most a batch; an image model observes them, too."""
        places = range(len(self.numbers), len(self.numbers) + len(frames))
        self.numbers += [frame.index for frame in frames]
        if self._resolved.flow:
            for frame, place in zip(frames, places, strict=True):
                self.flow.show(frame.image, place)
        names = [_name(-1, -1, place) for place in places]
        if self._resolved.chunk == 1 and all(self._store.holds(name) for name in names):
            return
        prepared = self._observer.encode([frame.image for frame in frames], places)
        if self._resolved.chunk == 1:
            self._observe(prepared, [frame.index for frame in frames], names)

    def anchor(self, anchor: int, progress: Progress) -> None:
        """Makes sure that chunks of a video model which begin with a frame have been observed."""
        if anchor in self._anchored:
            return
        chunks = cover(range(len(self.numbers)), anchor, self._resolved.chunk, self._resolved.cover)
        progress.start(f"observe from frame {self.numbers[anchor]}", len(chunks))
        for number, chunk in enumerate(chunks):
            names = [_name(anchor, number, place) for place in chunk]
            if not all(self._store.holds(name) for name in names):
                self._observe(self._observer.encoded(chunk), [self.numbers[place] for place in chunk], names)
            progress.advance()
        self._anchored[anchor] = chunks

    def pairs(self, start: int, place: int, time: int) -> list[Pair]:
        """Returns the features of two frames, for points asked for on frame `start`, as each chunk with both saw them.

        Where no chunk has both, they are from the first chunks that have one.
        """
        if self._resolved.chunk == 1:
            return [(self.features(-1, -1, place), self.features(-1, -1, time))]
        anchor = 0 if self._resolved.anchor == "first" else start
        chunks = self._anchored[anchor]
        both = [number for number, chunk in enumerate(chunks) if place in chunk and time in chunk]
        if not both:
            first, second = (next(n for n, chunk in enumerate(chunks) if each in chunk) for each in (place, time))
            return [(self.features(anchor, first, place), self.features(anchor, second, time))]
        return [(self.features(anchor, number, place), self.features(anchor, number, time)) for number in both]

    def features(self, anchor: int, chunk: int, place: int) -> FrameFeatures:
        """Returns the features of a frame as a chunk saw it; an image model's only anchor and chunk are -1."""
        tensors = self._store.get(_name(anchor, chunk, place))
        return FrameFeatures(tensors["queries"].to(self._device), tensors["keys"].to(self._device))

    def _observe(self, prepared: Float[Tensor, "f c h w"], indices: Sequence[int], names: Sequence[str | None]) -> None:
        """Shows the network frames that are seen together, and keeps what it saw."""
        self.forwards += 1
        if self._resolved.spare:
            prepared, indices, names = torch.cat([prepared[:1], prepared]), [indices[0], *indices], [None, *names]
        for name, seen in zip(names, self._observer.compare(prepared, indices), strict=True):
            if name is None:  # the spare copy, which is there for others to look at
                continue
            kept = descriptors(seen, self._resolved)
            self._store.put(name, {"queries": kept.queries, "keys": kept.keys})


def _name(anchor: int, chunk: int, place: int) -> str:
    """Returns what the features of frame `place` are kept under, as chunk `chunk` from `anchor` saw them."""
    return f"{anchor}_{chunk}_{place}"
