"""Cityscapes snippets: 30 frames each, of which the twentieth is labelled.

The one labelled frame is the one that is scored, so that it cannot be given to a method as well: there are no anchors,
and results come from outside (`undertow bench score`), with the values of `labelIds` or as clusters.
"""

from collections.abc import Sequence
from pathlib import Path

from undertow.base import SettingsError
from undertow.benchmarks.datasets.registry import Dataset, register
from undertow.benchmarks.parse.labelled import semantic_sample
from undertow.benchmarks.parse.sample import LabelCoding, SemanticSample

BEFORE, AFTER = 19, 10
IMAGE, LABEL = "_leftImg8bit", "_gtFine_labelIds"
# The 19 classes that are scored, in the order of their train ids, with their label ids (Cordts et al., CVPR 2016).
LABEL_IDS = {
    "road": 7, "sidewalk": 8, "building": 11, "wall": 12, "fence": 13, "pole": 17, "traffic light": 19,
    "traffic sign": 20, "vegetation": 21, "terrain": 22, "sky": 23, "person": 24, "rider": 25, "car": 26, "truck": 27,
    "bus": 28, "train": 31, "motorcycle": 32, "bicycle": 33,
}  # fmt: skip
CODING = LabelCoding(
    values=tuple(LABEL_IDS.values()), void=tuple(number for number in range(34) if number not in LABEL_IDS.values())
)


def _truth(root: Path, split: str) -> dict[str, Path]:
    """Returns the label file of each snippet, by its name `<city>_<sequence>_<frame>`."""
    if split not in ("val", "train"):
        raise SettingsError(f"Cityscapes has no split '{split}' with labels; its splits are val, train")
    for folder in (root / "leftImg8bit_sequence" / split, root / "gtFine" / split):
        if not folder.is_dir():
            raise SettingsError(f"'{root}' is no Cityscapes tree with snippets: '{folder}' is missing; check --root")
    found = sorted((root / "gtFine" / split).glob(f"*/*{LABEL}.png"))
    if not found:
        raise SettingsError(f"'{root / 'gtFine' / split}' holds no <city>/*{LABEL}.png; fetch gtFine_trainvaltest")
    return {path.stem.removesuffix(LABEL): path for path in found}


def _names(root: Path, split: str) -> Sequence[str]:
    return list(_truth(root, split))


def _open(root: Path, split: str, name: str) -> SemanticSample:
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
        classes=tuple(LABEL_IDS), coding=CODING, anchors=(), averaged="seen",
    )  # fmt: skip


CITYSCAPES = register(
    Dataset(
        name="cityscapes",
        task="parse",
        title="Cityscapes, 19 classes, 30-frame snippets (Cordts et al., CVPR 2016)",
        source="https://www.cityscapes-dataset.com, gtFine_trainvaltest and leftImg8bit_sequence_trainvaltest; "
        "non-commercial, by registration",
        tree="leftImg8bit_sequence/<split>/<city>/<city>_<sequence>_<frame>_leftImg8bit.png\n"
        "gtFine/<split>/<city>/<city>_<sequence>_<frame>_gtFine_labelIds.png",
        names=_names,
        open=_open,
        # All frames, of which there is one: nothing is given, so nothing has to be left out.
        rules=("all-frames", "hungarian-per-frame", "hungarian-per-video", "majority-per-video"),
        splits=("val", "train"),
        counts=(("val", 500), ("train", 2975)),
    )
)
