"""Mask datasets posed as semantic ones: background and the objects of the first mask are the classes.

This is how parsing methods are measured on DAVIS and CLVOS (Wang et al., VidSeg, 2024). Objects differ from video to
video, so each is scored by itself and the scores are averaged.
"""

from dataclasses import replace
from pathlib import Path

from undertow.base import SettingsError
from undertow.benchmarks.datasets.registry import Dataset, register
from undertow.benchmarks.masks.davis import DAVIS_2016, DAVIS_2017, DAVIS_FOLDERS
from undertow.benchmarks.masks.long_videos import CLVOS23
from undertow.benchmarks.parse.labelled import semantic_sample
from undertow.benchmarks.parse.sample import LabelCoding, SemanticSample
from undertow.benchmarks.parse.task import ParseTask
from undertow.benchmarks.samples import MaskSample, Sample

# DAVIS 2016 is black and white, some of it stored as colour; 128 is for predictions that say neither.
MERGED = LabelCoding(values=(0, 255), void=(128,), colours=((0, 0, 0), (255, 255, 255)))


def as_classes(dataset: str, sample: Sample) -> SemanticSample:
    """Returns a mask sample whose ids are classes; results have the ids, 255 for what is none of them.

    Raises:
        SettingsError: if it is no sample of masks.
    """
    if not isinstance(sample, MaskSample):
        raise SettingsError(f"'{sample.name}' has no masks whose ids could be classes")
    coding = MERGED if sample.merged else LabelCoding(values=(0, *sample.ids), void=(255,))
    names = ("background", *(f"object {number}" for number in sample.ids))
    return semantic_sample(dataset, sample.name, sample.video, sample.masks, classes=names, coding=coding, pooled=False)


def posed(dataset: Dataset) -> Dataset:
    """Returns a mask dataset as a semantic one, called `<name>-parse`."""
    name = f"{dataset.name}-parse"

    def open_one(root: Path, split: str, sample: str) -> SemanticSample:
        return as_classes(name, dataset.open(root, split, sample))

    title = f"{dataset.title}; background and the objects of the first frame as classes"
    return replace(dataset, name=name, task="parse", title=title, open=open_one, rules=ParseTask.rules)


MASK_CLASSES = tuple(register(posed(dataset)) for dataset in (DAVIS_2016, DAVIS_2017, DAVIS_FOLDERS, CLVOS23))
