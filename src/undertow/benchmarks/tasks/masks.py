"""Video object segmentation: objects are followed from the mask each has at first."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from undertow.base import MaskError, SettingsError, UndertowError
from undertow.benchmarks.outcomes import Outcome
from undertow.benchmarks.samples import MaskSample
from undertow.benchmarks.tasks.base import Finding, Images, Measurement, Task
from undertow.masks import LabelMap, object_ids, write_label_map
from undertow.metrics import DatasetSummary, SequenceEvaluator


class MaskEvaluator:
    """Scores one sample by one set of rules, see `undertow.metrics`."""

    def __init__(self, sample: MaskSample, asked: Sequence[int]) -> None:
        self._sample = sample
        self._asked = {index: place for place, index in enumerate(asked)}
        self._scores = SequenceEvaluator(sample.ids)
        self._series = {
            str(number): {measure: np.full(len(asked), np.nan) for measure in "JF"} for number in sample.ids
        }

    def update(self, index: int, prediction: LabelMap) -> Mapping[str, float]:
        """Takes the label map of frame `index`; one that is not asked for is only checked.

        Raises:
            MaskError: if it is not of the video's size.
        """
        sample = self._sample
        if prediction.shape != sample.size:
            raise MaskError(
                f"the label map for frame '{sample.frames[index]}' of '{sample.name}' has shape {prediction.shape}, "
                f"the video {sample.size}"
            )
        if index not in self._asked:
            return {}
        scores = self._scores.update(prediction, sample.load_mask(index))
        for number, values in scores.items():
            for measure, value in zip("JF", values, strict=True):
                self._series[str(number)][measure][self._asked[index]] = value
        return {"J&F": float(np.mean(list(scores.values())))}

    def result(self) -> Measurement:
        """Returns J and F by object on the frames asked for."""
        return Measurement(tuple(self._sample.frames[index] for index in self._asked), self._series)


class MaskTask(Task[MaskSample, LabelMap]):
    """The task "masks": results are `<sample>/<frame>.png`, label maps with the ids of the truth."""

    name: ClassVar[str] = "masks"
    rules: ClassVar[tuple[str, ...]] = ("davis-2017", "davis-2016")
    measures: ClassVar[tuple[str, ...]] = ("J&F", "J", "J recall", "J decay", "F", "F recall", "F decay")

    def asked(self, sample: MaskSample, rules: str, shown: Sequence[int] | None = None) -> Sequence[int]:
        """Returns the annotated frames but the first and the last, which the rules leave out."""
        return [index for index in sample.annotated if shown is None or index in shown][1:-1]

    def evaluator(self, sample: MaskSample, rules: str, shown: Sequence[int] | None = None) -> MaskEvaluator:
        """Returns what scores the annotated frames among those shown."""
        return MaskEvaluator(sample, self.asked(sample, rules, shown))

    def check_shown(self, sample: MaskSample, rules: str, shown: Sequence[int], protocol: str) -> None:
        """Raises `SettingsError` unless three annotated frames are shown."""
        annotated = sum(index in shown for index in sample.annotated)
        if annotated < 3:
            raise SettingsError(
                f"protocol '{protocol}' shows {annotated} annotated frames of '{sample.name}'; scoring needs 3, "
                "as the first and the last do not count"
            )

    def read(self, folder: Path, sample: MaskSample, index: int, rules: str) -> LabelMap:
        """Returns the predicted label map of a frame, whose ids must be ids of the truth."""
        path = folder / sample.name / f"{sample.frames[index]}.png"
        if not path.is_file():
            raise MaskError(f"the prediction for frame '{path.stem}' of '{sample.name}' is missing: '{path}'")
        labels = sample.read(path)
        stray = sorted(set(object_ids(labels)) - set(sample.ids))
        if stray:
            raise MaskError(f"'{path}' has object {stray[0]}, but '{sample.name}' has objects 1 to {max(sample.ids)}")
        return labels

    def write(self, folder: Path, sample: MaskSample, index: int, prediction: LabelMap) -> None:
        """Writes a label map as a palette PNG."""
        write_label_map(folder / sample.name / f"{sample.frames[index]}.png", prediction)

    def predict(
        self, sample: MaskSample, predictor: Callable[..., Any], images: Images, shown: Sequence[int]
    ) -> Iterator[tuple[int, LabelMap]]:
        """Yields the label maps of a predictor that takes images and the masks of the frames where objects start."""
        places = {index: place for place, index in enumerate(shown)}
        cues = {places[index]: labels for index, labels in sample.cues().items() if index in places}
        yield from zip(shown, predictor(images, cues), strict=False)

    def check(self, sample: MaskSample) -> Iterator[Finding]:
        """Yields annotations that cannot be read, and ids that the sample does not score."""
        for index in sample.annotated:
            path = sample.masks[sample.frames[index]]
            try:
                labels = sample.load_mask(index)
            except UndertowError as error:
                yield Finding(path, str(error))
                continue
            stray = sorted(set(object_ids(labels)) - set(sample.ids))
            if stray:
                yield Finding(path, f"object {stray[0]} is not in the first annotation and is not scored", "odd")

    def summarise(self, outcomes: Sequence[Outcome]) -> dict[str, float]:
        """Returns J, F and their means, recalls and decays over all objects of all samples."""
        summary = DatasetSummary.of(outcome.objects for outcome in outcomes)
        figures = {"J&F": summary.combined}
        for name, measure in (("J", summary.region), ("F", summary.contour)):
            figures |= {name: measure.mean, f"{name} recall": measure.recall, f"{name} decay": measure.decay}
        return figures
