"""Scores results that are already on disk, whoever made them."""

from collections.abc import Sequence
from pathlib import Path

from undertow.base import Progress, SettingsError, SilentProgress
from undertow.benchmarks.outcomes import Outcome
from undertow.benchmarks.runner import usual_rules
from undertow.benchmarks.samples import Sample
from undertow.benchmarks.tasks import get_task


def score_folder(
    results: Path | str,
    samples: Sequence[Sample],
    *,
    method: str | None = None,
    rules: str | None = None,
    progress: Progress | None = None,
) -> list[Outcome]:
    """Returns the scores of a folder of results, one outcome per sample; nothing is cached and nothing written.

    Args:
        results: the folder, laid out as the samples' task has it: `<sample>/<frame>.png` for masks (a run's `masks`
            folder does, inside a folder named after its sequence).
        samples: the dataset, see `open_dataset`.
        method: what tables call it; the folder's name if not given.
        rules: how to score; the dataset's usual way if not given.
        progress: told of every prediction.

    Raises:
        SettingsError: if the folder or one of its samples is missing.
        UndertowError: naming the file, if a prediction is missing, unreadable, or of another size or other ids.
    """
    root = Path(results)
    if not root.is_dir():
        raise SettingsError(f"folder of predictions '{root}' does not exist; check the path")
    rules = rules or usual_rules(samples)
    asked = [get_task(sample.task).asked(sample, rules) for sample in samples]
    for sample in samples:
        get_task(sample.task).check_results(root, sample)
    progress = progress or SilentProgress()
    progress.start("score", total=sum(map(len, asked)))
    return [score_sample(root, sample, rules, method or root.resolve().name, progress) for sample in samples]


def score_sample(root: Path, sample: Sample, rules: str, method: str, progress: Progress) -> Outcome:
    """Returns the scores of one sample's results.

    Raises:
        UndertowError: naming the file, if a prediction cannot be scored.
    """
    task = get_task(sample.task)
    evaluator = task.evaluator(sample, rules)
    for index in task.asked(sample, rules):
        evaluator.update(index, task.read(root, sample, index, rules))
        progress.advance(1, sequence=sample.name)
    measured = evaluator.result()
    return Outcome(
        method=method,
        dataset=sample.dataset,
        task=sample.task,
        rules=rules,
        protocol="full: every annotated frame, from a folder",
        sequence=sample.name,
        frames=measured.frames,
        series=measured.series,
        totals=measured.totals,
        facts=measured.facts,
    )
