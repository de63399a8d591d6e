"""Runs methods over samples, keeping each finished one, so that a stopped run goes on; scores folders of results."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from undertow import __version__
from undertow.base import Progress, SettingsError, SilentProgress
from undertow.benchmarks.core.datasets import DATASETS, get_dataset
from undertow.benchmarks.core.files import folder_remedy
from undertow.benchmarks.core.manifest import Manifest, Means, Measured
from undertow.benchmarks.core.methods import Method, baselines_of
from undertow.benchmarks.core.outcomes import RESULTS, Outcome, outcome_path, read_outcome
from undertow.benchmarks.core.sample import EvaluationProtocol, Sample, choose_shard, get_protocol
from undertow.benchmarks.core.task import get_task
from undertow.benchmarks.core.units import MeasureUnit, ScoreUnit
from undertow.engines import check_engine, run_units, worker_threads


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
    engine: str = "local",
    workers: int = 1,
    threads: int | None = None,
    shard: tuple[int, int] | None = None,
    root: Path | str | None = None,
    split: str | None = None,
) -> list[Outcome]:
    """Measures every method on every sample and returns the outcomes, method by method.

    An outcome is written as soon as its sample is finished. One that is already in `out` under the same fingerprint
    (settings, weights, protocol, rules, frames, truth, version) is taken from there. A sample that fails does not
    keep the others from being measured. `out/manifest.json` says what was measured, with what and when.

    Args:
        samples: What to measure on, see `open_dataset`.
        methods: What to measure, see `make_methods`.
        out: Folder of the benchmark.
        protocol: A protocol or its name.
        progress: Advanced by every frame, or a few times a second if several processes work.
        rules: How to score; the dataset's usual way if not given.
        keep: Whether to write the predictions too, below `out/results/<method>`; a finished sample whose predictions
            were not kept is measured again.
        overwrite: Whether to measure again what is already there.
        engine: "local", or "ray" for a Ray cluster, see `undertow.engines`.
        workers: How many processes measure at once.
        threads: CPU threads of each; its share of this process's if not given. Outcomes are equal, whatever the
            engine and the number of workers, at equal numbers of threads.
        shard: (number from 1, count), to measure one part of the samples only; the parts share one folder.
        root: The dataset's folder, for the manifest.
        split: The dataset's split, for the manifest.

    Raises:
        SettingsError: if two methods or samples share a name, a method is of another task than a sample, or the
            protocol leaves too few frames to score.
        UndertowError: naming what could not be measured, once everything else is; a `MaskError` if a method does not
            return one label map of native size per frame, and so on.
    """
    out = Path(out)
    protocol = get_protocol(protocol) if isinstance(protocol, str) else protocol
    progress = progress or SilentProgress()
    check_engine(engine, workers)
    _check_names("method", [method.name for method in methods])
    _check_names("sequence", [sample.name for sample in samples])
    _check_tasks(methods, samples)
    rules = choose_rules(samples, rules)
    for sample in samples:
        shown = protocol.frames(len(sample.frames))
        get_task(sample.task).check_shown(sample, rules, shown, protocol.name)
    chosen = samples if shard is None else choose_shard(samples, protocol, shard)
    digests = {sample.name: sample.fingerprint() for sample in chosen}
    units = [
        MeasureUnit(
            method, sample, protocol, rules, unit_fingerprint(method, sample, digests[sample.name], protocol, rules),
            out, keep,
        )
        for method in methods
        for sample in chosen
    ]  # fmt: skip
    measured = Measured(
        dataset=samples[0].dataset, task=samples[0].task, rules=rules, protocol=protocol, methods=methods,
        samples=digests, root=None if root is None else Path(root), split=split,
    )  # fmt: skip
    means = Means(engine=engine, workers=workers, threads=worker_threads(workers, threads), shard=shard)
    progress.start(f"bench {protocol.name}", total=sum(unit.length for unit in units))
    done: dict[int, Outcome] = {}
    for place, unit in enumerate(units):
        unit.clear()
        outcome = None if overwrite else stored_outcome(out, unit.method, unit.sample, unit.fingerprint)
        if outcome is not None and keep and not _kept(unit):
            outcome = None
        if outcome is not None:
            done[place] = outcome
            progress.advance(unit.length, method=unit.method.name, sequence=unit.sample.name, stored=True)
    left = [place for place in range(len(units)) if place not in done]
    with Manifest(out, measured, means, stored=len(done), left=len(left)):
        made = run_units([units[place] for place in left], progress, engine=engine, workers=workers, threads=threads)
    done |= dict(zip(left, made, strict=True))
    return [done[place] for place in range(len(units))]


def score_folder(
    results: Path | str,
    samples: Sequence[Sample],
    *,
    method: str | None = None,
    rules: str | None = None,
    progress: Progress | None = None,
    workers: int = 1,
) -> list[Outcome]:
    """Returns the scores of a folder of results, one outcome per sample; nothing is cached and nothing written.

    Args:
        results: The folder, laid out as the samples' task has it: `<sample>/<frame>.png` for masks (a run's `masks`
            folder does, inside a folder named after its sequence).
        samples: The dataset, see `open_dataset`.
        method: What tables call it; the folder's name if not given.
        rules: How to score; the dataset's usual way if not given.
        progress: Advanced by every prediction, or a few times a second if several processes work.
        workers: How many processes score at once, each a sample at a time.

    Raises:
        SettingsError: if the folder or one of its samples is missing.
        UndertowError: naming the file, if a prediction is missing, unreadable, or of another size or other ids.
    """
    root = Path(results)
    if not root.is_dir():
        what = "is a file" if root.exists() else "does not exist"
        raise SettingsError(f"folder of predictions '{root}' {what}; give the folder that holds the samples' results")
    rules = choose_rules(samples, rules)
    for sample in samples:
        get_task(sample.task).check_results(root, sample)
    if not any(get_task(sample.task).holds(root, sample) for sample in samples):
        # Where a missing file scores 0, another folder altogether would score 0, too.
        raise SettingsError(
            f"'{root}' holds no result of any of the {len(samples)} samples, such as '{samples[0].name}'; "
            + folder_remedy(root, samples[0].name.split("/")[0], get_task(samples[0].task).layout)
        )
    units = [ScoreUnit(root, sample, rules, method or root.resolve().name) for sample in samples]
    progress = progress or SilentProgress()
    progress.start("score", total=sum(unit.length for unit in units))
    return run_units(units, progress, workers=workers, keep_going=False)


def choose_rules(samples: Sequence[Sample], rules: str | None = None) -> str:
    """Returns the way of scoring asked for, or the one that the samples' dataset is usually reported with.

    Raises:
        SettingsError: if the samples' task or dataset is not scored so.
    """
    task, name = get_task(samples[0].task), samples[0].dataset
    usual = get_dataset(name).rules if name in DATASETS else task.rules
    known = task.rules if task.free else usual
    if rules is not None and rules not in known:
        raise SettingsError(
            f"rules '{rules}' is not one of {', '.join(known)}, by which '{samples[0].dataset}' is scored"
        )
    return rules or usual[0]


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


def _kept(unit: MeasureUnit) -> bool:
    """Returns whether the predictions of a finished measurement were kept, too."""
    shown = unit.protocol.frames(len(unit.sample.frames))
    return get_task(unit.sample.task).kept(unit.out / RESULTS / unit.method.name, unit.sample, shown)


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


def _check_tasks(methods: Sequence[Method], samples: Sequence[Sample]) -> None:
    """Raises unless all methods do what all samples ask."""
    tasks = sorted({sample.task for sample in samples})
    if len(tasks) > 1:
        raise SettingsError(f"samples ask for {' and '.join(tasks)}; measure one task at a time")
    for method in methods:
        if method.task not in (tasks[0], get_task(tasks[0]).predictors):
            fit = [name for name, each in baselines_of(tasks[0]).items() if each.task == tasks[0]]
            raise SettingsError(
                f"method '{method.name}' does '{method.task}', but the dataset asks for '{tasks[0]}'; "
                f'give methods of that task (--models "" --baselines {",".join(fit)}) or another dataset'
            )
