"""Folders of videos with masks on some frames: your own, PUMaVOS, the long videos of AFB-URR and CLVOS23, and worlds.

Benchmark worlds are clips of the procedural world, whose objects are followed from their first masks.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from undertow.base import SettingsError
from undertow.benchmarks.core.datasets import Dataset
from undertow.benchmarks.core.files import pair, read_list
from undertow.benchmarks.core.worlds import world_dataset
from undertow.benchmarks.masks.davis import mask_sample
from undertow.benchmarks.masks.sample import MaskSample
from undertow.masks import object_ids
from undertow.world import SUITES, WorldClip


def late_sample(dataset: str, name: str, frames: Path, masks: Path) -> MaskSample:
    """Returns a sequence whose objects are those of all its annotations, each starting where it first has a mask.

    All annotations are read, since nothing else says when an object joins.

    Raises:
        UndertowError: naming what is missing or cannot be read.
    """
    pairs = pair(name, frames, masks)
    sample = MaskSample(
        dataset=dataset, name=name, video=frames, frames=pairs.frames, masks=pairs.files, ids=(), size=pairs.size
    )
    starts: dict[int, int] = {}
    for index in sample.annotated:
        for number in object_ids(sample.load_mask(index)):
            starts.setdefault(number, index)
    if not starts:
        raise SettingsError(f"sequence '{name}' has no object in any annotation in '{masks}'; paint what is tracked")
    return replace(sample, ids=tuple(sorted(starts)), starts=starts)


def _trees(root: Path) -> tuple[Path, Path] | None:
    """Returns the folders that hold a folder of frames and one of annotations per video, `None` if there are none.

    These are `JPEGImages` and `Annotations`, with or without a folder `480p` inside, as DAVIS has it.
    """
    folders = root / "JPEGImages", root / "Annotations"
    if not all(folder.is_dir() for folder in folders):
        return None
    images, masks = (folder / "480p" if (folder / "480p").is_dir() else folder for folder in folders)
    return images, masks


def _subfolders(folder: Path) -> list[str]:
    """Returns the names of the folders in a folder, in order, hidden ones left out."""
    return sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _locate(root: Path, prefix: str) -> dict[str, tuple[Path, Path]]:
    """Returns the folders of frames and of masks of each video, by name; half a video is reported later, by name."""
    if (trees := _trees(root)) is not None:
        images, masks = trees
        return {name: (images / name, masks / name) for name in _subfolders(masks)}
    kinds = ("frames", "masks")
    return {
        name.removeprefix(prefix): (root / name / "frames", root / name / "masks")
        for name in _subfolders(root)
        if name.startswith(prefix) and any((root / name / kind).is_dir() for kind in kinds)
    }


def _folders(name: str, prefix: str, title: str, source: str, counts: tuple[tuple[str, int], ...] = ()) -> Dataset:
    """Returns a dataset that lies in folders whose names begin with `prefix`; objects join when they appear."""

    def names(root: Path, split: str) -> Sequence[str]:
        found = list(_locate(root, prefix))
        if not found:
            raise SettingsError(
                f"'{root}' has neither JPEGImages and Annotations nor folders {prefix}<video> with frames and masks "
                "inside; check --root"
            )
        return found

    return Dataset(
        name=name,
        task="masks",
        title=title,
        source=source,
        tree=f"{prefix}<video>/frames/<frame>.jpg\n{prefix}<video>/masks/<frame>.png\n"
        "or JPEGImages/<video>/<frame>.jpg and Annotations/<video>/<frame>.png",
        names=names,
        open=lambda root, split, video: late_sample(name, video, *_locate(root, prefix)[video]),
        rules=("late", "once-seen"),
        splits=("all",),
        counts=counts,
    )


def _long_trees(root: Path) -> tuple[Path, Path]:
    """Returns the folders of frames and annotations; the original Long Videos may lie in `long_video` inside."""
    for folder in (root, root / "long_video", root / "long_video_davis"):
        if (trees := _trees(folder)) is not None:
            return trees
    raise SettingsError(f"'{root}' has no folders JPEGImages and Annotations with a folder per video; check --root")


def _long_names(root: Path, split: str) -> Sequence[str]:
    """Returns the videos: those of the list that the DAVIS-shaped copy has, else all that have annotations."""
    images, masks = _long_trees(root)
    for folder in (images.parent, images.parent.parent):
        listed = folder / "ImageSets" / "2017" / "val.txt"
        if listed.is_file():
            return read_list(listed, root)
    found = _subfolders(masks)
    if not found:
        raise SettingsError(f"'{masks}' has no folder of annotations per video; check --root")
    return found


def _long(name: str, title: str, source: str, count: int) -> Dataset:
    """Returns a dataset of thousands of frames, of which a few at a distance are annotated."""

    def open_one(root: Path, split: str, video: str) -> MaskSample:
        images, masks = _long_trees(root)
        return mask_sample(name, video, images / video, masks / video)

    return Dataset(
        name=name,
        task="masks",
        title=title,
        source=source,
        tree="JPEGImages/<video>/<frame>.jpg\nAnnotations/<video>/<frame>.png\n"
        "or both with 480p/ inside, as DAVIS has it, and ImageSets/2017/val.txt",
        names=_long_names,
        open=open_one,
        rules=("long-videos", "once-seen"),
        splits=("all",),
        counts=(("all", count),),
    )


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


DATASETS = (
    _folders("mask-folders", "", "videos with masks on some frames, objects joining when they appear", "your own"),
    _folders(
        "pumavos",
        "pumavos-",
        "PUMaVOS (Bekuzarov et al., XMem++, ICCV 2023)",
        "https://github.com/mbzuai-metaverse/XMem2; CC BY 4.0",
        (("all", 24),),
    ),
    _long(
        "long-videos",
        "Long Videos (Liang et al., AFB-URR, NeurIPS 2020)",
        "https://github.com/xmlyqing00/AFB-URR; for research",
        3,
    ),
    _long(
        "clvos",
        "CLVOS23 (Nazemi et al., CVPR workshops 2023); no official evaluator, scored as Long Videos",
        "https://github.com/Amir4g/CLVOS23; CC BY-NC-SA 4.0",
        9,
    ),
    *(_suite(suite) for suite in SUITES),
)
