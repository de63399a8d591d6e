"""Long Videos and CLVOS23: thousands of frames, of which a few at a distance are annotated."""

from collections.abc import Sequence
from pathlib import Path

from undertow.base import SettingsError
from undertow.benchmarks.datasets.registry import Dataset, register
from undertow.benchmarks.datasets.trees import find_trees, subfolders
from undertow.benchmarks.masks.davis import mask_sample, read_list
from undertow.benchmarks.samples import MaskSample


def _trees(root: Path) -> tuple[Path, Path]:
    """Returns the folders of frames and annotations; the original Long Videos may lie in `long_video` inside."""
    for folder in (root, root / "long_video", root / "long_video_davis"):
        trees = find_trees(folder)
        if trees is not None:
            return trees
    raise SettingsError(f"'{root}' has no folders JPEGImages and Annotations with a folder per video; check --root")


def names(root: Path, split: str) -> Sequence[str]:
    """Returns the videos: those of the list that the DAVIS-shaped copy has, else all that have annotations.

    Raises:
        SettingsError: if there are none.
    """
    images, masks = _trees(root)
    for folder in (images.parent, images.parent.parent):
        listed = folder / "ImageSets" / "2017" / "val.txt"
        if listed.is_file():
            return read_list(listed, root)
    found = subfolders(masks)
    if not found:
        raise SettingsError(f"'{masks}' has no folder of annotations per video; check --root")
    return found


def _dataset(name: str, title: str, source: str, count: int) -> Dataset:
    def open_one(root: Path, split: str, video: str) -> MaskSample:
        images, masks = _trees(root)
        return mask_sample(name, video, images / video, masks / video)

    return Dataset(
        name=name,
        task="masks",
        title=title,
        source=source,
        tree="JPEGImages/<video>/<frame>.jpg\nAnnotations/<video>/<frame>.png\n"
        "or both with 480p/ inside, as DAVIS has it, and ImageSets/2017/val.txt",
        names=names,
        open=open_one,
        rules=("long-videos", "once-seen"),
        splits=("all",),
        counts=(("all", count),),
    )


LONG_VIDEOS = register(
    _dataset(
        "long-videos",
        "Long Videos (Liang et al., AFB-URR, NeurIPS 2020)",
        "https://github.com/xmlyqing00/AFB-URR; for research",
        3,
    )
)
CLVOS23 = register(
    _dataset(
        "clvos",
        "CLVOS23 (Nazemi et al., CVPR workshops 2023); no official evaluator, scored as Long Videos",
        "https://github.com/Amir4g/CLVOS23; CC BY-NC-SA 4.0",
        9,
    )
)
