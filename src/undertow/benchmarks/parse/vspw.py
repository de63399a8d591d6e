"""VSPW: 124 classes on every frame of everyday videos, and its stuff classes as expressions, "the <class>"."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from undertow.base import SettingsError, inside, whole
from undertow.benchmarks.core.datasets import Dataset
from undertow.benchmarks.core.files import annotations, folder_frames, pair, read_json, read_list
from undertow.benchmarks.parse.posed import semantic_sample
from undertow.benchmarks.parse.sample import LabelCoding, SemanticSample
from undertow.benchmarks.parse.task import ParseTask
from undertow.benchmarks.refer.sample import FileTruth, ReferSample, read_values

# In the order of `label_num_dic_final.json`, where they are 1 to 124.
_CLASSES = """
    wall ceiling door stair ladder escalator Playground_slide handrail_or_fence window rail goal pillar pole floor
    ground grass sand athletic_field road path crosswalk building house bridge tower windmill well_or_well_lid
    other_construction sky mountain stone wood ice snowfield grandstand sea river lake waterfall water
    billboard_or_Bulletin_Board sculpture pipeline flag parasol_or_umbrella cushion_or_carpet tent roadblock car bus
    truck bicycle motorcycle wheeled_machine ship_or_boat raft airplane tyre traffic_light lamp person cat dog horse
    cattle other_animal tree flower other_plant toy ball_net backboard skateboard bat ball
    cupboard_or_showcase_or_storage_rack box traveling_case_or_trolley_case basket bag_or_package trash_can cage plate
    tub_or_bowl_or_pot bottle_or_cup barrel fishbowl bed pillow table_or_desk chair_or_seat bench sofa shelf bathtub gun
    commode roaster other_machine refrigerator washing_machine Microwave_oven fan curtain textiles clothes
    painting_or_poster mirror flower_pot_or_vase clock book tool blackboard tissue screen_or_television computer printer
    Mobile_phone keyboard other_electronic_product fruit food instrument train
"""
CLASSES = tuple(_CLASSES.split())
# As the official script remaps: class v becomes v - 1; 0 ("others") and 255 are not scored.
CODING = LabelCoding(values=tuple(range(1, 125)), void=(0, 255))
NAMES = "label_num_dic_final.json"
#: The 66 of 124 classes that REM's evaluation calls stuff, counted from 0; a file's value is one more. Some of them are
#: things (a toy, a lamp, a book).
STUFF = (
    *(0, 1, 3, 5, 6, 7, 9, *range(11, 20), *range(20, 41), 42, 45, 53, 57, 58, 59, *range(66, 72), 73, 75, 80, 81),
    *(93, 94, 98, 103, 104, 105, 110, 111, 112, 113, 119, 120, 121),
)


def _names(root: Path, split: str) -> Sequence[str]:
    if not (root / "data").is_dir():
        raise SettingsError(f"'{root}' is no VSPW tree: '{root / 'data'}' is missing; give the folder VSPW_480p")
    return read_list(root / f"{split}.txt", root)


def _open(root: Path, split: str, name: str) -> SemanticSample:
    folder = root / "data" / name
    if not (folder / "mask").is_dir():
        raise SettingsError(f"'{name}' has no labels: '{folder / 'mask'}' is missing; add it, or choose another split")
    labels = {path.stem: path for path in sorted((folder / "mask").glob("*.png"))}
    return semantic_sample("vspw", name, folder / "origin", labels, classes=CLASSES, coding=CODING)


def _class_names(root: Path) -> dict[int, str]:
    """Returns class names by number, counted from 0."""
    path = root / NAMES
    content = read_json(path)
    if not isinstance(content, dict):
        raise SettingsError(f"'{path}' is no object of class names and values; fetch it again")
    for name in content:
        inside(root, name, source=path, single=True)
    return {whole(value, f"a value of '{name}',", most=255, source=path) - 1: name for name, value in content.items()}


@lru_cache(maxsize=2048)
def _present(folder: Path, changed: int, files: tuple[Path, ...], size: tuple[int, int]) -> tuple[int, ...]:
    """Returns the stuff classes of a video; kept, as nothing but all its annotations says so."""
    found: set[int] = set()
    for path in files:
        found.update(np.unique(read_values(path, size)).tolist())
    return tuple(number for number in STUFF if number + 1 in found)


def _stuff_names(root: Path, split: str) -> Sequence[str]:
    """Returns `<video>/<class name>`; all annotations of the split are read, which takes a minute or two."""
    classes = _class_names(root)
    unnamed = [number for number in STUFF if number not in classes]
    if unnamed:
        raise SettingsError(f"'{root / NAMES}' has no class of value {unnamed[0] + 1}; fetch it again")
    found = []
    for video in read_list(root / f"{split}.txt", root):
        files = annotations(root / "data" / video / "mask", video)
        folder = next(iter(files.values())).parent
        _, size = folder_frames(root / "data" / video / "origin", video)
        present = _present(folder, folder.stat().st_mtime_ns, tuple(files.values()), size)
        found += [f"{video}/{classes[number]}" for number in present]
    return found


def _open_stuff(root: Path, split: str, name: str) -> ReferSample:
    video, _, word = name.partition("/")
    number = {own: number for number, own in _class_names(root).items()}[word]
    folder = root / "data" / video / "origin"
    frames, size, files = pair(video, folder, folder.parent / "mask")
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


DATASETS = (
    Dataset(
        name="vspw",
        task="parse",
        title="VSPW, 124 classes, 480p (Miao et al., CVPR 2021)",
        source="https://github.com/VSPW-dataset/VSPW-dataset-download, VSPW_480p; for research",
        tree="data/<video>/origin/<frame>.jpg\ndata/<video>/mask/<frame>.png\n<split>.txt",
        names=_names,
        open=_open,
        rules=ParseTask.rules,
        splits=("val", "train"),
        counts=(("val", 343), ("train", 2806)),
    ),
    Dataset(
        name="vspw-stuff",
        task="refer",
        title="VSPW, stuff classes as expressions, as REM scores it (Miao et al., CVPR 2021)",
        source="https://github.com/VSPW-dataset/VSPW-dataset-download (VSPW_480p); free for research",
        tree=f"{NAMES}\n<split>.txt\ndata/<video>/origin/<frame>.jpg\ndata/<video>/mask/<frame>.png",
        names=_stuff_names,
        open=_open_stuff,
        rules=("class-macro",),
        splits=("val",),
    ),
)
