"""Runs methods over sequences, frame by frame, and keeps each finished sequence so that a stopped run goes on."""

import hashlib
import json
import time
from collections.abc import Iterator
from collections.abc import Sequence as SequenceOf
from dataclasses import asdict
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from undertow import __version__
from undertow.base import MaskError, Progress, SettingsError, SilentProgress
from undertow.benchmarks.datasets import Sequence
from undertow.benchmarks.methods import Method, Predictor
from undertow.benchmarks.outcomes import Outcome, outcome_path, read_outcome
from undertow.benchmarks.protocols import EvaluationProtocol, get_protocol
from undertow.metrics import SequenceEvaluator
from undertow.video import Video


def run_benchmark(
    sequences: SequenceOf[Sequence],
    methods: SequenceOf[Method],
    out: Path | str,
    protocol: EvaluationProtocol | str = "full",
    progress: Progress | None = None,
    *,
    overwrite: bool = False,
) -> list[Outcome]:
    """Measures every method on every sequence and returns the outcomes, method by method.

    An outcome is written as soon as its sequence is finished. One that is already in `out` under the same
    fingerprint (settings, weights, protocol, frames, annotations, version) is taken from there.

    Args:
        sequences: what to measure on, see `open_dataset`.
        methods: what to measure, see `make_methods`.
        out: folder of the benchmark.
        protocol: a protocol or its name.
        progress: told of every frame.
        overwrite: whether to measure again what is already there.

    Raises:
        SettingsError: if two methods or sequences share a name, or the protocol leaves too few annotated frames.
        MaskError: if a method does not return one label map of native size per frame.
    """
    out = Path(out)
    protocol = get_protocol(protocol) if isinstance(protocol, str) else protocol
    progress = progress or SilentProgress()
    _check_names("method", [method.name for method in methods])
    _check_names("sequence", [sequence.name for sequence in sequences])
    shown = [protocol.frames(len(sequence.frames)) for sequence in sequences]
    for sequence, frames in zip(sequences, shown, strict=True):
        _check_frames(sequence, frames, protocol)
    digests = [sequence.fingerprint() for sequence in sequences]
    progress.start(f"bench {protocol.name}", total=len(methods) * sum(map(len, shown)))
    outcomes = []
    for method in methods:
        predictor: Predictor | None = None
        for sequence, frames, digest in zip(sequences, shown, digests, strict=True):
            fingerprint = _fingerprint(method, sequence, digest, protocol)
            outcome = None if overwrite else _stored(out, method, sequence, fingerprint)
            if outcome is None:
                predictor = predictor or method.make_predictor(protocol)
                outcome = _measure(method, predictor, sequence, frames, protocol, fingerprint, progress)
                outcome.write(out)
            else:
                progress.advance(len(frames), method=method.name, sequence=sequence.name, stored=True)
            outcomes.append(outcome)
    return outcomes


def _measure(
    method: Method,
    predictor: Predictor,
    sequence: Sequence,
    frames: range,
    protocol: EvaluationProtocol,
    fingerprint: str,
    progress: Progress,
) -> Outcome:
    """Runs a method over one sequence, scoring each label map before the next one is asked for."""
    evaluator = SequenceEvaluator(sequence.ids)
    seconds: list[float] = []
    scored: list[str] = []
    with Video(sequence.video) as video:
        images = _TimedImages(video, frames)
        predictions = predictor(images, sequence.load_mask(0))
        for index in frames:
            start, reading = time.perf_counter(), images.seconds
            labels = next(predictions, None)
            seconds.append(time.perf_counter() - start - (images.seconds - reading))
            if labels is None or labels.shape != sequence.size:
                found = "no label map" if labels is None else f"a label map of shape {labels.shape}"
                raise MaskError(
                    f"method '{method.name}' gave {found} for frame '{sequence.frames[index]}' of '{sequence.name}', "
                    f"whose shape is {sequence.size}"
                )
            facts = {"method": method.name, "sequence": sequence.name}
            if sequence.frames[index] in sequence.masks:
                scores = evaluator.update(labels, sequence.load_mask(index))
                scored.append(sequence.frames[index])
                facts["J&F"] = f"{np.mean(list(scores.values())):.3f}"
            progress.advance(1, **facts)
    return Outcome(
        method=method.name,
        dataset=sequence.dataset,
        protocol=protocol.describe(),
        sequence=sequence.name,
        frames=tuple(scored[1:-1]),
        objects=evaluator.result(),
        seconds=tuple(seconds),
        fingerprint=fingerprint,
    )


class _TimedImages:
    """Iterates over chosen frames of a video and adds up the seconds spent reading them."""

    def __init__(self, video: Video, frames: range) -> None:
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


def _stored(out: Path, method: Method, sequence: Sequence, fingerprint: str) -> Outcome | None:
    """Returns the outcome in `out` if it is of exactly this measurement; a stale or broken one is measured again."""
    path = outcome_path(out, method.name, sequence.name)
    if not path.is_file():
        return None
    try:
        outcome = read_outcome(path)
    except SettingsError:
        return None
    return outcome if outcome.fingerprint == fingerprint else None


def _fingerprint(method: Method, sequence: Sequence, digest: str, protocol: EvaluationProtocol) -> str:
    """Returns a digest of everything that decides an outcome; wall-clock time is the one thing it cannot cover."""
    facts = {
        "version": __version__,
        "method": [method.name, dict(method.settings)],
        "protocol": asdict(protocol),
        "sequence": [sequence.dataset, sequence.name, sequence.ids, sequence.merged, digest],
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()


def _check_names(what: str, names: list[str]) -> None:
    """Raises unless there are names and each occurs once."""
    if not names:
        raise SettingsError(f"there is no {what} to measure; name at least one")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise SettingsError(f"{what} '{twice[0]}' is given twice; name each once")


def _check_frames(sequence: Sequence, frames: range, protocol: EvaluationProtocol) -> None:
    """Raises unless the shown frames can be scored."""
    annotated = sum(sequence.frames[index] in sequence.masks for index in frames)
    if annotated < 3:
        raise SettingsError(
            f"protocol '{protocol.name}' shows {annotated} annotated frames of '{sequence.name}'; scoring needs 3, "
            "as the first and the last do not count"
        )
