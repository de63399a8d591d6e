"""Variants as methods of the benchmark runner, what they take on the first frames, and the words they are given.

Those are class names and captions of the objects, for the paper's table 1. Those of the worlds are made from their
scenes. Those of DAVIS were written by hand, short enough for a small text encoder: the paper takes captions of BLIP-2
of each object, cut out with a margin on a masked background.
"""

import hashlib
import itertools
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from undertow.backbones import ImageUNet, load
from undertow.base import SettingsError
from undertow.benchmarks.ablation.variants import Variant
from undertow.benchmarks.core.files import shipped_rows
from undertow.benchmarks.core.methods import Method
from undertow.benchmarks.core.sample import EvaluationProtocol, Sample
from undertow.benchmarks.core.task import get_task
from undertow.benchmarks.masks.methods import Predictor, model_method
from undertow.benchmarks.masks.sample import MaskSample
from undertow.masks import LabelMap, object_ids
from undertow.refinement import SamSettings, load_segmenter, refinement_settings
from undertow.tracking import ObjectKernel, Refiner, SegmenterRefiner, TrackSettings, TunedKernels, make_refiner, track
from undertow.tracking.tuning import get_tuning, tune
from undertow.video import Video
from undertow.world import SUITES
from undertow.world.captions import phrase, place


@dataclass(frozen=True)
class ObjectTexts:
    """A class name, and a sentence about the object."""

    class_name: str
    caption: str

    def of(self, kind: str) -> str:
        """Returns the text of a kind, "class" or "caption"."""
        return self.class_name if kind == "class" else self.caption


Texts = Mapping[str, Mapping[int, ObjectTexts]]
"""Texts of objects by id, by whatever tells videos apart."""

DAVIS = {
    row["sequence"]: (row["class"], row["caption"])
    for row in shipped_rows("undertow.benchmarks.ablation", "davis_texts.csv")
}
TEXTS_DIGEST = hashlib.sha256(json.dumps(DAVIS, sort_keys=True).encode()).hexdigest()[:16]


def texts_of(sample: Sample) -> dict[int, ObjectTexts]:
    """Returns what the objects of a sample are called, by id; nothing if nobody has written it down."""
    if not isinstance(sample, MaskSample):
        return {}
    for clip in SUITES.get(sample.dataset, ()):
        if clip.name == sample.name:
            things = clip.scene().things
            size = (clip.height, clip.width)
            return {
                number: ObjectTexts(
                    things[number - 1].shape.kind,
                    f"a {phrase(things[number - 1], size)} is {place(things[number - 1], size)}.",
                )
                for number in sample.ids
            }
    if sample.name in DAVIS:
        # All objects of a sequence share its text: nobody has named them one by one.
        return dict.fromkeys(sample.ids, ObjectTexts(*DAVIS[sample.name]))
    return {}


FRAMES = 12
# Steps of tuning that are timed; all of them take the same.
TUNING_STEPS = 10


@dataclass(frozen=True)
class MakeVariant:
    """Loads a model and makes the predictor that tracks as a variant says; `texts` are by digest of the first masks."""

    model: str | Path
    variant: Variant
    texts: Texts = field(default_factory=dict)
    device: str | None = None
    dtype: str | None = None
    segmenter: str = "sam-vit-h"
    kernels: Path | None = None

    def __call__(self, protocol: EvaluationProtocol) -> Predictor:
        """Returns the predictor, with the protocol's token budget unless the settings name a size."""
        refiner = self._refiner()
        backbone = load_image_model(self.model, self.device, self.dtype)
        backbone.card = self.variant.card(backbone.card)
        sized = self.variant.settings.tokens is not None or self.variant.settings.size is not None
        settings = self.variant.settings if sized else replace(self.variant.settings, tokens=protocol.tokens)
        settings = replace(settings, direction="forward")

        def predict(images: Iterator[UInt8[np.ndarray, "h w 3"]], cues: Mapping[int, LabelMap]) -> Iterator[LabelMap]:
            first = next(images)
            tuned = None if self.variant.text is None else self._kernels(backbone, settings, first, cues[0])
            video = Video(itertools.chain([first], images))
            for result in track(video, cues, backbone, settings, tuned, refiner):
                yield result.labels

        return predict

    def _refiner(self) -> Refiner | None:
        if self.variant.refine != "sam":
            return make_refiner(self.variant.refine)
        settings = _sam_settings(self.variant, self.segmenter)
        loaded = load_segmenter(self.segmenter, device=self.device)
        return SegmenterRefiner(loaded, Path(self.segmenter).name, settings)

    def _kernels(
        self, backbone: ImageUNet, settings: TrackSettings, image: UInt8[np.ndarray, "h w 3"], labels: LabelMap
    ) -> TunedKernels:
        """Returns the kernels of a video's objects: under a text of their own, or learned on its first frame."""
        video, masks = Video(image[None]), {0: labels}
        tuning = self.variant.tuning or get_tuning("amortised")
        # Objects that come later have no frame to be tuned on; they are carried under the null text.
        alone = tune(video, masks, backbone, settings, get_tuning("amortised"))
        assert alone.others is not None
        if self.variant.text is None or self.variant.text == "null":
            kernels = tune(video, masks, backbone, settings, tuning, folder=self.kernels)
            return TunedKernels(kernels.objects, alone.others)
        known = self.texts.get(masks_digest(labels), {})
        words = {number: known[number].of(self.variant.text) for number in object_ids(labels) if number in known}
        heads = alone.others.head_weights
        return TunedKernels(
            {number: ObjectKernel(backbone.condition(text), heads) for number, text in words.items()}, alone.others
        )


