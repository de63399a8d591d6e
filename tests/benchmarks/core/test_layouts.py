"""Every layout opens, checks clean, scores its own truth as 1 and damaged results as less."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from undertow.benchmarks.core.datasets import check_dataset, open_dataset
from undertow.benchmarks.core.methods import baseline_method
from undertow.benchmarks.core.runner import choose_rules, run_benchmark, score_folder
from undertow.benchmarks.core.sample import Sample
from undertow.benchmarks.core.task import get_task
from undertow.benchmarks.masks.sample import MaskSample
from undertow.benchmarks.parse.sample import SemanticSample

Layout = Callable[[str], tuple[str, Path, str | None]]


def truth(sample: Sample, index: int) -> np.ndarray:
    """What a perfect method would answer: void is nobody's."""
    if isinstance(sample, SemanticSample):
        return sample.load_labels(index)
    assert isinstance(sample, MaskSample)
    labels = sample.load_mask(index)
    return np.where(labels == 65535, 0, labels).astype(np.uint16)


def write_truth(samples: Sequence[Sample], results: Path) -> None:
    for sample in samples:
        task = get_task(sample.task)
        for index in task.asked(sample, choose_rules(samples)):
            task.write(results, sample, index, truth(sample, index))


def summary(results: Path, samples: Sequence[Sample]) -> dict[str, float]:
    return get_task(samples[0].task).summarise(score_folder(results, samples))


def test_a_layout_is_whole(layout: Layout, each_layout: str) -> None:
    dataset, root, split = layout(each_layout)
    samples = open_dataset(dataset, root, split)
    assert samples and {sample.size for sample in samples} == {(24, 32)}
    findings = [each for each in check_dataset(dataset, root, split) if "the published one has" not in each.problem]
    # Void is part of some truth.
    assert [each.problem for each in findings if not each.problem.startswith("some pixels are void")] == []
    for sample in samples:
        assert sample.fingerprint() == sample.fingerprint()


def test_truth_scores_one(layout: Layout, each_layout: str, tmp_path: Path) -> None:
    dataset, root, split = layout(each_layout)
    samples = open_dataset(dataset, root, split)
    write_truth(samples, tmp_path / "results")
    figures = summary(tmp_path / "results", samples)
    if samples[0].task == "masks":
        assert (figures["J&F"], figures["J"], figures["F"], figures["J decay"]) == (1, 1, 1, 0)
        return
    assert (figures["mIoU"], figures["pixel accuracy"]) == (1, 1)
    # Windows of 8 frames need more than that.
    windows = [figures[name] for name in ("mVC8", "mVC8 strict") if len(samples[0].annotated) > 9]
    assert windows == [1.0] * len(windows)


def test_damage_costs(layout: Layout, each_layout: str, tmp_path: Path) -> None:
    dataset, root, split = layout(each_layout)
    samples = open_dataset(dataset, root, split)
    write_truth(samples, tmp_path / "results")
    task = get_task(samples[0].task)
    sample = samples[0]
    index = task.asked(sample, choose_rules(samples))[0]
    damaged = truth(sample, index).copy()
    # From the sixth row on every label is the one next to it, so that something is wrong whatever was there.
    damaged[6:] = np.roll(damaged[6:], 5, axis=1)
    task.write(tmp_path / "results", sample, index, damaged)
    figures = summary(tmp_path / "results", samples)
    assert figures[task.measures[0]] < 1


@pytest.mark.parametrize("name", ["long-videos", "pumavos", "camvid-folder", "davis-folders-parse"])
def test_copying_runs_and_scores_between_nothing_and_one(layout: Layout, name: str, tmp_path: Path) -> None:
    dataset, root, split = layout(name)
    samples = open_dataset(dataset, root, split)
    task = get_task(samples[0].task)
    copy = replace(baseline_method("copy"), task=task.name)
    outcomes = run_benchmark(samples, [copy], tmp_path / "out", keep=True)
    figure = task.summarise(outcomes)[task.measures[0]]
    assert 0 < figure < 1
    # What was kept scores as it did when it was made.
    again = task.summarise(score_folder(tmp_path / "out/results/copy", samples))
    assert again[task.measures[0]] == pytest.approx(figure)
