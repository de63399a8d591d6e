"""Datasets as they lie on disk: one small file for each layout, and the list of them all."""

from undertow.benchmarks.datasets import folders
from undertow.benchmarks.datasets.registry import (
    DATASETS,
    Dataset,
    check_dataset,
    dataset_of,
    get_dataset,
    open_dataset,
    register,
    select_samples,
)
from undertow.benchmarks.masks import burst, davis, davis_unsupervised, long_videos, worlds, youtube_vos
from undertow.benchmarks.parse import camvid, cityscapes, mask_classes, vspw, vspw_stuff, world_classes
from undertow.benchmarks.points import badja, tapvid, world_points
from undertow.benchmarks.refer import davis_expressions, mevis, ref_davis, ref_vps, ref_youtube_vos, refcoco

__all__ = [
    "DATASETS",
    "Dataset",
    "badja",
    "burst",
    "camvid",
    "check_dataset",
    "cityscapes",
    "dataset_of",
    "davis",
    "davis_expressions",
    "davis_unsupervised",
    "folders",
    "get_dataset",
    "long_videos",
    "mask_classes",
    "mevis",
    "open_dataset",
    "ref_davis",
    "ref_vps",
    "ref_youtube_vos",
    "refcoco",
    "register",
    "select_samples",
    "tapvid",
    "vspw",
    "vspw_stuff",
    "world_classes",
    "world_points",
    "worlds",
    "youtube_vos",
]
