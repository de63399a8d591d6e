"""Datasets as they lie on disk: DAVIS trees, a folder of `davis-*/frames` and `masks`, or our own benchmark worlds."""

import hashlib
from collections.abc import Mapping
from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass, replace
from pathlib import Path

from undertow.base import Progress, SettingsError
from undertow.benchmarks.worlds import render_world
from undertow.masks import LabelMap, read_label_map
from undertow.metrics import davis_ids, merge_objects
from undertow.video import Video
from undertow.world import SUITES

DATASETS = ("davis", "davis-2016", "davis-2017", "davis-folders", *SUITES)
RESOLUTION = "480p"


@dataclass(frozen=True)
class Sequence:
    """One annotated sequence; nothing is in memory but names.

    Attributes:
        dataset: dataset it belongs to, for captions.
        name: its name.
        video: folder of its frames.
        frames: frame names in order.
        masks: annotation file of each annotated frame, by frame name.
        ids: object ids that are scored.
        size: (height, width) in pixels.
        merged: whether all objects count as one, as in DAVIS 2016.
    """

    dataset: str
    name: str
    video: Path
    frames: tuple[str, ...]
    masks: Mapping[str, Path]
    ids: tuple[int, ...]
    size: tuple[int, int]
    merged: bool = False

    def load_mask(self, index: int) -> LabelMap:
        """Returns the annotation of frame `index`.

        Raises:
            MaskError: if the file is not a label map of the sequence's size.
        """
        return self.read(self.masks[self.frames[index]])

    def read(self, path: Path) -> LabelMap:
        """Returns a label map file of this sequence, an annotation or a prediction."""
        if not self.merged:
            return read_label_map(path, size=self.size)
        # Some annotations of DAVIS 2016 are black and white stored as colour.
        return merge_objects(read_label_map(path, size=self.size, mask_colors=True))

    def fingerprint(self) -> str:
        """Returns a sha256 hex digest of the frames and annotations."""
        with Video(self.video) as video:
            digest = hashlib.sha256(video.fingerprint().encode())
        for name, path in sorted(self.masks.items()):
            digest.update(name.encode() + hashlib.sha256(path.read_bytes()).digest())
        return digest.hexdigest()


def open_dataset(
    name: str, root: Path | str, split: str = "val", progress: Progress | None = None
) -> tuple[Sequence, ...]:
    """Returns the sequences of a dataset.

    Args:
        name: "davis-2016" or "davis-2017" for a standard tree, `root` being the folder that holds JPEGImages;
            "davis-folders" for a folder of `davis-<sequence>/frames/*.jpg` and `masks/*.png`, scored like 2017;
            "davis" for whichever of these `root` is, 2017 before 2016; "world-easy" or "world-hard" for benchmark
            worlds, which are drawn into `root` on first use.
        root: the dataset's folder; for benchmark worlds it is made if it does not exist.
        split: list of sequences in a standard tree.
        progress: told of every frame of a benchmark world that has to be drawn first.

    Raises:
        SettingsError: naming what is missing, if the tree is not complete.
    """
    root = Path(root)
    if name not in DATASETS:
        raise SettingsError(f"dataset '{name}' is not one of {', '.join(DATASETS)}")
    if name in SUITES:
        return tuple(
            _sequence(name, folder.name, folder / "frames", folder / "masks", merged=False)
            for folder in render_world(name, root, progress)
        )
    if not root.is_dir():
        raise SettingsError(f"dataset folder '{root}' does not exist; give the folder with --root")
    if name == "davis":
        name = _recognise(root)
    if name == "davis-folders":
        folders = sorted(folder for folder in root.glob("davis-*") if _is_sequence(folder))
        if not folders:
            raise SettingsError(f"'{root}' has no folder davis-<sequence> with frames and masks inside; check --root")
        return tuple(
            _sequence(name, folder.name.removeprefix("davis-"), folder / "frames", folder / "masks", merged=False)
            for folder in folders
        )
    year = name.removeprefix("davis-")
    images, annotations = (root / kind / RESOLUTION for kind in ("JPEGImages", "Annotations"))
    for folder in (images, annotations):
        if not folder.is_dir():
            raise SettingsError(f"'{root}' is not a DAVIS tree: '{folder}' is missing; check --root")
    return tuple(
        _sequence(name, each, images / each, annotations / each, merged=year == "2016")
        for each in _listed(root, year, split)
    )


