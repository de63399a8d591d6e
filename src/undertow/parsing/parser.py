"""From a video and its anchors to the class of every pixel: batches through the stages, both ways in time."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from undertow import backbones
from undertow.backbones import Backbone
from undertow.base import CueError, SettingsError
from undertow.masks import VOID, LabelMap
from undertow.observing.cache import cache_at
from undertow.observing.observer import Observer
from undertow.observing.store import TensorStore
from undertow.parsing.anchors import balanced, check_anchors, class_shares, classes_of
from undertow.parsing.propagate import PropagatingLabeller
from undertow.parsing.protocols import CoarseBatch, Labeller, ParseResult, Sharpener
from undertow.parsing.settings import ParseSettings, ResolvedParse, resolve_parse
from undertow.parsing.sharpeners import make_sharpener
from undertow.parsing.vidseg import FramewiseLabeller, TokenLabeller
from undertow.refinement.bilateral import refine_crf
from undertow.video import Clip, Frame, Video
from undertow.video.frames import batches

# Bytes of clean latents kept in memory; more than that, of frames looked at ahead of their turn, goes to a file.
LATENTS = 1 << 28


def parse(
    video: Video | Clip | str | Path | np.ndarray,
    anchors: Mapping[int, LabelMap] | None = None,
    model: Backbone | str | Path = "tiny",
    settings: ParseSettings | None = None,
) -> Iterator[ParseResult]:
    """Yields the class of every pixel of every frame of a video.

        for frame in ut.parse("clip.mp4", anchors={0: labels}):
            frame.labels, frame.areas, frame.confidence

    Args:
        video: A video, a clip of one, or anything `Video` opens, an endless generator of images included.
        anchors: Label maps by frame number, on any frames: 0 is a class like any other, 65535 is void. Without any,
            frames are divided into clusters.
        model: A loaded backbone, or the name or folder of one.
        settings: Options; defaults come from the model's card.

    Yields:
        One `ParseResult` per frame, in order, a batch at a time. Memory does not grow with the video, except for the
        labels of tokens before the first anchor, which are computed first, backwards from it.

    Raises:
        CueError, MaskError: if an anchor does not fit the video.
        SettingsError: if the model or the video does not support the settings.
    """
    video = video if isinstance(video, Video | Clip) else Video(video)
    yield from Parser(model, anchors, settings).run(video)


class Parser:
    """Parses a video in parts that can be resumed.

        parser = Parser("tiny", anchors)
        for result in parser.run(video):
            ...
            tensors = parser.state()        # a parser that restores them continues from `next` with the same results

    Args:
        model: A loaded backbone, or the name or folder of one.
        anchors: Label maps by frame number, or None.
        settings: Options.

    Attributes:
        next: Number of finished frames, where `run` starts.
    """

    def __init__(
        self,
        model: Backbone | str | Path = "tiny",
        anchors: Mapping[int, LabelMap] | None = None,
        settings: ParseSettings | None = None,
    ):
        self.backbone = backbones.load(model, sites=("parse", "correspond")) if isinstance(model, str | Path) else model
        self.settings = settings or ParseSettings()
        self.anchors = dict(anchors or {})
        self.next = 0
        self._early: dict[int, Float[Tensor, "f m gh gw"]] = {}
        self._border: dict[str, Tensor] = {"next": torch.tensor(0)}
        if self.settings.method == "propagate" and not self.anchors:
            raise CueError("method 'propagate' moves the labels of anchors, and none was given; give one, or vidseg")

    def run(self, video: Video | Clip, frames: Iterable[Frame] | None = None) -> Iterator[ParseResult]:
        """Yields the results of the frames from `next` on.

        Args:
            video: A video, or a clip of one.
            frames: Its frames from `next` on, if they should not be read from the video.

        Raises:
            CueError, MaskError: if an anchor does not fit the video.
            SettingsError: if the model or the video does not support the settings.
        """
        anchors = check_anchors(video, self.anchors)
        resolved = resolve_parse(self.settings, self.backbone, video.height, video.width, anchored=bool(anchors))
        sharpen = make_sharpener(self.backbone, resolved)
        ids = classes_of(anchors)
        shares = class_shares(anchors, ids) if anchors else torch.zeros(0)
        first, size = min(anchors, default=-1), self.settings.batch
        left = _left(video, self.next) if frames is None else frames
        # What is looked at more than once is encoded the first time only.
        with closing(TensorStore(memory=LATENTS)) as store:
            observer = Observer(self.backbone, resolved, store=store, cache=cache_at(self.settings.cache))
            labeller = make_labeller(observer, resolved, ids)
            if self.next:
                labeller.restore(_part(self._border, "labeller."))
                self._early = {int(name): soft for name, soft in _part(self._border, "early.").items()}
            elif video.again and self.settings.direction == "both":
                self._look_ahead(_Batches(video, size), anchors, labeller)
            for place, batch in enumerate(batches(left, size), start=self.next // size):
                given = {frame.index: anchors[frame.index] for frame in batch if frame.index in anchors}
                if place in self._early:
                    soft = self._early.pop(place).float()
                    coarse = CoarseBatch([f.index for f in batch], [f.image for f in batch], soft, labeller.ids)
                elif batch[-1].index < first:
                    coarse = None
                else:
                    coarse = labeller.label(batch, given)
                if coarse is not None and sharpen.needs_latents:
                    coarse = replace(coarse, latents=observer.encode(coarse.images, coarse.indices))
                observer.drop([frame.index for frame in batch])
                for number, result in enumerate(self._results(batch, coarse, given, sharpen, shares), start=1):
                    if number == len(batch):
                        # What comes after this frame does not depend on it any more.
                        self.next += len(batch)
                        self._border = self._packed(labeller)
                    yield result

    def state(self) -> dict[str, Tensor]:
        """Returns the state after the last batch whose frames have all been yielded, as named tensors."""
        return dict(self._border)

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Makes `run` continue where the parser that returned the state was.

        Raises:
            SettingsError: if the tensors are not a parser's.
        """
        if "next" not in tensors:
            raise SettingsError("this is not the state of a parser (no 'next'); start the run anew")
        self.next = int(tensors["next"])
        self._border = dict(tensors)

    def _packed(self, labeller: Labeller) -> dict[str, Tensor]:
        parts = {f"labeller.{name}": tensor for name, tensor in labeller.state().items()}
        early = {f"early.{place}": soft for place, soft in self._early.items()}
        return {"next": torch.tensor(self.next)} | parts | early

    def _look_ahead(self, ahead: "_Batches", anchors: Mapping[int, LabelMap], labeller: Labeller) -> None:
        """Lets the labeller know all anchors, and labels what comes before the first one backwards."""
        holders: dict[int, dict[int, LabelMap]] = {}
        for index, labels in anchors.items():
            holders.setdefault(ahead.holding(index), {})[index] = labels
        for place in sorted(holders):
            labeller.learn(ahead.read(place), holders[place])
        first = min(holders, default=0)
        if first:
            fresh = labeller.state()
            labeller.label(ahead.read(first), holders[first])
            for place in reversed(range(first)):
                soft = labeller.label(ahead.read(place), {}, backwards=True).soft
                self._early[place] = soft.half().cpu()
            labeller.restore(fresh)

    def _results(
        self,
        frames: Sequence[Frame],
        coarse: CoarseBatch | None,
        given: Mapping[int, LabelMap],
        sharpen: Sharpener,
        shares: Float[Tensor, " m"],
    ) -> Iterator[ParseResult]:
        """Yields a batch's results; without coarse labels, nothing is known of its frames."""
        if coarse is None:
            for frame in frames:
                unknown = np.full(frame.image.shape[:2], VOID, np.uint16)
                yield ParseResult(frame.index, frame.time, frame.name, unknown, (), {}, {})
            return
        for frame, maps in zip(frames, sharpen(coarse), strict=True):
            maps = balanced(maps, shares, self.settings.balance)
            if self.settings.crf is not None and len(maps) > 1:
                maps = refine_crf(maps, frame.image, self.settings.crf)
            yield decided(frame, maps, coarse.ids, given.get(frame.index), keep=self.settings.keep_soft)


