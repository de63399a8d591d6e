"""Datasets of other tasks posed as semantic ones: masks of objects, and the shapes of benchmark worlds.

Of a mask dataset, background and the objects of the first mask are the classes. This is how parsing methods are
measured on DAVIS and CLVOS (Wang et al., VidSeg, 2024). Objects differ from video to video, so each is scored by itself
and the scores are averaged. In a benchmark world, each pixel's class is the shape of what it shows.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np

from undertow.base import SettingsError
from undertow.benchmarks.core.datasets import Dataset, get_dataset
from undertow.benchmarks.core.sample import Sample
from undertow.benchmarks.core.worlds import STAMP, world_dataset
from undertow.benchmarks.masks.sample import MaskSample
from undertow.benchmarks.parse.making import semantic_sample
from undertow.benchmarks.parse.sample import LabelCoding, SemanticSample, write_values
from undertow.benchmarks.parse.task import ParseTask
from undertow.world import CLASSES, FIRST_BENCHMARK_SEED, SUITES, Picture, WorldClip, semantic_map

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


# Truth has a class everywhere; a prediction may leave it open.
CODING = LabelCoding(values=tuple(range(len(CLASSES))), void=(255,))
FOLDER = "classes"
# Of the family "entrances", clips in which a class that the first frame does not have comes into view for long.
LATE = tuple(
    WorldClip(f"late-{place:02d}", "entrances", FIRST_BENCHMARK_SEED + 2000 + offset)
    for place, offset in enumerate((0, 6, 7, 8, 9, 10, 11, 13, 14, 15, 19, 22))
)


def draw_classes(clip: WorldClip, folder: Path) -> None:
    """Writes the class maps of a clip that are missing or older than its pictures into `folder/classes`."""
    drawn = (folder / STAMP).stat().st_mtime_ns
    scene = None
    for time in range(clip.frames):
        path = folder / FOLDER / f"{time:05d}.png"
        if not path.is_file() or path.stat().st_mtime_ns < drawn:
            scene = scene or clip.scene()
            surfaces = scene.surfaces(float(time))
            # Only surfaces are looked at, and painting takes several times longer.
            picture = Picture(np.zeros((*surfaces.shape, 3), np.uint8), surfaces, surfaces)
            write_values(path, semantic_map(scene, picture))


def _suite(suite: str, late: tuple[WorldClip, ...] = ()) -> Dataset:
    name = f"{suite}-classes"

    def open_clip(clip: WorldClip, folder: Path) -> SemanticSample:
        labels = {path.stem: path for path in sorted((folder / FOLDER).glob("*.png"))}
        return semantic_sample(name, clip.name, folder / "frames", labels, classes=CLASSES, coding=CODING)

    return world_dataset(
        name,
        suite,
        open_clip,
        task="parse",
        title=f"benchmark clips of the procedural world, '{suite}', with the shape of things as their class"
        + ("; classes enter that frame 0 does not have" if late else ""),
        truth=f"{FOLDER}/<frame>.png",
        rules=ParseTask.rules,
        draw=draw_classes,
        clips=late,
    )


DATASETS = (
    *(posed(get_dataset(name)) for name in ("davis-2016", "davis-2017", "davis-folders", "clvos")),
    *(_suite(suite) for suite in SUITES),
    _suite("world-late", LATE),
)
