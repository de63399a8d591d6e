"""Methods of the task "masks": models that track objects from their first masks, and what any method must beat.

That is the first mask repeated, and the last mask carried along classical optical flow. Flow baselines look backward:
each pixel of a new frame asks where it was in the previous one and takes the soft label from there. A forward flow must
lead back to the asking pixel. Where it does not, either

* the label is doubted: a part of it goes to the background, because what a moving object uncovers is background, so
  that a pixel that fails once keeps its label and one that fails again and again loses it; or
* the pixel takes the label of the nearest one that passed, or keeps the label its place had.

Measured with protocol lab on thirteen DAVIS 2016 sequences, J&F of dense inverse search is 38.0 with doubt, 32.3 with
either of the others and 36.1 without a check; of Farneback's flow 39.3 with doubt, 39.8 with the nearest pixel, 39.0
with the previous label and 39.6 without a check. The best of each is the default, which flatters the baselines.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float32, UInt8

from undertow.affinity import get_preset
from undertow.base import SettingsError
from undertow.benchmarks.core.jobs import JobPredictor, job_method
from undertow.benchmarks.core.methods import Baseline
from undertow.benchmarks.core.sample import EvaluationProtocol
from undertow.masks import LabelMap, object_ids, soft_one_hot, upsample_argmax
from undertow.observing.flow import fetched
from undertow.tracking import TrackSettings, make_refiner

Estimator = Literal["farneback", "dis"]
Fallback = Literal["doubt", "nearest", "previous"]
FlowField = Float32[np.ndarray, "h w 2"]
Images = Iterator[UInt8[np.ndarray, "h w 3"]]
Cues = Mapping[int, LabelMap]
Predictor = Callable[[Images, Cues], Iterator[LabelMap]]
"""From the images of one sample and the masks it starts from to a label map per image, at native size.

