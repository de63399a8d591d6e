"""Datasets of other tasks posed as semantic ones: masks of objects, and the shapes of benchmark worlds.

Of a mask dataset, background and the objects of the first mask are the classes. This is how parsing methods are
measured on DAVIS and CLVOS (Wang et al., VidSeg, 2024). Objects differ from video to video, so each is scored by itself
and the scores are averaged. In a benchmark world, each pixel's class is the shape of what it shows.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from undertow.base import SettingsError
from undertow.benchmarks.core.datasets import Dataset, get_dataset
from undertow.benchmarks.core.sample import EvaluationProtocol, Sample, get_protocol
from undertow.benchmarks.core.worlds import STAMP, world_dataset
from undertow.benchmarks.masks.sample import MaskSample
from undertow.benchmarks.parse.sample import LabelCoding, SemanticSample, write_values
from undertow.benchmarks.parse.task import ParseTask
from undertow.video.folder import IMAGE_SUFFIXES, natural_key
from undertow.world import CLASSES, FIRST_BENCHMARK_SEED, SUITES, Picture, WorldClip, semantic_map


def images_of(folder: Path) -> list[Path]:
    """Returns the images in a folder, in natural order; hidden files are passed over.

    Raises:
        SettingsError: if there is no such folder, or no image in it.
    """
    if not folder.is_dir():
        raise SettingsError(f"folder of frames '{folder}' is missing; check --root and --split")
    paths = (path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES and path.name[0] != ".")
    found = sorted(paths, key=natural_key)
    if not found:
        raise SettingsError(f"folder of frames '{folder}' holds no images; add them")
    return found


def by_video(paths: Iterable[Path]) -> dict[str, tuple[Path, ...]]:
    """Returns frames by video, whose name is what stands before the last underscore of theirs."""
    videos: dict[str, list[Path]] = {}
    for path in paths:
        videos.setdefault(path.stem.rpartition("_")[0] or path.stem, []).append(path)
    return {name: tuple(frames) for name, frames in videos.items()}


def semantic_sample(
    dataset: str, name: str, video: Path, labels: Mapping[str, Path], files: Sequence[Path] = (), **facts: Any
) -> SemanticSample:
    """Returns a video with classes, after checking that its frames and labels belong together.

    Args:
        dataset: Name of the dataset.
        name: Name of the sample.
        video: Folder of frames.
        labels: Label file by frame name.
        files: Which frames of the folder are this video's, if not all.
        **facts: Classes, coding and whatever else `SemanticSample` has.

    Raises:
        SettingsError: naming a label without a frame, or an anchor without a label.
        VideoError: if the frames are not of one size.
    """
    if not files and not video.is_dir():
        raise SettingsError(f"'{name}' has no frames: '{video}' is missing; add it")
    blank = SemanticSample(
        dataset=dataset, name=name, video=video, frames=(), size=(0, 0), labels=labels, files=tuple(files), **facts
    )
    with blank.open() as opened:
        frames = tuple(opened.name_of(index) for index in range(len(opened)))
        size = (opened.height, opened.width)
    stray = sorted(labels.keys() - set(frames))
    if stray:
        raise SettingsError(
            f"'{name}' has a label file '{labels[stray[0]]}' but no frame of that name; add it, or remove that"
        )
    sample = replace(blank, frames=frames, size=size)
    if not sample.annotated:
        raise SettingsError(f"'{name}' has no label file for any of its {len(frames)} frames; check --root")
    bare = [index for index in sample.anchors if index not in sample.annotated]
    if bare:
        at = frames[bare[0]] if bare[0] < len(frames) else str(bare[0])
        raise SettingsError(f"'{name}' has no labels for frame '{at}', which is given to methods; add them")
    return sample


def with_anchors(
    samples: Sequence[Sample], anchors: Sequence[int], protocol: EvaluationProtocol | str = "full"
) -> tuple[Sample, ...]:
    """Returns every sample once for each anchor, called "<sample>-from-<frame>".

    An anchor is moved to the nearest frame that has labels and that the protocol shows. Where there is one video, its
    samples are scored apart and averaged, so that the mean is over anchors; videos that are pooled stay so.

    Args:
        samples: Videos with classes.
        anchors: Frame numbers; without any, samples are returned as they are.
        protocol: Which frames are shown.

    Raises:
        SettingsError: if a sample has no classes, an anchor is past its end, or two anchors are moved to one frame.
    """
    if not anchors:
        return tuple(samples)
    protocol = get_protocol(protocol) if isinstance(protocol, str) else protocol
    found: list[Sample] = []
    for sample in samples:
        if not isinstance(sample, SemanticSample):
            raise SettingsError(f"'{sample.name}' is of task '{sample.task}' and has no anchors; leave --anchors out")
        shown = [index for index in protocol.frames(len(sample.frames)) if index in sample.annotated]
        chosen = []
        for anchor in anchors:
            if not 0 <= anchor < len(sample.frames):
                raise SettingsError(
                    f"--anchors has frame {anchor}, but '{sample.name}' has {len(sample.frames)} frames; "
                    "give one of them"
                )
            chosen.append(min(shown, key=lambda index: abs(index - anchor)))
        if len(set(chosen)) < len(chosen):
            raise SettingsError(
                f"--anchors has two frames that are {max(chosen, key=chosen.count)} of those that protocol "
                f"'{protocol.name}' shows of '{sample.name}'; give fewer"
            )
        pooled = sample.pooled and len(samples) > 1
        found += [
            replace(sample, name=f"{sample.name}-from-{index:03d}", anchors=(index,), pooled=pooled) for index in chosen
        ]
    return tuple(found)


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
