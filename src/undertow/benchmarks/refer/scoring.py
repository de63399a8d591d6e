"""Scores of referring expressions by each set of rules, and what the official evaluators print of them.

Sources: LAVT's test script (Yang et al., CVPR 2022) for images; URVOS (Seo et al., ECCV 2020) and MeViS (Ding et al.,
ICCV 2023) for expressions; ReferEverything (Bagchi et al., 2024) for J alone and for the mean over classes.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool

from undertow.base import MaskError, SettingsError
from undertow.benchmarks.core.outcomes import Outcome
from undertow.benchmarks.core.task import Measurement
from undertow.benchmarks.refer.sample import ReferSample
from undertow.metrics import ObjectScores, contour_accuracy, region_similarity
from undertow.metrics.ref_davis import VOID, RefDavisEvaluator, compete, independent, separate, summarise_annotators
from undertow.metrics.statistics import mean, temporal_consistency

EXPRESSION = "expression"
# IoUs from which on an expression of an image is right, as LAVT's test script counts: an IoU of exactly X is.
THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9)
# What an expression of a picture can speak of, in the order of tables.
PICTURE_KINDS = ("colour", "texture", "shape", "size", "position", "relation", "group")


class ExpressionEvaluator:
    """Scores one expression frame by frame: J, and F where the rules have it. A missing frame scores 0."""

    def __init__(self, sample: ReferSample, asked: Sequence[int], rules: str) -> None:
        self._sample, self._missing = sample, 0
        self._asked = {index: place for place, index in enumerate(asked)}
        self._measures = ("J", "F") if rules == "expressions" else ("J",)
        self._series = {measure: np.full(len(asked), np.nan) for measure in self._measures}

    def update(self, index: int, prediction: np.ndarray | None) -> Mapping[str, float]:
        """Takes the mask (1, h, w) of frame `index`, `None` if it is missing.

        Raises:
            MaskError: if it is not of the video's size, or the truth cannot be read.
        """
        if index not in self._asked:
            return {}
        scores = dict.fromkeys(self._measures, 0.0)
        if prediction is None:
            self._missing += 1
        else:
            (truth,), void = self._sample.load(index)
            mask = _hard(prediction, self._sample)[0]
            scores["J"] = region_similarity(mask, truth, void)
            if "F" in scores:
                scores["F"] = contour_accuracy(mask, truth, void)
        for measure, value in scores.items():
            self._series[measure][self._asked[index]] = value
        return scores

    def result(self) -> Measurement:
        """Returns the scores by frame."""
        sample = self._sample
        facts = {
            "text": sample.texts[0],
            "missing": self._missing,
            "category": sample.category,
            "exhaustive": sample.exhaustive,
        }
        return Measurement(
            tuple(sample.frames[index] for index in self._asked), {EXPRESSION: self._series}, facts=facts
        )


class ImageEvaluator:
    """Scores one expression of an image; without a prediction its IoU is 0 and its truth is in the union."""

    def __init__(self, sample: ReferSample) -> None:
        self._sample = sample
        self._counts: dict[str, Any] = {}

    def update(self, index: int, prediction: np.ndarray | None) -> Mapping[str, float]:
        """Takes the mask (1, h, w), `None` if it is missing; see `ExpressionEvaluator.update`."""
        (truth,), _ = self._sample.load(index)
        mask = np.zeros_like(truth) if prediction is None else _hard(prediction, self._sample)[0]
        shared, union = int(np.count_nonzero(mask & truth)), int(np.count_nonzero(mask | truth))
        # The rules of the field: the IoU of an empty union is 0.
        self._counts = {
            "intersection": shared,
            "union": union,
            "IoU": shared / union if union else 0.0,
            "hit": int(mask.any() and truth[innermost(mask)]),
            "missing": int(prediction is None),
        }
        return {"IoU": self._counts["IoU"]}

    def result(self) -> Measurement:
        """Returns intersection, union and whether the point was right, of which the dataset's figures are made."""
        series = {EXPRESSION: {"IoU": np.array([self._counts["IoU"]], np.float64)}}
        facts = {"text": self._sample.texts[0], "kinds": list(self._sample.kinds), "chance": self._sample.chance}
        return Measurement(self._sample.frames, series, self._counts, facts)


def innermost(mask: Bool[np.ndarray, "h w"]) -> tuple[int, int]:
    """Returns the row and column of the pixel of a mask that is the most steps along rows and columns from its edge.

    Of several the one nearest to their mean. The picture's border counts as an edge.
    """
    inner = np.pad(mask, 1)
    while True:
        eroded = np.zeros_like(inner)
        eroded[1:-1, 1:-1] = inner[1:-1, 1:-1] & inner[:-2, 1:-1] & inner[2:, 1:-1] & inner[1:-1, :-2] & inner[1:-1, 2:]
        if not eroded.any():
            break
        inner = eroded
    places = np.argwhere(inner[1:-1, 1:-1])
    row, column = places[((places - places.mean(axis=0)) ** 2).sum(axis=1).argmin()]
    return int(row), int(column)


