"""What mask datasets of several layouts share: pairing frames with annotations, and objects that join late."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from undertow.base import SettingsError
from undertow.benchmarks.samples import MaskSample
from undertow.masks import object_ids
from undertow.video import Video


@dataclass(frozen=True)
class Pairs:
    """The frames of a video and the annotations that some of them have.

    Attributes:
        frames: frame names in order.
        size: (height, width) in pixels.
        files: annotation of each annotated frame, by frame name.
    """

    frames: tuple[str, ...]
    size: tuple[int, int]
    files: dict[str, Path]


def pair(name: str, frames: Path, masks: Path) -> Pairs:
    """Returns the frames of a folder and the annotations of another, each of which must be of a frame.

    Raises:
        SettingsError: naming what is missing.
        VideoError: if the frames are not of one size, or there are none.
    """
    for folder, what in ((frames, "frames"), (masks, "annotations")):
        if not folder.is_dir():
            raise SettingsError(f"sequence '{name}' has no {what}: '{folder}' is missing; add it")
    with Video(frames) as video:
        names = tuple(video.name_of(index) for index in range(len(video)))
        size = (video.height, video.width)
    files = {path.stem: path for path in sorted(masks.glob("*.png"))}
    if not files:
        raise SettingsError(f"sequence '{name}' has no annotations: '{masks}' holds no PNG; add them")
    stray = sorted(files.keys() - set(names))
    if stray:
        raise SettingsError(
            f"sequence '{name}' has an annotation '{files[stray[0]]}' but no frame of that name; add it, or remove that"
        )
    return Pairs(names, size, files)


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


def find_trees(root: Path) -> tuple[Path, Path] | None:
    """Returns the folders that hold a folder of frames and one of annotations per video, `None` if there are none.

    These are `JPEGImages` and `Annotations`, with or without a folder `480p` inside, as DAVIS has it.
    """
    images, masks = root / "JPEGImages", root / "Annotations"
    if not images.is_dir() or not masks.is_dir():
        return None
    return tuple(folder / "480p" if (folder / "480p").is_dir() else folder for folder in (images, masks))  # type: ignore[return-value]


def subfolders(folder: Path) -> Sequence[str]:
    """Returns the names of the folders in a folder, in order, hidden ones left out."""
    return sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
