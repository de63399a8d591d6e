"""Datasets as they lie on disk: one small file for each layout, and the list of them all."""

from undertow.benchmarks.datasets import davis, worlds
from undertow.benchmarks.datasets.registry import (
    DATASETS,
    Dataset,
    check_dataset,
    get_dataset,
    open_dataset,
    register,
    select_samples,
)

__all__ = [
    "DATASETS",
    "Dataset",
    "check_dataset",
    "davis",
    "get_dataset",
    "open_dataset",
    "register",
    "select_samples",
    "worlds",
]