def load_image_model(model: str | Path, device: str | None = None, dtype: str | None = None) -> ImageUNet:
    """Returns an image model; ablations tune conditionings, which other models do not offer.

    Raises:
        SettingsError: if it is another kind of model.
        WeightsUnavailable: if its weights are unavailable.
    """
    loaded = load(model, device=device, dtype=dtype, sites="track")
    if not isinstance(loaded, ImageUNet):
        raise SettingsError(f"'{model}' is no image model; ablate tiny, sd-2.1 or another with a UNet")
    return loaded


def _sam_settings(variant: Variant, segmenter: str) -> SamSettings:
    """Returns how a variant prompts a segmenter: as often as the variant says, else as the segmenter's card says."""
    return replace(refinement_settings(segmenter), prompts=variant.sam.prompts, points=variant.sam.points)


def variant_method(
    model: str | Path,
    variant: Variant,
    texts: Texts | None = None,
    *,
    device: str | None = None,
    dtype: str | None = None,
    segmenter: str = "sam-vit-h",
    kernels: Path | None = None,
) -> Method:
    """Returns a variant as a method of `run_benchmark`.

    Args:
        model: Name or folder of a model.
        variant: What is changed of the default.
        texts: Class names and captions of objects, see `undertow.benchmarks.ablation.methods`.
        device: Where the model runs.
        dtype: Number type of the model.
        segmenter: What "sam" prompts.
        kernels: Folder where learned kernels are kept.

    Raises:
        SettingsError: if the model is unknown.
        WeightsUnavailable: if its weights are unavailable.
    """
    facts = dict(model_method(model, settings=variant.settings, device=device, dtype=dtype).settings)
    facts["variant"] = variant.facts()
    if variant.refine == "sam":
        facts["segmenter"] = Path(segmenter).name
        facts["sam"] = asdict(_sam_settings(variant, segmenter))
    elif variant.refine != "none":
        refiner = make_refiner(variant.refine)
        facts["refiner"] = None if refiner is None else refiner.facts()
    if variant.text in ("class", "caption"):
        facts["texts"] = TEXTS_DIGEST
    make: Callable[[EvaluationProtocol], Any] = MakeVariant(
        model, variant, texts or {}, device, dtype, segmenter, kernels
    )
    return Method(variant.name, make, facts, device=device)


def masks_digest(labels: LabelMap) -> str:
    """Returns 16 hexadecimal digits of a label map, by which a predictor knows again which video it is shown."""
    shape = "x".join(map(str, labels.shape)).encode()
    return hashlib.sha256(shape + np.ascontiguousarray(labels).tobytes()).hexdigest()[:16]


def unique_variants(variants: Iterable[Variant]) -> list[Variant]:
    """Returns variants in order, each name once: tables share rows."""
    return list({variant.name: variant for variant in variants}.values())


@dataclass(frozen=True)
class Seconds:
    """What a variant takes.

    Attributes:
        cpu: CPU seconds of a frame, all threads together, after the first batch; scoring and reading are skipped.
        wall: The same by the clock.
        before: Seconds by the clock until the first label map, for each object of the first frame: tuning is there.
    """

    cpu: float
    wall: float
    before: float


def time_method(method: Method, sample: MaskSample, protocol: EvaluationProtocol, frames: int = FRAMES) -> Seconds:
    """Returns what a method takes on the first frames that a protocol shows of a sample.

    The first batch of four frames is not counted, since weights and buffers are touched for the first time there.

    Args:
        method: What to time.
        sample: A sequence.
        protocol: Which frames, and how finely.
        frames: How many of them, more than four.
    """
    shown = list(protocol.frames(len(sample.frames)))[:frames]
    with sample.open() as video:
        images = [video[index] for index in shown]
    predictor = method.make_predictor(protocol)
    begun = time.perf_counter()
    predictions = get_task(sample.task).predict(sample, predictor, iter(images), shown)
    next(predictions)
    before = time.perf_counter() - begun
    skipped = min(3, len(shown) - 2)
    for _ in range(skipped):
        next(predictions)
    cpu, wall, counted = time.process_time(), time.perf_counter(), sum(1 for _ in predictions)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return Seconds(cpu / max(1, counted), wall / max(1, counted), before / max(1, len(sample.ids)))


def tuning_seconds(tuned: Seconds, untuned: Seconds) -> float:
    """Returns seconds by the clock of one step of tuning of one object, from `TUNING_STEPS` of them and from none."""
    return (tuned.before - untuned.before) / TUNING_STEPS
