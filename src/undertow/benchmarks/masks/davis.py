"""DAVIS 2016 and 2017 in their standard trees, or one folder per sequence; the truth is a label map per frame."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from undertow.base import SettingsError
from undertow.benchmarks.datasets.registry import Dataset, register
from undertow.benchmarks.datasets.trees import pair
from undertow.benchmarks.samples import MaskSample
from undertow.metrics import davis_ids

RESOLUTION = "480p"


def recognise(root: Path) -> str:
    """Returns which of the layouts a folder has.

    Raises:
        SettingsError: if it has none.
    """
    if not root.is_dir():
        raise SettingsError(f"dataset folder '{root}' does not exist; give the folder with --root")
    if (root / "JPEGImages").is_dir():
        return "davis-2017" if (root / "ImageSets" / "2017").is_dir() else "davis-2016"
    if any(root.glob("davis-*")):
        return "davis-folders"
    raise SettingsError(
        f"'{root}' is no DAVIS dataset: it has neither JPEGImages nor folders named davis-<sequence>; check --root"
    )


def mask_sample(dataset: str, name: str, frames: Path, masks: Path, *, merged: bool = False) -> MaskSample:
    """Returns one sequence of frames and label maps, scored as DAVIS does, after checking that it can be.

    Raises:
        SettingsError: naming what is missing.
    """
    pairs = pair(name, frames, masks)
    names, files = pairs.frames, pairs.files
    if names[0] not in files:
        raise SettingsError(f"sequence '{name}' has no annotation of its first frame: '{masks / names[0]}.png'")
    if len(files) < 3:
        raise SettingsError(
            f"sequence '{name}' has {len(files)} annotated frames in '{masks}'; give 3 or more, "
            "as the first and the last do not count"
        )
    sample = MaskSample(
        dataset=dataset, name=name, video=frames, frames=names, masks=files, ids=(), size=pairs.size, merged=merged
    )
    ids = tuple(davis_ids(sample.load_mask(0)))
    if not ids:
        raise SettingsError(
            f"sequence '{name}' has no object in its first annotation '{files[names[0]]}'; paint what is to be tracked"
        )
    return replace(sample, ids=ids)


def _tree_names(root: Path, year: str, split: str) -> list[str]:
    """Returns the sequence names of a split; the first release of 2016 lists image and annotation files instead."""
    for folder in (root / kind / RESOLUTION for kind in ("JPEGImages", "Annotations")):
        if not folder.is_dir():
            raise SettingsError(f"'{root}' is not a DAVIS tree: '{folder}' is missing; check --root")
    path = root / "ImageSets" / year / f"{split}.txt"
    if year == "2016" and not path.is_file():
        older = root / "ImageSets" / RESOLUTION / f"{split}.txt"
        path = older if older.is_file() else path
    return [Path(word).parent.name if "/" in word else word for word in read_list(path, root)]


def read_list(path: Path, root: Path) -> list[str]:
    """Returns the first word of every line of a text file that lists samples, each once.

    Raises:
        SettingsError: if there is no such file, or it is empty or no text.
    """
    if not path.is_file():
        raise SettingsError(f"'{root}' has no list of sequences: '{path}' is missing; check --root and the split")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise SettingsError(f"the list of sequences '{path}' is not text; give one with a name on each line") from error
    words = list(dict.fromkeys(line.split()[0] for line in text.splitlines() if line.strip()))
    if not words:
        raise SettingsError(f"the list of sequences '{path}' is empty; give one with a name on each line")
    return words


def _tree(year: str) -> Dataset:
    def names(root: Path, split: str) -> Sequence[str]:
        return list(dict.fromkeys(_tree_names(root, year, split)))

    def open_one(root: Path, split: str, name: str) -> MaskSample:
        frames, masks = (root / kind / RESOLUTION / name for kind in ("JPEGImages", "Annotations"))
        return mask_sample(f"davis-{year}", name, frames, masks, merged=year == "2016")

    return Dataset(
        name=f"davis-{year}",
        task="masks",
        title={
            "2016": "DAVIS 2016, one object (Perazzi et al., CVPR 2016)",
            "2017": "DAVIS 2017, semi-supervised (Pont-Tuset et al., 2017)",
        }[year],
        source=f"https://davischallenge.org, 'DAVIS {year} TrainVal, 480p'; free for research",
        tree=f"JPEGImages/480p/<sequence>/<frame>.jpg\nAnnotations/480p/<sequence>/<frame>.png\n"
        f"ImageSets/{year}/<split>.txt",
        names=names,
        open=open_one,
        rules=(f"davis-{year}",),
        splits=("val", "train"),
        counts={"2016": (("val", 20), ("train", 30)), "2017": (("val", 30), ("train", 60))}[year],
    )


def _is_sequence(folder: Path) -> bool:
    """Tells whether a folder claims to be a sequence; half of one is reported later, by name."""
    return (folder / "frames").is_dir() or (folder / "masks").is_dir()


def _folder_names(root: Path, split: str) -> Sequence[str]:
    names = sorted(folder.name.removeprefix("davis-") for folder in root.glob("davis-*") if _is_sequence(folder))
    if not names:
        raise SettingsError(f"'{root}' has no folder davis-<sequence> with frames and masks inside; check --root")
    return names


def _open_folder(root: Path, split: str, name: str) -> MaskSample:
    folder = root / f"davis-{name}"
    return mask_sample("davis-folders", name, folder / "frames", folder / "masks")


DAVIS_2016, DAVIS_2017 = register(_tree("2016")), register(_tree("2017"))
DAVIS_FOLDERS = register(
    Dataset(
        name="davis-folders",
        task="masks",
        title="sequences in folders of their own, scored as DAVIS 2017",
        source="your own",
        tree="davis-<sequence>/frames/<frame>.jpg\ndavis-<sequence>/masks/<frame>.png",
        names=_folder_names,
        open=_open_folder,
        rules=("davis-2017",),
        splits=("all",),
    )
)
