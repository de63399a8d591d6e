"""Methods of the task "refer": models that read words, and what any of them must beat.

That is the whole frame, nothing at all, and segments by colour: the largest, the one in the middle, and the one whose
colour is nearest to the colour that the expression names.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

import numpy as np
from jaxtyping import Bool, Int, UInt8

from undertow.base import CueError
from undertow.benchmarks.core.jobs import JobPredictor, job_method
from undertow.benchmarks.core.methods import Baseline
from undertow.benchmarks.core.sample import EvaluationProtocol
from undertow.referring.settings import ReferSettings
from undertow.runs.cues import Cue
from undertow.video import Clip, Video
from undertow.world.materials import NAMES, name_of

Images = Iterator[UInt8[np.ndarray, "h w 3"]]
ReferPredictor = Callable[[Images, str], Iterator[Bool[np.ndarray, "h w"]]]
"""From the images of one sample and an expression to a mask per image, at native size."""


@dataclass(frozen=True)
class ReferModel(JobPredictor):
    """Finds what an expression names with a model that reads words and tracks it, or asks one that answers itself."""

    task: ClassVar[str] = "refer"
    asked: ClassVar[str] = "refer"
    sites: ClassVar[tuple[str, ...]] = ("refer", "track")

    def __call__(self, images: Images, text: str) -> Iterator[Bool[np.ndarray, "h w"]]:
        """Yields a mask for every image; an empty one where nothing was found."""
        from undertow.referring.methods import answers, gather
        from undertow.tracking import track

        frames = list(images)
        clip = Clip(Video(frames))
        try:
            given = gather([Cue("text", text, 0, 1)], clip, lambda: self.backbone, self.settings)
        except CueError:
            yield from nothing(iter(frames), text)
            return
        if answers(self.settings, lambda: self.backbone):
            yield from (result.labels == 1 for result in self.results(frames, given.value))
        elif len(frames) == 1:
            yield given.value[0] == 1
        else:
            yield from (result.labels == 1 for result in track(clip, given.value, self.backbone, self.settings))

    @classmethod
    def chosen(cls, preset: str | None, settings: ReferSettings | None) -> ReferSettings:
        """Returns settings with a preset of tracking."""
        chosen = settings or ReferSettings()
        return chosen if preset is None else replace(chosen, preset=preset)


model_method = partial(job_method, ReferModel)


def everything(images: Images, text: str) -> Iterator[Bool[np.ndarray, "h w"]]:
    """Yields a mask of the whole frame for every image, whatever is asked for."""
    for image in images:
        yield np.ones(image.shape[:2], bool)


def nothing(images: Images, text: str) -> Iterator[Bool[np.ndarray, "h w"]]:
    """Yields an empty mask for every image, whatever is asked for."""
    for image in images:
        yield np.zeros(image.shape[:2], bool)


def largest(images: Images, text: str) -> Iterator[Bool[np.ndarray, "h w"]]:
    """Yields the largest segment that touches no border, or the largest of all, whatever is asked for."""
    for image in images:
        parts = segments(image)
        inside = _inside(parts)
        counts = np.bincount(parts.ravel()) * np.isin(np.arange(parts.max() + 1), inside)
        yield parts == int(counts.argmax())


def centre(images: Images, text: str) -> Iterator[Bool[np.ndarray, "h w"]]:
    """Yields the segment in the middle of every image, whatever is asked for."""
    for image in images:
        parts = segments(image)
        yield parts == parts[parts.shape[0] // 2, parts.shape[1] // 2]


def colour_words(images: Images, text: str) -> Iterator[Bool[np.ndarray, "h w"]]:
    """Yields the segment that touches no border and is nearest to the first colour that the text names.

    A text without a colour gets the largest segment.
    """
    named = next((word for word in text.lower().split() if word in NAMES), None)
    if named is None:
        yield from largest(images, text)
        return
    for image in images:
        parts = segments(image)
        means = {part: image[parts == part].mean(axis=0) / 255 for part in _inside(parts)}
        wanted = np.array(NAMES[named])
        # A name that is the nearest of all counts before a colour that is merely near.
        best = min(means, key=lambda part: (name_of(means[part]) != named, float(((means[part] - wanted) ** 2).sum())))
        yield parts == best


# Segments: this many colours, on a picture of this many pixels, and parts of less than this share are left alone.
COLOURS, PIXELS, LEAST = 8, 1 << 14, 0.004


def segments(image: UInt8[np.ndarray, "h w 3"]) -> Int[np.ndarray, "h w"]:
    """Returns the connected parts of the picture's k-means colours, numbered from 0."""
    import cv2

    height, width = image.shape[:2]
    scale = min(1.0, (PIXELS / (height * width)) ** 0.5)
    shape = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(image, shape, interpolation=cv2.INTER_AREA)
    small = cv2.medianBlur(small, 5)
    colours = small.reshape(-1, 3).astype(np.float32)
    count = min(COLOURS, len(np.unique(colours, axis=0)))
    cv2.setRNGSeed(0)
    criteria = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 20, 1.0)
    _, cluster, _ = cv2.kmeans(colours, count, None, criteria, 2, cv2.KMEANS_PP_CENTERS)
    clusters = cluster.reshape(small.shape[:2])
    parts = np.zeros(clusters.shape, np.int32)
    for number in range(count):
        _, own = cv2.connectedComponents((clusters == number).astype(np.uint8), connectivity=4)
        parts[own > 0] = own[own > 0] + parts.max()
    wide: np.ndarray = cv2.resize(parts, (width, height), interpolation=cv2.INTER_NEAREST)
    return np.unique(wide, return_inverse=True)[1].reshape(height, width)


def _inside(parts: Int[np.ndarray, "h w"]) -> list[int]:
    """Returns the parts that are large enough and touch no border; all parts if there are none."""
    border = np.unique(np.concatenate([parts[0], parts[-1], parts[:, 0], parts[:, -1]]))
    large = np.flatnonzero(np.bincount(parts.ravel()) >= LEAST * parts.size)
    return [int(part) for part in np.setdiff1d(large, border)] or list(range(int(parts.max()) + 1))


def _always(predictor: ReferPredictor, protocol: EvaluationProtocol) -> ReferPredictor:
    return predictor


BASELINES = {
    name: Baseline(name, "refer", partial(_always, predictor))
    for name, predictor in {
        "everything": everything,
        "nothing": nothing,
        "largest": largest,
        "centre": centre,
        "colour-words": colour_words,
    }.items()
}