def decided(
    frame: Frame,
    maps: Float[Tensor, "m h w"],
    ids: Sequence[int],
    anchor: LabelMap | None = None,
    *,
    keep: bool = False,
) -> ParseResult:
    """Returns the result of a frame: the largest map wins, the first of equals; what an anchor labels is as given.

    Args:
        frame: The frame.
        maps: Probabilities of its pixels.
        ids: Class of each map.
        anchor: Label map of the frame, if it has one.
        keep: Whether the result holds the maps.
    """
    best, winner = maps.max(0)
    # Without a second class there is no doubt.
    second = maps.scatter(0, winner[None], -torch.inf).amax(0) if len(maps) > 1 else torch.zeros_like(best)
    labels = np.array(ids, np.uint16)[winner.cpu().numpy()]
    margins = (best - second).cpu().numpy()
    if anchor is not None:
        sure = anchor != VOID
        labels, margins = np.where(sure, anchor, labels).astype(np.uint16), np.where(sure, 1.0, margins)
    counts = np.bincount(labels.ravel())
    sums = np.bincount(labels.ravel(), margins.ravel())
    present = [int(number) for number in np.flatnonzero(counts)]
    return ParseResult(
        frame.index,
        frame.time,
        frame.name,
        labels,
        tuple(ids),
        {number: int(counts[number]) for number in present},
        {number: float(sums[number] / counts[number]) for number in present},
        maps if keep else None,
    )


def make_labeller(observer: Observer, resolved: ResolvedParse, ids: Sequence[int]) -> Labeller:
    """Returns the first stage of a run's method.

    Args:
        observer: What shows the model the frames.
        resolved: The run's numbers.
        ids: Classes of the anchors; empty if there are none.
    """
    kinds = {"vidseg": TokenLabeller, "propagate": PropagatingLabeller, "emerdiff": FramewiseLabeller}
    make: type[TokenLabeller] | type[PropagatingLabeller] = kinds[resolved.settings.method or "vidseg"]
    return make(observer, resolved, ids)


@dataclass(frozen=True)
class _Batches:
    """A video that can be read again, by batches."""

    video: Video | Clip
    size: int

    def numbers(self) -> Sequence[int]:
        """Returns the frame numbers."""
        return self.video.numbers or range(0)

    def holding(self, index: int) -> int:
        """Returns the batch that a frame is in."""
        return self.numbers().index(index) // self.size

    def read(self, place: int) -> list[Frame]:
        """Returns the frames of a batch."""
        return [self.video.frame(n) for n in self.numbers()[place * self.size : (place + 1) * self.size]]


def _left(video: Video | Clip, start: int) -> Iterator[Frame]:
    """Returns the frames from place `start` on; those of a stream before it are read and dropped."""
    if not video.again:
        return islice(video, start, None)
    return (video.video if isinstance(video, Clip) else video).frames((video.numbers or range(0))[start:])


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Returns the tensors whose names begin so, by the rest of their names."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