def select_sequences(sequences: SequenceOf[Sequence], names: SequenceOf[str]) -> tuple[Sequence, ...]:
    """Returns the sequences called `names`, in the dataset's order; all of them if no name is given.

    Raises:
        SettingsError: naming a sequence that is not there, and those that are.
    """
    known = [sequence.name for sequence in sequences]
    missing = [name for name in names if name not in known]
    if missing:
        raise SettingsError(f"sequence '{missing[0]}' is not one of {', '.join(known)}")
    return tuple(sequence for sequence in sequences if not names or sequence.name in names)


def _recognise(root: Path) -> str:
    """Returns which layout a folder has."""
    if (root / "JPEGImages").is_dir():
        return "davis-2017" if (root / "ImageSets" / "2017").is_dir() else "davis-2016"
    if any(root.glob("davis-*")):
        return "davis-folders"
    raise SettingsError(
        f"'{root}' is no DAVIS dataset: it has neither JPEGImages nor folders named davis-<sequence>; check --root"
    )


def _is_sequence(folder: Path) -> bool:
    """Tells whether a folder claims to be a sequence; half of one is reported later, by name."""
    return (folder / "frames").is_dir() or (folder / "masks").is_dir()


def _listed(root: Path, year: str, split: str) -> list[str]:
    """Returns the sequence names of a split; the first release of 2016 lists image and annotation files instead."""
    path = root / "ImageSets" / year / f"{split}.txt"
    if year == "2016" and not path.is_file():
        older = root / "ImageSets" / RESOLUTION / f"{split}.txt"
        path = older if older.is_file() else path
    if not path.is_file():
        raise SettingsError(f"'{root}' has no list of sequences: '{path}' is missing; check --root")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise SettingsError(f"the list of sequences '{path}' is not text; give one with a name on each line") from error
    words = [line.split()[0] for line in text.splitlines() if line.strip()]
    names = dict.fromkeys(Path(word).parent.name if "/" in word else word for word in words)
    if not names:
        raise SettingsError(f"the list of sequences '{path}' is empty; give one with a name on each line")
    return list(names)


def _sequence(dataset: str, name: str, frames: Path, masks: Path, *, merged: bool) -> Sequence:
    """Returns one sequence after checking that it can be scored."""
    for folder, what in ((frames, "frames"), (masks, "annotations")):
        if not folder.is_dir():
            raise SettingsError(f"sequence '{name}' has no {what}: '{folder}' is missing; add it")
    with Video(frames) as video:
        names = tuple(video.name_of(index) for index in range(len(video)))
        size = (video.height, video.width)
    files = {path.stem: path for path in sorted(masks.glob("*.png"))}
    stray = sorted(files.keys() - set(names))
    if stray:
        raise SettingsError(
            f"sequence '{name}' has an annotation '{files[stray[0]]}' but no frame of that name; add it, or remove that"
        )
    if names[0] not in files:
        raise SettingsError(f"sequence '{name}' has no annotation of its first frame: '{masks / names[0]}.png'")
    if len(files) < 3:
        raise SettingsError(
            f"sequence '{name}' has {len(files)} annotated frames in '{masks}'; give 3 or more, "
            "as the first and the last do not count"
        )
    sequence = Sequence(dataset, name, frames, names, files, (), size, merged)
    ids = tuple(davis_ids(sequence.load_mask(0)))
    if not ids:
        raise SettingsError(
            f"sequence '{name}' has no object in its first annotation '{files[names[0]]}'; paint what is to be tracked"
        )
    return replace(sequence, ids=ids)