class ObjectsEvaluator:
    """Scores the objects of a video together, for one annotator's expressions."""

    def __init__(self, sample: ReferSample, asked: Sequence[int], rules: str) -> None:
        self._sample, self._asked, self._rules = sample, tuple(asked), rules
        self._scores = RefDavisEvaluator(sample.objects, rules)  # type: ignore[arg-type]

    def update(self, index: int, prediction: np.ndarray | None) -> Mapping[str, float]:
        """Takes the masks (n, h, w) of frame `index`; see `ExpressionEvaluator.update`."""
        if index not in self._asked:
            return {}
        masks, void = self._sample.load(index)
        truth = np.zeros(self._sample.size, np.uint16)
        for number, mask in enumerate(masks, start=1):
            truth[mask] = number
        if void is not None:
            truth[void] = VOID
        if prediction is not None:
            _hard(prediction, self._sample)
            soft = prediction.astype(np.float32)
            alone = self._rules == "rem"
            prediction = independent(soft) if alone else separate(compete(soft), len(soft))
        self._scores.update(prediction, truth)
        return {}

    def result(self) -> Measurement:
        """Returns J and F by object, each object with the mask that the rules assign to it."""
        series = {
            str(number): {"J": scores.region, "F": scores.contour} for number, scores in self._scores.result().items()
        }
        facts = {"annotator": self._sample.annotator, "texts": list(self._sample.texts)}
        return Measurement(tuple(self._sample.frames[index] for index in self._asked), series, facts=facts)


def _hard(prediction: np.ndarray, sample: ReferSample) -> np.ndarray:
    """Returns masks as booleans, after a look at their shape."""
    if prediction.ndim != 3 or prediction.shape[1:] != sample.size or len(prediction) != len(sample.texts):
        raise MaskError(
            f"the masks for '{sample.name}' have shape {prediction.shape}; give {(len(sample.texts), *sample.size)}"
        )
    return prediction if prediction.dtype == bool else prediction > 0.5


def summarise(outcomes: Sequence[Outcome]) -> dict[str, float]:
    """Returns the figures of one method's outcomes as the official evaluator of their rules averages.

    Raises:
        SettingsError: if the annotators' runs have not the same objects.
    """
    rules = outcomes[0].rules
    if rules in ("strict", "referformer", "rem"):
        return _annotators(outcomes)
    if rules == "images":
        return _images(outcomes)
    if rules == "kinds":
        return _kinds(outcomes)
    scored = [outcome.series[EXPRESSION] for outcome in outcomes if outcome.frames]
    change = temporal_consistency(series["J"] for series in scored) / 100
    if rules == "expressions":
        region, contour = (mean([mean(series[measure]) for series in scored]) for measure in "JF")
        return {"J&F": (region + contour) / 2, "J": region, "F": contour, "change of J": change}
    if rules == "region":
        return {"J": mean([mean(series["J"]) for series in scored]), "change of J": change}
    kept = [outcome for outcome in outcomes if rules == "class-macro" or outcome.facts["exhaustive"]]
    classes: dict[str, list[float]] = {}
    for outcome in kept:
        classes.setdefault(outcome.facts["category"], []).append(mean(outcome.series[EXPRESSION]["J"]))
    return {"J": mean([mean(videos) for videos in classes.values()]), "change of J": change}


def _images(outcomes: Sequence[Outcome]) -> dict[str, float]:
    totals = [outcome.totals for outcome in outcomes]
    ious = np.array([each["IoU"] for each in totals], np.float64)
    union = sum(each["union"] for each in totals)
    overall = sum(each["intersection"] for each in totals) / union if union else float("nan")
    figures = {"oIoU": overall, "mIoU": mean(ious)} | {f"P@{x}": mean(ious >= x) for x in THRESHOLDS}
    figures["PA"] = mean([each["hit"] for each in totals])
    if any(outcome.facts["chance"] for outcome in outcomes):
        figures["chance"] = mean([outcome.facts["chance"] for outcome in outcomes])
    return figures


def _kinds(outcomes: Sequence[Outcome]) -> dict[str, float]:
    """Returns point accuracy by what expressions speak of; one that speaks of several things counts for each."""
    hits: dict[str, list[int]] = {}
    for outcome in outcomes:
        for kind in outcome.facts["kinds"]:
            hits.setdefault(kind, []).append(outcome.totals["hit"])
    return {"PA": mean([outcome.totals["hit"] for outcome in outcomes])} | {
        f"PA {kind}": mean(hits.get(kind, [])) for kind in PICTURE_KINDS
    }


def _annotators(outcomes: Sequence[Outcome]) -> dict[str, float]:
    runs: dict[int, list[dict[int, ObjectScores]]] = {}
    for outcome in outcomes:
        objects = {int(number): ObjectScores(each["J"], each["F"]) for number, each in outcome.series.items()}
        runs.setdefault(outcome.facts["annotator"], []).append(objects)
    try:
        summary = summarise_annotators([runs[annotator] for annotator in sorted(runs)])
    except ValueError as error:
        raise SettingsError(f"the annotators cannot be averaged: {error}; score all samples of the split") from error
    return {"J&F": summary.combined, "J": summary.region, "F": summary.contour}
