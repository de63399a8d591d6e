"""Refinement of tracked masks by the frames themselves; what is refined is written, and propagated only if asked for.

A refiner gets each frame with its soft masks and returns a label map. Masks that were given stay as given, and scores
stay those of propagation.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, ClassVar, Protocol

from undertow.base import SettingsError
from undertow.masks import LabelMap, upsample_argmax
from undertow.refinement import SamRefiner, SamSettings, Segmenter, SoftFrame, load_segmenter, refinement_settings
from undertow.refinement.bilateral import refine_crf, upsample_guided
from undertow.refinement.settings import CrfSettings, GuidedSettings
from undertow.tracking.propagation import with_given_pixels
from undertow.tracking.results import TrackResult


class Refiner(Protocol):
    """What makes better masks of soft ones."""

    @property
    def feeds_back(self) -> bool:
        """Whether the tracker goes on from the refined masks."""

    def __call__(self, frames: Sequence[SoftFrame], ids: Sequence[int]) -> Iterator[LabelMap]:
        """Yields the label map of each frame at its own size; `ids` name the soft masks after the background."""

    def facts(self) -> dict[str, Any]:
        """Returns everything that decides the masks besides frame and soft masks, as plain values."""


@dataclass(frozen=True)
class GuidedRefiner:
    """Upsamples soft masks to pixels by the image: a pixel listens to the cells that look like it."""

    settings: GuidedSettings = field(default_factory=GuidedSettings)
    feeds_back: ClassVar[bool] = False

    def __call__(self, frames: Sequence[SoftFrame], ids: Sequence[int]) -> Iterator[LabelMap]:
        """Yields label maps; see `undertow.refinement.bilateral`."""
        for frame in frames:
            soft = upsample_guided(frame.soft, frame.image, self.settings)
            yield upsample_argmax(soft, ids, frame.image.shape[:2]).labels

    def facts(self) -> dict[str, Any]:
        """Returns the settings."""
        return {"refine": "guided", **asdict(self.settings)}


@dataclass(frozen=True)
class CrfRefiner:
    """Upsamples by the image, then lets neighbouring pixels agree with those of like colour."""

    settings: CrfSettings = field(default_factory=CrfSettings)
    upsampling: GuidedSettings = field(default_factory=GuidedSettings)
    feeds_back: ClassVar[bool] = False

    def __call__(self, frames: Sequence[SoftFrame], ids: Sequence[int]) -> Iterator[LabelMap]:
        """Yields label maps; see `undertow.refinement.bilateral`."""
        for frame in frames:
            soft = refine_crf(upsample_guided(frame.soft, frame.image, self.upsampling), frame.image, self.settings)
            yield upsample_argmax(soft, ids, frame.image.shape[:2]).labels

    def facts(self) -> dict[str, Any]:
        """Returns the settings."""
        return {"refine": "crf", **asdict(self.settings), "upsampling": asdict(self.upsampling)}


@dataclass(frozen=True)
class SegmenterRefiner:
    """Prompts a segmenter with points drawn from each soft mask; `name` says which segmenter it is."""

    segmenter: Segmenter
    name: str
    settings: SamSettings = field(default_factory=SamSettings)

    @property
    def feeds_back(self) -> bool:
        """Whether the tracker goes on from the refined masks."""
        return self.settings.feed_back

    def __call__(self, frames: Sequence[SoftFrame], ids: Sequence[int]) -> Iterator[LabelMap]:
        """Yields label maps; see `undertow.refinement.sam`."""
        for refined in SamRefiner(self.segmenter, self.settings).refine(frames, ids):
            yield refined.labels

    def facts(self) -> dict[str, Any]:
        """Returns the settings and the segmenter's name."""
        return {"refine": "sam", "segmenter": self.name, **asdict(self.settings)}


def make_refiner(
    name: str,
    segmenter: str = "sam-vit-h",
    device: str | None = None,
    feed_back: bool = False,
    gate: float | None = None,
) -> Refiner | None:
    """Returns the refiner called "guided", "crf" or "sam", with its default settings; `None` for "none".

    Args:
        name: Which.
        segmenter: For "sam", a name or folder that `undertow.refinement.load_segmenter` takes.
        device: Where the segmenter runs.
        feed_back: For "sam", whether the tracker goes on from refined masks. How else it is prompted, its card says.
        gate: For "sam", what to replace the card's `SamSettings.minimum_score` by.

    Raises:
        SettingsError: if there is no such refiner or segmenter.
        WeightsUnavailable: if the segmenter's weights are unavailable.
    """
    if name == "sam":
        settings = replace(refinement_settings(segmenter), feed_back=feed_back)
        settings = settings if gate is None else replace(settings, minimum_score=gate)
        return SegmenterRefiner(load_segmenter(segmenter, device=device), segmenter, settings)
    known: dict[str, Refiner | None] = {"none": None, "guided": GuidedRefiner(), "crf": CrfRefiner()}
    if name not in known:
        raise SettingsError(f"refiner '{name}' is not one of {', '.join((*known, 'sam'))}")
    return known[name]


def refined(
    frames: Sequence[tuple[SoftFrame, TrackResult]],
    given: Mapping[int, LabelMap],
    ids: Sequence[int],
    refiner: Refiner,
) -> Iterator[TrackResult]:
    """Yields the results of frames with refined label maps, areas as they are then, and all other scores as they were.

    Args:
        frames: Each frame with its soft masks, and what propagation made of it.
        given: Label maps that were given, by frame number: the objects they name are not refined there.
        ids: Objects of the soft masks after the background.
        refiner: What refines.
    """
    maps = refiner([frame for frame, _ in frames], ids)
    for (frame, result), labels in zip(frames, maps, strict=True):
        if frame.index in given:
            labels = with_given_pixels(labels, given[frame.index])
        areas = {number: int((labels == number).sum()) for number in result.scores}
        scores = {number: replace(score, area=areas[number]) for number, score in result.scores.items()}
        yield replace(result, labels=labels, scores=scores)
