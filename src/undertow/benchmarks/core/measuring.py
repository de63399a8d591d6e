"""Runs one method over one sample and scores each prediction before the next one is asked for."""

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from undertow.base import MaskError
from undertow.benchmarks.core.outcomes import RESULTS, Outcome
from undertow.benchmarks.core.sample import EvaluationProtocol, Sample
from undertow.benchmarks.core.task import Measurement, get_task
from undertow.engines import Steps
from undertow.video import Video


def measure(
    method: str,
    predictor: Callable[..., Any],
    sample: Sample,
    protocol: EvaluationProtocol,
    rules: str,
    *,
    fingerprint: str = "",
    keep: Path | None = None,
) -> Steps:
    """Yields facts on every frame of a sample that a method has predicted, and returns the outcome.

    Args:
        method: Its name.
        predictor: What its task asks of a method, see `Method.make_predictor`.
        sample: What it is measured on.
        protocol: Which frames it is shown.
        rules: How it is scored.
        fingerprint: Digest of everything that decides the scores.
        keep: The benchmark's folder, if predictions are to be written below it.

    Raises:
        MaskError: if the method does not return one prediction of the right size per frame.
    """
    task = get_task(sample.task)
    frames = protocol.frames(len(sample.frames))
    evaluator = task.evaluator(sample, rules, frames)
    seconds: list[float] = []
    results = None if keep is None else keep / RESULTS / method
    with sample.open() as video:
        images = _TimedImages(video, frames)
        predictions = task.predict(sample, predictor, images, frames, rules)
        while True:
            start, reading = time.perf_counter(), images.seconds
            index, prediction = next(predictions, (None, None))
            if index is None or prediction is None:
                break
            seconds.append(time.perf_counter() - start - (images.seconds - reading))
            facts = evaluator.update(index, prediction)
            if results is not None:
                task.write(results, sample, index, prediction)
            shown = {name: f"{value:.3f}" for name, value in facts.items()}
            yield {"method": method, "sequence": sample.name, **shown}
    if len(seconds) != len(frames) and not task.whole:
        raise MaskError(
            f"method '{method}' gave no label map for frame '{sample.frames[frames[len(seconds)]]}' of '{sample.name}'"
        )
    if task.whole:
        seconds = [sum(seconds) / len(frames)] * len(frames)
    return _outcome(
        evaluator.result(), sample, method, rules, protocol.describe(), seconds=tuple(seconds), fingerprint=fingerprint
    )


def score(root: Path, sample: Sample, rules: str, method: str) -> Steps:
    """Yields facts on every prediction of a sample in a folder of results, and returns the outcome.

    Raises:
        UndertowError: naming the file, if a prediction cannot be scored.
    """
    task = get_task(sample.task)
    evaluator = task.evaluator(sample, rules)
    for index in task.asked(sample, rules):
        evaluator.update(index, task.read(root, sample, index, rules))
        yield {"sequence": sample.name}
    return _outcome(evaluator.result(), sample, method, rules, "full: every annotated frame, from a folder")


def _outcome(measured: Measurement, sample: Sample, method: str, rules: str, protocol: str, **timing: Any) -> Outcome:
    return Outcome(
        method=method,
        dataset=sample.dataset,
        task=sample.task,
        rules=rules,
        protocol=protocol,
        sequence=sample.name,
        **vars(measured),
        **timing,
    )


class _TimedImages:
    """Iterates over chosen frames of a video and adds up the seconds spent reading them."""

    def __init__(self, video: Video, frames: Sequence[int]) -> None:
        self.seconds = 0.0
        self._video = video
        self._frames = iter(frames)

    def __iter__(self) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
        return self

    def __next__(self) -> UInt8[np.ndarray, "h w 3"]:
        index = next(self._frames)
        start = time.perf_counter()
        image = self._video[index]
        self.seconds += time.perf_counter() - start
        return image
