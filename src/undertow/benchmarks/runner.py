"""Runs methods over samples and keeps each finished sample, so that a stopped run goes on."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from undertow import __version__
from undertow.base import Progress, SettingsError, SilentProgress
from undertow.benchmarks.datasets import DATASETS
from undertow.benchmarks.measuring import measure
from undertow.benchmarks.methods import Method, Predictor
from undertow.benchmarks.outcomes import Outcome, outcome_path, read_outcome
from undertow.benchmarks.protocols import EvaluationProtocol, get_protocol
from undertow.benchmarks.samples import Sample
from undertow.benchmarks.tasks import get_task


def run_benchmark(
    samples: Sequence[Sample],
    methods: Sequence[Method],
    out: Path | str,
    protocol: EvaluationProtocol | str = "full",
    progress: Progress | None = None,
    *,
    rules: str | None = None,
    keep: bool = False,
    overwrite: bool = False,
) -> list[Outcome]:
    """Measures every method on every sample and returns the outcomes, method by method.

    An outcome is written as soon as its sample is finished. One that is already in `out` under the same fingerprint
    (settings, weights, protocol, rules, frames, truth, version) is taken from there.

    Args:
        samples: what to measure on, see `open_dataset`.
        methods: what to measure, see `make_methods`.
        out: folder of the benchmark.
        protocol: a protocol or its name.
        progress: told of every frame.
        rules: how to score; the dataset's usual way if not given.
        keep: whether to write the predictions too, below `out/results/<method>`.
        overwrite: whether to measure again what is already there.

    Raises:
        SettingsError: if two methods or samples share a name, or the protocol leaves too few frames to score.
        MaskError: if a method does not return one label map of native size per frame.
    """
    out = Path(out)
    protocol = get_protocol(protocol) if isinstance(protocol, str) else protocol
    progress = progress or SilentProgress()
    _check_names("method", [method.name for method in methods])
    _check_names("sequence", [sample.name for sample in samples])
    rules = rules or usual_rules(samples)
    shown = [protocol.frames(len(sample.frames)) for sample in samples]
    for sample, frames in zip(samples, shown, strict=True):
        get_task(sample.task).check_shown(sample, rules, frames, protocol.name)
    digests = [sample.fingerprint() for sample in samples]
    progress.start(f"bench {protocol.name}", total=len(methods) * sum(map(len, shown)))
    outcomes = []
    for method in methods:
        predictor: Predictor | None = None
        for sample, frames, digest in zip(samples, shown, digests, strict=True):
            fingerprint = unit_fingerprint(method, sample, digest, protocol, rules)
            outcome = None if overwrite else stored_outcome(out, method, sample, fingerprint)
            if outcome is None:
                predictor = predictor or method.make_predictor(protocol)
                outcome = measure(
                    method.name, predictor, sample, protocol, rules, progress,
                    fingerprint=fingerprint, keep=out if keep else None,
                )  # fmt: skip
                outcome.write(out)
            else:
                progress.advance(len(frames), method=method.name, sequence=sample.name, stored=True)
            outcomes.append(outcome)
    return outcomes


def usual_rules(samples: Sequence[Sample]) -> str:
    """Returns the way of scoring that the samples' dataset is usually reported with."""
    return DATASETS[samples[0].dataset].rules[0]


def stored_outcome(out: Path, method: Method, sample: Sample, fingerprint: str) -> Outcome | None:
    """Returns the outcome in `out` if it is of exactly this measurement; a stale or broken one is measured again."""
    path = outcome_path(out, method.name, sample.name)
    if not path.is_file():
        return None
    try:
        outcome = read_outcome(path)
    except SettingsError:
        return None
    return outcome if outcome.fingerprint == fingerprint else None


def unit_fingerprint(method: Method, sample: Sample, digest: str, protocol: EvaluationProtocol, rules: str) -> str:
    """Returns a digest of everything that decides an outcome; wall-clock time is the one thing it cannot cover."""
    facts = {
        "version": __version__,
        "method": [method.name, dict(method.settings)],
        "protocol": asdict(protocol),
        "rules": rules,
        "sample": [sample.dataset, sample.name, digest],
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()


def _check_names(what: str, names: list[str]) -> None:
    """Raises unless there are names and each occurs once."""
    if not names:
        raise SettingsError(f"there is no {what} to measure; name at least one")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise SettingsError(f"{what} '{twice[0]}' is given twice; name each once")