The masks are label maps of the objects that start at an image, by that image's place among those shown. It is asked
for one label map at a time and may read ahead by a bounded number of images.
"""


@dataclass(frozen=True)
class FlowSettings:
    """Options of a flow baseline.

    Attributes:
        estimator: "farneback" (polynomial expansion) or "dis" (dense inverse search).
        tokens: Size that flow is estimated and labels are carried at, as tokens of `stride` pixels, so that a flow
            baseline sees no finer picture than a model with that budget; `None` for the native size, never above it.
        stride: Pixels per side of a token.
        tolerance: Squared gap in pixels that a forward and backward flow may leave at rest.
        share: What is allowed beside it, as a share of the two squared flow lengths.
        fallback: What an inconsistent pixel takes: its warped label with "doubt", the label of the "nearest" consistent
            pixel, or the "previous" label of its own place.
        trust: Share of a doubted label that is kept, the rest going to the background; 1 switches the check off.
        farneback_window: Averaging window of Farneback's method, in pixels.
        farneback_levels: Pyramid levels of Farneback's method.
        dis_preset: Speed preset of dense inverse search.
    """

    estimator: Estimator = "dis"
    tokens: int | None = None
    stride: int = 8
    tolerance: float = 2.0
    share: float = 0.1
    fallback: Fallback = "doubt"
    trust: float = 0.8
    farneback_window: int = 11
    farneback_levels: int = 5
    dis_preset: Literal["ultrafast", "fast", "medium"] = "medium"

    def __post_init__(self) -> None:
        if self.tokens is not None and self.tokens < 16:
            raise SettingsError(f"tokens is {self.tokens}; give 16 or more")
        if not 0 <= self.trust <= 1:
            raise SettingsError(f"trust is {self.trust}; give a share from 0 to 1")

    def working_size(self, height: int, width: int) -> tuple[int, int]:
        """Returns (height, width) that flow is estimated at: the native shape with the area of the token budget."""
        scale = 1.0 if self.tokens is None else (self.tokens * self.stride**2 / (height * width)) ** 0.5
        if scale >= 1:
            return height, width
        return max(16, round(height * scale)), max(16, round(width * scale))


FLOW_BASELINES = {
    "farneback": FlowSettings(estimator="farneback", fallback="nearest"),
    "dis": FlowSettings(estimator="dis", fallback="doubt"),
}


def copy_labels(images: Images, cues: Cues) -> Iterator[LabelMap]:
    """Yields for every image the masks given so far: what standing still would score."""
    labels: LabelMap | None = None
    for place, _ in enumerate(images):
        if place in cues:
            labels = cues[place] if labels is None else join(labels, cues[place])
        yield _given(labels)


def flow_labels(images: Images, cues: Cues, settings: FlowSettings) -> Iterator[LabelMap]:
    """Yields a label map per image, carried from frame to frame along optical flow; the first one as given.

    Soft labels are carried, so that a boundary between pixels is not rounded at every frame. Two frames and one set
    of soft labels are all that is held. An object that joins later is painted over what was carried until then.

    Args:
        images: RGB frames of one size.
        cues: Label map of the objects that start at an image, by the image's place; one for place 0.
        settings: See `FlowSettings`.

    Raises:
        SettingsError: if OpenCV is not installed, or there is no mask of the first image.

    Sources: Farnebäck, SCIA 2003; Kroeger et al., ECCV 2016 (DIS); Sundaram et al., ECCV 2010 (consistency check).
    """
    estimate = flow_estimator(settings)
    previous: UInt8[np.ndarray, "h w"] | None = None
    labels: LabelMap | None = None
    ids: list[int] = []
    soft: Float32[np.ndarray, "n h w"] = np.zeros((0, 0, 0), np.float32)
    for place, image in enumerate(images):
        native = (image.shape[0], image.shape[1])
        size = settings.working_size(*native)
        grey = _grey(image, size)
        if previous is not None:
            soft = carry(soft, backward=estimate(grey, previous), forward=estimate(previous, grey), settings=settings)
            labels = upsample_argmax(torch.from_numpy(soft), ids, native).labels
        if place in cues:
            labels = cues[place] if labels is None else join(labels, cues[place])
            ids = object_ids(labels)
            soft = soft_one_hot(labels, ids, size).numpy()
        yield _given(labels)
        previous = grey


def join(labels: LabelMap, cue: LabelMap) -> LabelMap:
    """Returns a label map with the objects of `cue` painted over it."""
    return np.where(cue > 0, cue, labels).astype(labels.dtype)


def _given(labels: LabelMap | None) -> LabelMap:
    if labels is None:
        raise SettingsError("there is no mask of the first frame; give one to start from")
    return labels


def carry(
    soft: Float32[np.ndarray, "n h w"], *, backward: FlowField, forward: FlowField, settings: FlowSettings
) -> Float32[np.ndarray, "n h w"]:
    """Returns the soft labels of a frame from those of the frame before.

    Args:
        soft: Labels of the frame before.
        backward: Flow (x, y in pixels) from each pixel of the frame to its place in the frame before.
        forward: Flow from each pixel of the frame before to its place in the frame.
        settings: Tolerance of the check and what to do where it fails.
    """
    rows, columns = np.indices(backward.shape[:2], np.float32)
    x, y = columns + backward[..., 0], rows + backward[..., 1]
    warped = np.stack([fetched(channel, x, y) for channel in soft])
    height, width = backward.shape[:2]
    inside = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    consistent = inside & _agree(backward, fetched(forward, x, y), settings)
    if settings.fallback == "doubt":
        warped[1:] *= np.where(consistent, 1, settings.trust)
        warped[0] = 1 - warped[1:].sum(0)
        return warped
    if settings.fallback == "previous" or not consistent.any():
        return np.where(consistent, warped, soft)
    return warped.reshape(len(soft), -1)[:, _nearest(consistent)].reshape(soft.shape)


def flow_estimator(
    settings: FlowSettings,
) -> Callable[[UInt8[np.ndarray, "h w"], UInt8[np.ndarray, "h w"]], FlowField]:
    """Returns the function (image, other image) -> flow from each pixel of the first to its place in the other."""
    cv2 = _opencv()
    if settings.estimator == "dis":
        preset = getattr(cv2, f"DISOPTICAL_FLOW_PRESET_{settings.dis_preset.upper()}")
        search = cv2.DISOpticalFlow_create(preset)
        return lambda image, other: np.asarray(search.calc(image, other, None))
    return lambda image, other: np.asarray(
        cv2.calcOpticalFlowFarneback(
            image,
            other,
            None,
            pyr_scale=0.5,
            levels=settings.farneback_levels,
            winsize=settings.farneback_window,
            iterations=3,
            poly_n=7,
            poly_sigma=1.5,
            flags=0,
        )
    )


def _agree(there: FlowField, back: FlowField, settings: FlowSettings) -> Bool[np.ndarray, "h w"]:
    """Returns where going there and back ends close to the start, with more slack for longer ways."""
    gap = np.square(there + back).sum(-1)
    lengths = np.square(there).sum(-1) + np.square(back).sum(-1)
    agree: Bool[np.ndarray, "h w"] = gap <= settings.tolerance + settings.share * lengths
    return agree


def _nearest(consistent: Bool[np.ndarray, "h w"]) -> np.ndarray:
    """Returns for every pixel, row-major, the flat index of the nearest consistent pixel (its own if it is one)."""
    cv2 = _opencv()
    _, region = cv2.distanceTransformWithLabels(
        (~consistent).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    # Regions are numbered from 1, one per consistent pixel; each pixel of the region belongs to that one.
    centre = np.zeros(int(region.max()) + 1, np.int64)
    centre[region[consistent]] = np.flatnonzero(consistent)
    return centre[region.reshape(-1)]


def _grey(image: UInt8[np.ndarray, "h w 3"], size: tuple[int, int]) -> UInt8[np.ndarray, "h w"]:
    """Returns the image in grey at (height, width), by area averages."""
    cv2 = _opencv()
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    return np.asarray(cv2.resize(grey, (size[1], size[0]), interpolation=cv2.INTER_AREA))


def _opencv() -> Any:
    """Returns the OpenCV module, which only the flow baselines need."""
    try:
        import cv2
    except ImportError as error:
        raise SettingsError("flow baselines need OpenCV; run: pip install opencv-python-headless") from error
    return cv2


def make_copy(protocol: EvaluationProtocol) -> Predictor:
    """Returns the predictor that repeats the masks it was given."""
    return copy_labels


@dataclass(frozen=True)
class MakeFlow:
    """Makes the predictor of a flow baseline, which sees no finer picture than a model under the same protocol."""

    settings: FlowSettings

    def __call__(self, protocol: EvaluationProtocol) -> Predictor:
        """Returns the predictor, with the protocol's token budget unless its settings have one."""
        flow = self.settings
        budgeted = flow if flow.tokens is not None else replace(flow, tokens=protocol.tokens)
        return lambda images, cues: flow_labels(images, cues, budgeted)


