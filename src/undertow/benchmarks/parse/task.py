"""Video semantic segmentation: every pixel has a class, and the truth of some anchor frames is given."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any, ClassVar, get_args

import numpy as np
from jaxtyping import Int64

from undertow.base import MaskError, SettingsError, UndertowError
from undertow.benchmarks.core.files import Finding, frame_findings, gap_findings
from undertow.benchmarks.core.outcomes import Outcome
from undertow.benchmarks.core.task import BenchmarkTask, Evaluator, Images
from undertow.benchmarks.parse.sample import SemanticSample, read_values, write_values
from undertow.benchmarks.parse.scoring import ClusterEvaluator, ParseEvaluator, dense_counts
from undertow.masks import VOID, LabelMap
from undertow.metrics import MatchingMode, SemanticScores

MATCHING: tuple[str, ...] = get_args(MatchingMode)


class ParseTask(BenchmarkTask[SemanticSample, LabelMap]):
    """The task "parse": results are `<sample>/<frame>.png` with the dataset's own values, as its label files are.

    Rules: "anchor-excluded" leaves out the frames whose truth was given, "all-frames" counts them as published numbers
    do. The others take results as clusters without names (grey or palette PNG with numbers from 0, 65535 and in 8 bits
    255 for none) and match them with classes first, see `undertow.metrics.matching`; anchors do not count there.
    """

    name: ClassVar[str] = "parse"
    # What can move masks can move classes, see `predict`.
    predictors: ClassVar[str] = "masks"
    rules: ClassVar[tuple[str, ...]] = ("anchor-excluded", "all-frames", *MATCHING)
    free: ClassVar[bool] = True
    measures: ClassVar[tuple[str, ...]] = ("mIoU", "pixel accuracy", "mVC8", "mVC16", "mVC8 strict", "mVC16 strict")

    def asked(self, sample: SemanticSample, rules: str, shown: Sequence[int] | None = None) -> Sequence[int]:
        """Returns the annotated frames, without the anchors if the rules exclude them.

        Raises:
            SettingsError: if the rules need an anchor and there is none.
        """
        annotated = [index for index in sample.annotated if shown is None or index in shown]
        if rules == "anchor-majority" and not set(annotated) & set(sample.anchors):
            raise SettingsError(
                f"rules 'anchor-majority' need a frame of '{sample.name}' whose truth is given, and there is none; "
                "use hungarian-per-video"
            )
        return [index for index in annotated if rules != "anchor-excluded" or index not in sample.anchors]

    def evaluator(self, sample: SemanticSample, rules: str, shown: Sequence[int] | None = None) -> Evaluator[LabelMap]:
        """Returns what scores the annotated frames among those shown."""
        asked = self.asked(sample, rules, shown)
        mode: MatchingMode
        for mode in get_args(MatchingMode):
            if rules == mode:
                return ClusterEvaluator(sample, asked, mode)
        return ParseEvaluator(sample, asked)

    def read(self, folder: Path, sample: SemanticSample, index: int, rules: str) -> LabelMap:
        """Returns the predicted classes of a frame, or its clusters if the rules match clusters.

        Raises:
            MaskError: naming the file, if it is missing, unreadable, of another size, or has a value that is no class.
        """
        path = self.found(folder, sample, index)
        if rules not in MATCHING:
            return sample.read(path)
        values = read_values(path, sample.size)
        if values.ndim == 3:
            raise MaskError(f"'{path}' is RGB-coded; save clusters as a grey or palette PNG")
        return np.where(values == 255, VOID, values).astype(np.uint16) if values.dtype == np.uint8 else values

    def write(self, folder: Path, sample: SemanticSample, index: int, prediction: LabelMap) -> None:
        """Writes classes as the dataset's own values."""
        write_values(sample.result(folder, sample.frames[index], links=False), sample.coding.encode(prediction))

    def predict(
        self,
        sample: SemanticSample,
        predictor: Callable[..., Any],
        images: Images,
        shown: Sequence[int],
        rules: str = "",
    ) -> Iterator[tuple[int, LabelMap]]:
        """Yields the class maps that a mask predictor makes of the anchors, class c being its object c + 1.

        Frames before the first anchor are shown to it in a run of their own, backwards from that anchor, and held in
        memory for that; a predictor with `both_ways` is shown all frames at once instead. Under rules that match
        clusters, a predictor with `clusters` is given no anchors: what it yields are clusters.

        Raises:
            SettingsError: if no anchor is shown, and the predictor needs one.
        """
        places = {index: place for place, index in enumerate(shown)}
        blind = rules in MATCHING and getattr(predictor, "clusters", False)
        given = {} if blind else sample.cues()
        cues = {places[index]: labels for index, labels in given.items() if index in places}
        if not cues and not blind:
            raise SettingsError(
                f"no frame of '{sample.name}' that is shown has truth that may be given to a method; "
                "score a folder of results with `undertow bench score`"
            )
        maps = (
            predictor(images, cues) if getattr(predictor, "both_ways", False) else _both_ways(predictor, images, cues)
        )
        for index, labels in zip(shown, maps, strict=False):
            # Background, which is 0, wraps round to void, and void stays what it is.
            yield index, np.where(labels == VOID, VOID, labels - np.uint16(1)).astype(np.uint16)

    def check(self, sample: SemanticSample) -> Iterator[Finding]:
        """Yields frames and label files that cannot be read, and anchors that say nothing; all of them are decoded."""
        yield from frame_findings(sample)
        if len(sample.annotated) > 1:
            yield from gap_findings(sample, sample.annotated)
        for index in sample.anchors:
            if index not in sample.annotated:
                yield Finding(sample.video, f"frame {index} is to be given to methods, but has no labels")
        for index in sample.annotated:
            path = sample.labels[sample.frames[index]]
            try:
                labels = sample.load_labels(index)
            except UndertowError as error:
                yield Finding(path, str(error))
                continue
            if not (labels < len(sample.classes)).any():
                problem = "no pixel has a class, all are void"
                yield Finding(path, problem, "error" if index in sample.anchors else "odd")

    def summarise(self, outcomes: Sequence[Outcome]) -> dict[str, float]:
        """Returns mIoU, pixel accuracy and mVC as official evaluators do: pooled over all samples.

        Samples that do not share their classes are scored one by one and averaged.
        """
        if not outcomes:
            return dict.fromkeys(self.measures, float("nan"))
        if len(outcomes) > 1 and not outcomes[0].facts["pooled"]:
            each = [self.summarise([outcome]) for outcome in outcomes]
            return {name: _nanmean([figures[name] for figures in each]) for name in self.measures}
        counts = self.confusion(outcomes)
        if counts is None:
            raise SettingsError(
                "these samples have different classes and cannot share a table; use one folder for each"
            )
        scores = SemanticScores.of(counts)
        figures = {"mIoU": scores.mean_iou(outcomes[0].facts["averaged"]), "pixel accuracy": scores.pixel_accuracy}
        for name in self.measures[2:]:
            total, windows = np.sum([outcome.totals[name] for outcome in outcomes], axis=0)
            figures[name] = float(total / windows) if windows else float("nan")
        return figures

    def confusion(self, outcomes: Sequence[Outcome]) -> Int64[np.ndarray, "n n+1"] | None:
        """Returns the sum of the confusion matrices, `None` if the samples do not share their classes."""
        classes = {tuple(outcome.facts["classes"]) for outcome in outcomes}
        if len(classes) != 1:
            return None
        count = len(classes.pop())
        parts = [dense_counts(outcome.totals["confusion"], count) for outcome in outcomes]
        counts: Int64[np.ndarray, "n n+1"] = np.sum(parts, axis=0)
        return counts


def _both_ways(
    predictor: Callable[..., Iterator[LabelMap]], images: Images, cues: Mapping[int, LabelMap]
) -> Iterator[LabelMap]:
    """Yields the label maps of a predictor that goes forward only, asked twice if the first cue is not at frame 0."""
    first = min(cues)
    before = list(islice(images, first + 1)) if first else []
    if before:
        backwards = list(predictor(iter(before[::-1]), {0: cues[first]}))
        yield from backwards[:0:-1]
        images = chain(before[-1:], images)
        del before, backwards
    yield from predictor(images, {place - first: labels for place, labels in cues.items()})


def _nanmean(values: Sequence[float]) -> float:
    known = [value for value in values if value == value]
    return sum(known) / len(known) if known else float("nan")


TASK = ParseTask()
