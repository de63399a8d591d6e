"""Benchmark worlds: clips of the procedural world, drawn into the folder on first use."""

from collections.abc import Sequence
from pathlib import Path

from undertow.base import Progress
from undertow.benchmarks.datasets.registry import Dataset, register
from undertow.benchmarks.masks.davis import mask_sample
from undertow.benchmarks.samples import MaskSample
from undertow.benchmarks.worlds import render_world
from undertow.world import SUITES


def _suite(name: str) -> Dataset:
    def prepare(root: Path, progress: Progress | None) -> None:
        render_world(name, root, progress)

    def names(root: Path, split: str) -> Sequence[str]:
        return [clip.name for clip in SUITES[name]]

    def open_one(root: Path, split: str, clip: str) -> MaskSample:
        folder = root / name / clip
        return mask_sample(name, clip, folder / "frames", folder / "masks")

    return Dataset(
        name=name,
        task="masks",
        title=f"benchmark clips of the procedural world, '{name}'",
        source="drawn on first use; nothing to fetch",
        tree=f"{name}/<clip>/frames/<frame>.png\n{name}/<clip>/masks/<frame>.png",
        names=names,
        open=open_one,
        rules=("davis-2017",),
        splits=("all",),
        prepare=prepare,
        may_show=True,
    )


WORLDS = tuple(register(_suite(name)) for name in SUITES)
