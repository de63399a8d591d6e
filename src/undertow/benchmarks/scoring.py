"""Scores label maps that are already on disk, whoever made them."""

from collections.abc import Sequence as SequenceOf
from pathlib import Path

from undertow.base import MaskError, Progress, SettingsError, SilentProgress
from undertow.benchmarks.datasets import Sequence
from undertow.benchmarks.outcomes import Outcome
from undertow.masks import LabelMap, object_ids
from undertow.metrics import SequenceEvaluator


def score_folder(
    predictions: Path | str,
    sequences: SequenceOf[Sequence],
    *,
    method: str | None = None,
    progress: Progress | None = None,
) -> list[Outcome]:
    """Returns the scores of a folder of predictions laid out as `<sequence>/<frame>.png`, one per sequence.

    Every annotated frame but the first and the last must be there. Nothing is cached and nothing is written.

    Args:
        predictions: the folder; a run's `masks` folder does, inside a folder named after its sequence.
        sequences: the dataset, see `open_dataset`.
        method: what tables call it; the folder's name if not given.
        progress: told of every frame.

    Raises:
        SettingsError: if the folder or one of its sequences is missing.
        MaskError: if a frame is missing, or a file has another size or object ids that the sequence has not.
    """
    root = Path(predictions)
    if not root.is_dir():
        raise SettingsError(f"folder of predictions '{root}' does not exist; check the path")
    for sequence in sequences:
        if not (root / sequence.name).is_dir():
            raise SettingsError(
                f"predictions for sequence '{sequence.name}' are missing: '{root / sequence.name}' is no folder; "
                "give a folder of <sequence>/<frame>.png"
            )
    progress = progress or SilentProgress()
    progress.start("score", total=sum(len(sequence.masks) for sequence in sequences))
    outcomes = []
    for sequence in sequences:
        evaluator = SequenceEvaluator(sequence.ids)
        annotated = [index for index, name in enumerate(sequence.frames) if name in sequence.masks]
        for index in annotated:
            true = sequence.load_mask(index)
            # The ends are not scored, so they need not be there: the truth stands in for them.
            ends = index in (annotated[0], annotated[-1])
            evaluator.update(true if ends else _prediction(root, sequence, index), true)
            progress.advance(1, sequence=sequence.name)
        outcomes.append(
            Outcome(
                method=method or root.resolve().name,
                dataset=sequence.dataset,
                protocol="full: every annotated frame, from a folder",
                sequence=sequence.name,
                frames=tuple(sequence.frames[index] for index in annotated[1:-1]),
                objects=evaluator.result(),
                seconds=(),
                fingerprint="",
            )
        )
    return outcomes


def _prediction(root: Path, sequence: Sequence, index: int) -> LabelMap:
    """Returns one predicted label map, checked against the sequence's objects."""
    path = root / sequence.name / f"{sequence.frames[index]}.png"
    if not path.is_file():
        raise MaskError(f"the prediction for frame '{path.stem}' of '{sequence.name}' is missing: '{path}'")
    labels = sequence.read(path)
    stray = sorted(set(object_ids(labels)) - set(sequence.ids))
    if stray:
        raise MaskError(f"'{path}' has object {stray[0]}, but '{sequence.name}' has objects 1 to {max(sequence.ids)}")
    return labels
