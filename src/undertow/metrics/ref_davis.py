"""Ref-DAVIS17 in the three ways it is scored, which give different numbers for the same masks.

Each object has four expressions (two annotators, who saw the first frame or the whole video). One run takes one of the
four for every object, and the benchmark is the mean of the four runs. What differs is what becomes of a run's masks:

| mode | objects compete for pixels | which mask belongs to which object |
|---|---|---|
| `referformer` | yes, `compete` | the best one-to-one matching |
| `rem` | no, `independent` | the best one-to-one matching |
| `strict` | either way | the one its expression names |

Published numbers are nearly always `referformer`. Matching forgives a model that mistakes one object for another as
long as it does so consistently; `strict` does not, and is what a user who asked for an object gets.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, UInt16

from undertow.metrics.davis import DatasetSummary, ObjectScores
from undertow.metrics.matching import best_assignment
from undertow.metrics.similarity import check_pair, contour_accuracy, region_similarity
from undertow.metrics.statistics import mean

Mode = Literal["strict", "referformer", "rem"]
MODES: tuple[Mode, ...] = ("strict", "referformer", "rem")
ANNOTATORS = 4
MOST_PROPOSALS = 20
VOID = np.iinfo(np.uint16).max


def annotator_expressions(expressions: int, annotator: int) -> range:
    """Returns the numbers of one run's expressions in their file's order, which goes object by object.

    Raises:
        ValueError: if the expressions do not come in fours, or there is no such annotator.
    """
    if expressions % ANNOTATORS or not 0 <= annotator < ANNOTATORS:
        raise ValueError(f"annotator {annotator} of {expressions} expressions: give 0 to 3, and a multiple of four")
    return range(annotator, expressions, ANNOTATORS)


def compete(
    soft: Float[np.ndarray, "n h w"], threshold: float = 0.5, background: float = 0.1
) -> UInt16[np.ndarray, "h w"]:
    """Returns the label map of one frame in which every pixel goes to the object that wants it most.

    Args:
        soft: One mask per object, in [0, 1]; values below `threshold` are taken for 0.
        threshold: See `soft`.
        background: What the background wants everywhere. Of equals the first object wins.

    Raises:
        ValueError: if there are not three axes.

    Source: Wu et al., "Language as Queries for Referring Video Object Segmentation" (ReferFormer), CVPR 2022, code.
    """
    soft = _stack(soft)
    wanted = np.where(soft < threshold, 0, soft)
    labels: UInt16[np.ndarray, "h w"] = np.argmax(
        np.concatenate([np.full((1, *soft.shape[1:]), background, soft.dtype), wanted]), axis=0
    ).astype(np.uint16)
    return labels


def compete_by_heat(
    masks: Bool[np.ndarray, "n h w"], heat: Float[np.ndarray, "n h w"] | Float[np.ndarray, " n"]
) -> UInt16[np.ndarray, "h w"]:
    """Returns the label map of hard masks, overlaps going to the object of most heat; of equals the first.

    An argmax over hard masks would give every overlap to the object that happens to come first.

    Args:
        masks: One mask per object.
        heat: How much each object is wanted, pixel by pixel or one number per object.

    Raises:
        ValueError: if masks and heat do not fit.
    """
    masks, heat = _stack(masks).astype(bool, copy=False), np.asarray(heat, np.float64)
    if heat.shape not in (masks.shape, masks.shape[:1]):
        raise ValueError(f"heat of shape {heat.shape} does not fit masks of shape {masks.shape}")
    if not len(masks):
        return np.zeros(masks.shape[1:], np.uint16)
    wanted = np.where(masks, heat.reshape(*heat.shape, *[1] * (3 - heat.ndim)), -np.inf)
    return np.where(masks.any(axis=0), np.argmax(wanted, axis=0) + 1, 0).astype(np.uint16)


def independent(soft: Float[np.ndarray, "n h w"], threshold: float = 0.5) -> Bool[np.ndarray, "n h w"]:
    """Returns each object's own mask of one frame, above (not at) `threshold`; they may overlap.

    Source: the evaluation code of REM (Bagchi et al., "ReferEverything", 2024).
    """
    return _stack(soft) > threshold


def separate(labels: UInt16[np.ndarray, "h w"], objects: int) -> Bool[np.ndarray, "n h w"]:
    """Returns the masks of the objects 1 to `objects` of a label map."""
    masks: Bool[np.ndarray, "n h w"] = labels[None] == np.arange(1, objects + 1)[:, None, None]
    return masks


class RefDavisEvaluator:
    """Scores one video of one annotator's run, frame by frame, every annotated frame counting.

    Args:
        objects: How many objects the video has, the largest id of the first annotated frame (see `davis_ids`).
        mode: How masks are assigned: by name ("strict") or by matching on mean (J + F) / 2 over all frames.

    Raises:
        ValueError: if there is no such mode or no object.

    Source: the DAVIS 2017 evaluator's `unsupervised` task, which ReferFormer and those after it call.
    """

    def __init__(self, objects: int, mode: Mode) -> None:
        if mode not in MODES or objects < 1:
            raise ValueError(f"{objects} objects and mode {mode!r}: give 1 or more, and one of {', '.join(MODES)}")
        self.objects, self.mode = objects, mode
        self._proposals: int | None = None
        # One table of (proposals, objects, 2) per frame; None where the prediction is missing.
        self._tables: list[np.ndarray | None] = []

    def update(self, pred: Bool[np.ndarray, "p h w"] | None, true: UInt16[np.ndarray, "h w"]) -> None:
        """Adds one frame.

        Args:
            pred: One mask per expression, in the order of the objects; None if the frame is missing, which scores 0.
                Objects beyond them are taken to have empty masks.
            true: The annotation; its void pixels leave both masks.

        Raises:
            ValueError: if the number of masks changes, is above 20, or in mode `strict` above that of the objects, or
                sizes differ.
        """
        if pred is None:
            check_pair(true, true, None)
            self._tables.append(None)
            return
        pred = _stack(pred).astype(bool, copy=False)
        most = self.objects if self.mode == "strict" else MOST_PROPOSALS
        if len(pred) > most or self._proposals not in (None, len(pred)):
            raise ValueError(
                f"{len(pred)} masks of {self.objects} objects; give the same number each time, {most} at most"
            )
        self._proposals = len(pred)
        missing = max(0, self.objects - len(pred))
        pred = np.concatenate([pred, np.zeros((missing, *pred.shape[1:]), bool)])
        void, truth = true == VOID, separate(true, self.objects)
        table = np.zeros((len(pred), self.objects, 2))
        for row, column in np.ndindex(table.shape[:2]):
            if self.mode != "strict" or row == column:
                masks = pred[row], truth[column], void
                table[row, column] = region_similarity(*masks), contour_accuracy(*masks)
        self._tables.append(table)

    def result(self) -> dict[int, ObjectScores]:
        """Returns J and F of every frame by object id, each object with the mask that is assigned to it.

        Raises:
            ValueError: if there was no frame.
        """
        if not self._tables:
            raise ValueError("a video without annotated frames cannot be scored; leave it out")
        size = max(self.objects, self._proposals or 0)
        nothing = np.zeros((size, self.objects, 2))
        scores = np.stack([nothing if table is None else table for table in self._tables])
        if self.mode == "strict":
            rows = columns = np.arange(self.objects)
        else:
            # As the official evaluator sums, to the last bit: rounding decides between equally good assignments.
            region, contour = (np.ascontiguousarray(np.moveaxis(scores[..., kind], 0, -1)) for kind in (0, 1))
            rows, columns = best_assignment((region.mean(axis=-1) + contour.mean(axis=-1)) / 2)
        chosen = {int(column): scores[:, row, column] for row, column in zip(rows, columns, strict=True)}
        return {
            number + 1: ObjectScores(chosen[number][:, 0].copy(), chosen[number][:, 1].copy())
            for number in sorted(chosen)
        }


@dataclass(frozen=True)
class RefDavisSummary:
    """The mean over annotators.

    Attributes:
        region: Mean J.
        contour: Mean F.
        annotators: What each run alone has.
    """

    region: float
    contour: float
    annotators: tuple[DatasetSummary, ...]

    @property
    def combined(self) -> float:
        """J&F: the mean of mean J and mean F."""
        return (self.region + self.contour) / 2


def summarise_annotators(runs: Sequence[Iterable[Mapping[int, ObjectScores]]]) -> RefDavisSummary:
    """Returns the benchmark's numbers: the mean over all objects of all videos, then over the annotators' runs.

    Args:
        runs: For each annotator the results of all videos (see `RefDavisEvaluator.result`).

    Raises:
        ValueError: if there is no run, or they differ in how many objects they have.
    """
    summaries = tuple(DatasetSummary.of(run) for run in runs)
    counts = sorted({summary.objects for summary in summaries})
    if len(counts) != 1 or not counts[0]:
        raise ValueError(f"the annotators' runs must have the same objects, at least one; found {counts or 'no run'}")
    return RefDavisSummary(
        mean([summary.region.mean for summary in summaries]),
        mean([summary.contour.mean for summary in summaries]),
        summaries,
    )


def _stack(masks: np.ndarray) -> np.ndarray:
    """Returns the masks of one frame as they are, after a look at their axes."""
    if np.ndim(masks) != 3:
        raise ValueError(f"the masks of a frame need the axes objects, height, width; found shape {np.shape(masks)}")
    return np.asarray(masks)
