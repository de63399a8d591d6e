"""Scores results that are already on disk, whoever made them."""

from collections.abc import Sequence
from pathlib import Path

from undertow.base import Progress, SettingsError, SilentProgress
from undertow.benchmarks.engines import ScoreUnit, run_units
from undertow.benchmarks.outcomes import Outcome
from undertow.benchmarks.runner import choose_rules
from undertow.benchmarks.samples import Sample
from undertow.benchmarks.tasks import get_task
from undertow.benchmarks.tasks.results import folder_remedy


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
        results: the folder, laid out as the samples' task has it: `<sample>/<frame>.png` for masks (a run's `masks`
            folder does, inside a folder named after its sequence).
        samples: the dataset, see `open_dataset`.
        method: what tables call it; the folder's name if not given.
        rules: how to score; the dataset's usual way if not given.
        progress: told of every prediction, or a few times a second if several processes work.
        workers: how many processes score at once, each a sample at a time.

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
