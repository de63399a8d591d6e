"""DAVIS in its standard trees, or one folder per sequence: 2016 and 2017 with first masks, 2017 also without."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from undertow.base import SettingsError
from undertow.benchmarks.core.datasets import Dataset
from undertow.benchmarks.core.files import pair, read_list
from undertow.benchmarks.masks.sample import MaskSample
from undertow.masks import LabelMap
from undertow.metrics import davis_ids

RESOLUTION = "480p"


@dataclass(frozen=True, kw_only=True)
class ProposalSample(MaskSample):
    """A video whose objects are to be found: there are no first masks to give."""

    def cues(self) -> dict[int, LabelMap]:
        """Raises `SettingsError`, since a method that starts from masks is not what is asked for."""
        raise SettingsError(
            f"'{self.name}' of {self.dataset} gives no first masks; score a folder of proposals with "
            "`undertow bench score`, or run on davis-2017"
        )


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
        f"'{root}' is not a DAVIS dataset: it has neither JPEGImages nor folders named davis-<sequence>; check --root"
    )


def mask_sample(
    dataset: str, name: str, frames: Path, masks: Path, *, merged: bool = False, kind: type[MaskSample] = MaskSample
) -> MaskSample:
    """Returns one sequence of frames and label maps, scored as DAVIS does, after checking that it can be.

    Args:
        dataset: Name of the dataset.
        name: Name of the sequence.
        frames: Folder of its frames.
        masks: Folder of its annotations.
        merged: Whether all objects count as one.
        kind: Class of the sample.

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
    sample = kind(
        dataset=dataset, name=name, video=frames, frames=names, masks=files, ids=(), size=pairs.size, merged=merged
    )
    ids = tuple(davis_ids(sample.load_mask(0)))
    if not ids:
        raise SettingsError(
            f"sequence '{name}' has no object in its first annotation '{files[names[0]]}'; paint the objects to track"
        )
    return replace(sample, ids=ids)


def _sequence(word: str) -> str:
    """Returns the name that a word stands for; the first release of 2016 lists image and annotation files instead."""
    return Path(word).parent.name if "/" in word else word


def _tree(name: str, title: str, archive: str, annotations: str, rules: str, counts: tuple[int, int]) -> Dataset:
    """Returns a dataset that lies as DAVIS is published.

    Args:
        name: Its name.
        title: Its name in print.
        archive: What to fetch.
        annotations: Folder of the label maps.
        rules: The way of scoring it.
        counts: Sequences of the splits val and train.
    """
    year = name.split("-")[1]

    def folders(root: Path) -> tuple[Path, Path]:
        return root / "JPEGImages" / RESOLUTION, root / annotations / RESOLUTION

    def names(root: Path, split: str) -> Sequence[str]:
        for folder in folders(root):
            if not folder.is_dir():
                raise SettingsError(f"'{root}' is not a DAVIS tree: '{folder}' is missing; check --root")
        path = root / "ImageSets" / year / f"{split}.txt"
        older = root / "ImageSets" / RESOLUTION / f"{split}.txt"
        use_older = year == "2016" and not path.is_file() and older.is_file()
        return read_list(older if use_older else path, root, _sequence)

    def open_one(root: Path, split: str, sequence: str) -> MaskSample:
        frames, masks = folders(root)
        kind = ProposalSample if rules == "davis-unsupervised" else MaskSample
        return mask_sample(name, sequence, frames / sequence, masks / sequence, merged=year == "2016", kind=kind)

    return Dataset(
        name=name,
        task="masks",
        title=title,
        source=f"https://davischallenge.org, '{archive}, 480p'; free for research",
        tree=f"JPEGImages/480p/<sequence>/<frame>.jpg\n{annotations}/480p/<sequence>/<frame>.png\n"
        f"ImageSets/{year}/<split>.txt",
        names=names,
        open=open_one,
        rules=(rules,),
        splits=("val", "train"),
        counts=(("val", counts[0]), ("train", counts[1])),
    )


def _is_sequence(folder: Path) -> bool:
    """Returns whether a folder claims to be a sequence; half of one is reported later, by name."""
    return (folder / "frames").is_dir() or (folder / "masks").is_dir()


def _folder_names(root: Path, split: str) -> Sequence[str]:
    names = sorted(folder.name.removeprefix("davis-") for folder in root.glob("davis-*") if _is_sequence(folder))
    if not names:
        raise SettingsError(f"'{root}' has no folder davis-<sequence> with frames and masks inside; check --root")
    return names


def _open_folder(root: Path, split: str, name: str) -> MaskSample:
    folder = root / f"davis-{name}"
    return mask_sample("davis-folders", name, folder / "frames", folder / "masks")


DATASETS = (
    _tree(
        "davis-2016",
        "DAVIS 2016, one object (Perazzi et al., CVPR 2016)",
        "DAVIS 2016 TrainVal",
        "Annotations",
        "davis-2016",
        (20, 30),
    ),
    _tree(
        "davis-2017",
        "DAVIS 2017, semi-supervised (Pont-Tuset et al., 2017)",
        "DAVIS 2017 TrainVal",
        "Annotations",
        "davis-2017",
        (30, 60),
    ),
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
    ),
    _tree(
        "davis-2017-unsupervised",
        "DAVIS 2017, unsupervised (Caelles et al., The 2019 DAVIS Challenge on VOS, 2019)",
        "Unsupervised, TrainVal",
        "Annotations_unsupervised",
        "davis-unsupervised",
        (30, 60),
    ),
)
