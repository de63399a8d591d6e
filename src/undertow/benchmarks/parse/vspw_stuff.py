"""VSPW's stuff classes as expressions: "the <class>" for every such class that a video has."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from undertow.base import SettingsError
from undertow.benchmarks.datasets.reading import folder_frames, inside, read_json
from undertow.benchmarks.datasets.registry import Dataset, register
from undertow.benchmarks.masks.davis import read_list
from undertow.benchmarks.refer.sample import FileTruth, ReferSample, read_values

NAMES = "label_num_dic_final.json"
#: The 66 of 124 classes that REM's evaluation calls stuff, counted from 0; a file's value is one more. Some of them are
#: things (a toy, a lamp, a book).
STUFF = (
    *(0, 1, 3, 5, 6, 7, 9, *range(11, 20), *range(20, 41), 42, 45, 53, 57, 58, 59, *range(66, 72), 73, 75, 80, 81),
    *(93, 94, 98, 103, 104, 105, 110, 111, 112, 113, 119, 120, 121),
)


def _class_names(root: Path) -> dict[int, str]:
    """Returns class names by number, counted from 0."""
    content = read_json(root / NAMES)
    try:
        names = {int(value) - 1: str(name) for name, value in content.items()}
    except (AttributeError, TypeError, ValueError) as error:
        raise SettingsError(f"'{root / NAMES}' is no list of class names and values ({error})") from error
    for name in names.values():
        inside(root, name, root / NAMES)
    return names


def _masks(root: Path, video: str) -> dict[str, Path]:
    folder = inside(root / "data", video, root) / "mask"
    files = {path.stem: path for path in sorted(folder.glob("*.png"))}
    if not files:
        raise SettingsError(f"video '{video}' has no annotations: '{folder}' holds no PNG; add them")
    return files


@lru_cache(maxsize=2048)
def _present(folder: Path, changed: int, files: tuple[Path, ...], size: tuple[int, int]) -> tuple[int, ...]:
    """Returns the stuff classes of a video; kept, as nothing but all its annotations says so."""
    found: set[int] = set()
    for path in files:
        found.update(np.unique(read_values(path, size)).tolist())
    return tuple(number for number in STUFF if number + 1 in found)


def _names(root: Path, split: str) -> Sequence[str]:
    """Returns `<video>/<class name>`; all annotations of the split are read, which takes a minute or two."""
    classes = _class_names(root)
    unnamed = [number for number in STUFF if number not in classes]
    if unnamed:
        raise SettingsError(f"'{root / NAMES}' has no class of value {unnamed[0] + 1}; fetch it again")
    found = []
    for video in read_list(root / f"{split}.txt", root):
        files = _masks(root, video)
        folder = next(iter(files.values())).parent
        _, size = folder_frames(root / "data" / video / "origin", video)
        present = _present(folder, folder.stat().st_mtime_ns, tuple(files.values()), size)
        found += [f"{video}/{classes[number]}" for number in present]
    return found


def _open(root: Path, split: str, name: str) -> ReferSample:
    video, _, word = name.partition("/")
    number = {own: number for number, own in _class_names(root).items()}[word]
    folder = root / "data" / video / "origin"
    frames, size = folder_frames(folder, video)
    files = _masks(root, video)
    stray = sorted(files.keys() - set(frames))
    if stray:
        raise SettingsError(f"video '{video}' has an annotation '{files[stray[0]]}' but no such frame; add it")
    return ReferSample(
        dataset="vspw-stuff",
        name=name,
        video=folder,
        frames=frames,
        size=size,
        # Underscores as they are, because that is what published numbers were asked with.
        texts=(f"the {word}",),
        # Pixels of no class are none of this class, as in REM's evaluation: they count.
        truth={frame: FileTruth(path, ((number + 1,),)) for frame, path in files.items()},
        category=word,
    )


VSPW_STUFF = register(
    Dataset(
        name="vspw-stuff",
        task="refer",
        title="VSPW, stuff classes as expressions, as REM scores it (Miao et al., CVPR 2021)",
        source="https://github.com/VSPW-dataset/VSPW-dataset-download (VSPW_480p); free for research",
        tree=f"{NAMES}\n<split>.txt\ndata/<video>/origin/<frame>.jpg\ndata/<video>/mask/<frame>.png",
        names=_names,
        open=_open,
        rules=("class-macro",),
        splits=("val",),
    )
)
