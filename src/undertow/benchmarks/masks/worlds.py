"""Benchmark worlds: clips of the procedural world, whose objects are followed from their first masks."""

from pathlib import Path

from undertow.benchmarks.core.datasets import Dataset
from undertow.benchmarks.core.worlds import world_dataset
from undertow.benchmarks.masks.davis import mask_sample
from undertow.benchmarks.masks.sample import MaskSample
from undertow.world import SUITES, WorldClip


def _suite(suite: str) -> Dataset:
    def open_clip(clip: WorldClip, folder: Path) -> MaskSample:
        return mask_sample(suite, clip.name, folder / "frames", folder / "masks")

    return world_dataset(
        suite,
        suite,
        open_clip,
        task="masks",
        title=f"benchmark clips of the procedural world, '{suite}'",
        truth="masks/<frame>.png",
        rules=("davis-2017",),
    )


DATASETS = tuple(_suite(suite) for suite in SUITES)