BASELINES = {
    "copy": Baseline("copy", "masks", make_copy),
    **{name: Baseline(name, "masks", MakeFlow(flow), asdict(flow)) for name, flow in FLOW_BASELINES.items()},
}


@dataclass(frozen=True)
class MaskPredictor(JobPredictor):
    """Tracks masks; see `Predictor`."""

    task: ClassVar[str] = "track"
    asked: ClassVar[str] = "masks"
    sites: ClassVar[tuple[str, ...]] = ("track",)

    def __call__(self, images: Images, cues: Cues) -> Iterator[LabelMap]:
        """Yields a label map for every image."""
        return (result.labels for result in self.results(images, cues))

    @classmethod
    def chosen(cls, preset: str | None, settings: TrackSettings | None) -> TrackSettings:
        """Returns settings with a propagation preset; benchmarks show frames once, in order."""
        chosen = replace(settings or TrackSettings(), direction="forward")
        return chosen if preset is None else replace(chosen, preset=get_preset(preset).name)

    @classmethod
    def budgeted(cls, settings: TrackSettings, protocol: EvaluationProtocol) -> TrackSettings:
        """Returns settings with the protocol's token budget, unless they name a size, as published numbers do."""
        budgeted: TrackSettings = settings if settings.published else super().budgeted(settings, protocol)
        return budgeted

    @classmethod
    def described(cls, settings: TrackSettings, device: str | None) -> tuple[Sequence[str | None], Mapping[str, Any]]:
        """Returns what becomes of lost objects and how masks are refined, as both are part of what is measured."""
        segmenter = settings.segmenter or "sam-vit-h"
        refiner = make_refiner(settings.refine, segmenter, device, gate=settings.gate)
        if refiner is None:
            return (settings.lost,), {}
        prompted = Path(segmenter).name if settings.refine == "sam" else None
        return (settings.lost, settings.refine, prompted), {"refiner": refiner.facts()}


model_method = partial(job_method, MaskPredictor)
