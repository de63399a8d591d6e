"""Any folder of videos with masks on some frames: your own, PUMaVOS, and what lies like them."""

from collections.abc import Callable, Sequence
from pathlib import Path

from undertow.base import SettingsError
from undertow.benchmarks.datasets.registry import Dataset, register
from undertow.benchmarks.datasets.trees import find_trees, late_sample, subfolders
from undertow.benchmarks.samples import MaskSample

Folders = tuple[Path, Path]


def _locate(root: Path, prefix: str) -> dict[str, Folders]:
    """Returns the folders of frames and of masks of each video, by name."""
    trees = find_trees(root)
    if trees is not None:
        images, masks = trees
        return {name: (images / name, masks / name) for name in subfolders(masks)}
    found = [name for name in subfolders(root) if name.startswith(prefix) and _is_video(root / name)]
    return {name.removeprefix(prefix): (root / name / "frames", root / name / "masks") for name in found}


def _is_video(folder: Path) -> bool:
    """Tells whether a folder claims to be a video; half of one is reported later, by name."""
    return (folder / "frames").is_dir() or (folder / "masks").is_dir()


def _layout(dataset: str, prefix: str) -> tuple[Callable[[Path, str], Sequence[str]], Callable[..., MaskSample]]:
    """Returns the two functions of a dataset that lies in folders whose names begin with `prefix`."""

    def names(root: Path, split: str) -> Sequence[str]:
        found = list(_locate(root, prefix))
        if not found:
            raise SettingsError(
                f"'{root}' has neither JPEGImages and Annotations nor folders {prefix}<video> with frames and masks "
                "inside; check --root"
            )
        return found

    def open_one(root: Path, split: str, name: str) -> MaskSample:
        return late_sample(dataset, name, *_locate(root, prefix)[name])

    return names, open_one


def _dataset(name: str, prefix: str, title: str, source: str, counts: tuple[tuple[str, int], ...] = ()) -> Dataset:
    names, open_one = _layout(name, prefix)
    return Dataset(
        name=name,
        task="masks",
        title=title,
        source=source,
        tree=f"{prefix}<video>/frames/<frame>.jpg\n{prefix}<video>/masks/<frame>.png\n"
        "or JPEGImages/<video>/<frame>.jpg and Annotations/<video>/<frame>.png",
        names=names,
        open=open_one,
        rules=("late", "once-seen"),
        splits=("all",),
        counts=counts,
    )


MASK_FOLDERS = register(
    _dataset("mask-folders", "", "videos with masks on some frames, objects joining when they appear", "your own")
)
PUMAVOS = register(
    _dataset(
        "pumavos",
        "pumavos-",
        "PUMaVOS (Bekuzarov et al., XMem++, ICCV 2023)",
        "https://github.com/mbzuai-metaverse/XMem2; CC BY 4.0",
        (("all", 24),),
    )
)
