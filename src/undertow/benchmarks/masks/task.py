"""Video object segmentation: objects are followed from the mask each has at first."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from undertow.base import MaskError, SettingsError, UndertowError
from undertow.benchmarks.core.files import Finding, frame_findings, gap_findings, is_black_and_white
from undertow.benchmarks.core.outcomes import Outcome
from undertow.benchmarks.core.task import BenchmarkTask, Images
from undertow.benchmarks.masks.sample import MaskEvaluator, MaskSample, asked_objects
from undertow.masks import VOID, LabelMap, object_ids, write_label_map
from undertow.metrics import MASK_RULES, DatasetSummary, MaskRules, YouTubeVosSummary


class MaskTask(BenchmarkTask[MaskSample, LabelMap]):
    """The task "masks": results are `<sample>/<frame>.png`, label maps with the ids of the truth.

    Rules are those of `undertow.metrics.davis.MASK_RULES`. With rules that match proposals, ids are the method's own.
    """

    name: ClassVar[str] = "masks"
    rules: ClassVar[tuple[str, ...]] = tuple(MASK_RULES)
    free: ClassVar[bool] = True
    measures: ClassVar[tuple[str, ...]] = ("J&F", "J", "J recall", "J decay", "F", "F recall", "F decay")

    def asked(self, sample: MaskSample, rules: str, shown: Sequence[int] | None = None) -> Sequence[int]:
        """Returns the annotated frames that count; most rules leave out the first and the last.

        Raises:
            SettingsError: if the truth is not there to score with.
        """
        _check_public(sample)
        rule, annotated = MASK_RULES[rules], _annotated(sample, shown)
        if rule.start == "object":
            # An object counts after its own first mask, so that no frame is left out for all.
            counted = [i for i in annotated if any(sample.starts.get(n, 0) < i for n in asked_objects(sample, i))]
            return counted if rule.last else [index for index in counted if index != annotated[-1]]
        return annotated[0 if rule.first else 1 : None if rule.last else -1]

    def evaluator(self, sample: MaskSample, rules: str, shown: Sequence[int] | None = None) -> MaskEvaluator:
        """Returns what scores the annotated frames among those shown."""
        asked = self.asked(sample, rules, shown)
        return MaskEvaluator(sample, MASK_RULES[rules], asked, _annotated(sample, shown))

    def check_shown(self, sample: MaskSample, rules: str, shown: Sequence[int], protocol: str) -> None:
        """Raises `SettingsError` if too few annotated frames are shown for one of them to count."""
        if self.asked(sample, rules, shown):
            return
        rule, count = MASK_RULES[rules], len(_annotated(sample, shown))
        left_out = [word for word, counts in (("first", rule.first), ("last", rule.last)) if not counts]
        why = f", as the {' and the '.join(left_out)} {'do' if len(left_out) > 1 else 'does'} not count"
        raise SettingsError(
            f"protocol '{protocol}' shows {count} annotated frames of '{sample.name}'; "
            f"scoring needs {1 + len(left_out)}{why if left_out else ''}"
        )

    def check_results(self, folder: Path, sample: MaskSample) -> None:
        """Raises `SettingsError` if a folder of results has nothing for a sample, or nothing can be scored at all."""
        _check_public(sample)
        super().check_results(folder, sample)

    def read(self, folder: Path, sample: MaskSample, index: int, rules: str) -> LabelMap:
        """Returns the predicted label map of a frame, whose ids must be ids of the truth, or proposals 1 to the most.

        Raises:
            MaskError: naming the file, if it is missing, unreadable, of another size, or has void or unknown ids.
        """
        path = self.found(folder, sample, index)
        labels = sample.read(path)
        if len(sample.ids) > 1 and not sample.merged and is_black_and_white(path):
            # White would be taken for object 1, and nobody has said that it is.
            raise MaskError(
                f"'{path}' is black and white, but '{sample.name}' has {_objects(sample.ids)}; give their ids"
            )
        if (labels == VOID).any():
            # Evaluators differ in what they make of it, from background to 255 objects.
            raise MaskError(f"'{path}' has void pixels (255); give background or an object everywhere")
        most = MASK_RULES[rules].proposals
        known = set(sample.ids) if most is None else set(range(1, most + 1))
        stray = sorted(set(object_ids(labels)) - known)
        if stray and most is not None:
            raise MaskError(
                f"'{path}' has object {stray[0]}, but at most {most} proposals may be given; number them from 1 on"
            )
        if stray:
            raise MaskError(
                f"'{path}' has object {stray[0]}, but '{sample.name}' has {_objects(sample.ids)}; give their ids"
            )
        return labels

    def write(self, folder: Path, sample: MaskSample, index: int, prediction: LabelMap) -> None:
        """Writes a label map as a palette PNG."""
        write_label_map(sample.result(folder, sample.frames[index], links=False), prediction)

    def predict(
        self, sample: MaskSample, predictor: Callable[..., Any], images: Images, shown: Sequence[int], rules: str = ""
    ) -> Iterator[tuple[int, LabelMap]]:
        """Yields the label maps of a predictor that takes images and the masks of the frames where objects start.

        Where an object's own first frame is not shown, its mask is given on the next annotated frame that is. Frames
        before any object are background, without the predictor being asked.
        """
        given = _as_shown(sample, shown).cues()
        places = {index: place for place, index in enumerate(shown)}
        cues = {places[index]: labels for index, labels in given.items() if index in places}
        if not cues:
            raise SettingsError(f"no frame of '{sample.name}' that is shown has a mask to start from")
        first = min(cues)
        for index in shown[:first]:
            next(images)
            yield index, np.zeros(sample.size, np.uint16)
        predictions = predictor(images, {place - first: labels for place, labels in cues.items()})
        yield from zip(shown[first:], predictions, strict=False)

    def check(self, sample: MaskSample) -> Iterator[Finding]:
        """Yields frames and annotations that cannot be read, and annotations that are not what scoring takes them for.

        All frames and annotations are decoded.
        """
        yield from frame_findings(sample)
        annotated = set(sample.annotated)
        yield from gap_findings(sample, sample.annotated)
        for number in sample.ids:
            missing = [index for index in sample.asked.get(number, ()) if index not in annotated]
            if missing and not sample.private:
                name = sample.frames[missing[0]]
                yield Finding(
                    sample.video, f"object {number} is to be scored on frame '{name}', which has no annotation"
                )
        first_seen: dict[int, int] = {}
        for index in sample.annotated:
            path = sample.masks[sample.frames[index]]
            try:
                labels = sample.load_mask(index)
            except UndertowError as error:
                yield Finding(path, str(error))
                continue
            found = object_ids(labels)
            for number in found:
                first_seen.setdefault(number, index)
            stray = sorted(set(found) - set(sample.ids))
            if stray:
                yield Finding(path, f"object {stray[0]} is not in the first annotation and is not scored", "odd")
            if (labels == VOID).any():
                yield Finding(path, "some pixels are void (255), which most rules take for background", "odd")
        yield from self._check_starts(sample, first_seen)

    def summarise(self, outcomes: Sequence[Outcome]) -> dict[str, float]:
        """Returns J, F and their means, recalls and decays, averaged over objects or sequences as the rules say.

        Rules "youtube-vos" come with G, the mean of J and F of seen and of unseen categories, and these four; they are
        NaN where categories are not known, or all of one kind.
        """
        rules = MASK_RULES[outcomes[0].rules] if outcomes else MaskRules()
        summary = DatasetSummary.of(
            (outcome.objects for outcome in outcomes), "sequences" if rules.average == "sequences" else "objects"
        )
        figures = self._split_figures(outcomes) if rules.average == "splits" else {}
        figures["J&F"] = summary.combined
        for name, measure in (("J", summary.region), ("F", summary.contour)):
            figures |= {name: measure.mean, f"{name} recall": measure.recall, f"{name} decay": measure.decay}
        return figures

    def headline_measure(self, outcomes: Sequence[Outcome]) -> str:
        """Returns J&F by all rules: of one sample G would be nothing, as a video seldom has both kinds of category."""
        return "J&F"

    @staticmethod
    def _split_figures(outcomes: Sequence[Outcome]) -> dict[str, float]:
        names = ("G", "J_seen", "F_seen", "J_unseen", "F_unseen")
        groups = {outcome.sequence: outcome.facts.get("groups", {}) for outcome in outcomes}
        if any(number not in groups[each.sequence] for each in outcomes for number in each.series):
            return dict.fromkeys(names, float("nan"))
        unseen = {
            name: {int(number) for number, word in words.items() if word == "unseen"} for name, words in groups.items()
        }
        split = YouTubeVosSummary.of({outcome.sequence: outcome.objects for outcome in outcomes}, unseen)
        values = (
            split.overall,
            split.region_seen,
            split.contour_seen,
            split.region_unseen,
            split.contour_unseen,
        )
        return dict(zip(names, values, strict=True))

    @staticmethod
    def _check_starts(sample: MaskSample, first_seen: Mapping[int, int]) -> Iterator[Finding]:
        for number in sample.ids:
            start = sample.starts.get(number, 0)
            if number not in first_seen:
                yield Finding(sample.video, f"object {number} is in no annotation, though there are higher ids", "odd")
            elif first_seen[number] > start:
                path = sample.masks.get(sample.frames[start], sample.video)
                yield Finding(path, f"object {number} is not here, where it should be given to a method", "odd")


def _annotated(sample: MaskSample, shown: Sequence[int] | None) -> list[int]:
    return [index for index in sample.annotated if shown is None or index in shown]


def _as_shown(sample: MaskSample, shown: Sequence[int]) -> MaskSample:
    """Returns the sample with each object's start moved to a frame that is shown; without those that have none."""
    annotated = _annotated(sample, shown)
    starts = {}
    for number in sample.ids:
        later = [index for index in annotated if index >= sample.starts.get(number, 0)]
        if later:
            starts[number] = later[0]
    return replace(sample, ids=tuple(starts), starts=starts)


def _check_public(sample: MaskSample) -> None:
    """Raises `SettingsError` if the truth is kept by a server."""
    if sample.private:
        raise SettingsError(
            f"the truth of '{sample.name}' is kept by the server of {sample.dataset}, so that nothing can be scored "
            "here; `undertow bench submit` makes the zip file that it takes"
        )


def _objects(ids: Sequence[int]) -> str:
    """Returns which objects there are, in words."""
    if list(ids) == list(range(1, len(ids) + 1)):
        return f"objects 1 to {len(ids)}"
    return f"objects {', '.join(map(str, ids))}"


TASK = MaskTask()
