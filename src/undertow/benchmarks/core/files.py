"""What lies on disk: lists, JSON, frames and annotations of datasets, and what is wrong or missing there."""

import csv
import json
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from PIL import Image

from undertow.base import MaskError, SettingsError, UndertowError, inside
from undertow.benchmarks.core.sample import Sample
from undertow.masks.labels import MOST_PIXELS
from undertow.video import Video


def read_list(path: Path, root: Path, name_of: Callable[[str], str] = str) -> list[str]:
    """Returns the names that a text file lists, one on each line, each name once.

    Args:
        path: The file; of each line the first word counts.
        root: The dataset's folder, which no name may lead out of.
        name_of: From a word to the name that it stands for.

    Raises:
        SettingsError: if there is no such file, it is empty or no text, or has a name that is no name of a video.
    """
    if not path.is_file():
        raise SettingsError(f"'{root}' has no list of sequences: '{path}' is missing; check --root and the split")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise SettingsError(f"the list of sequences '{path}' is not text; give one with a name on each line") from error
    names = list(dict.fromkeys(name_of(line.split()[0]) for line in text.splitlines() if line.strip()))
    if not names:
        raise SettingsError(f"the list of sequences '{path}' is empty; give one with a name on each line")
    for name in names:
        inside(root, name, source=path, single=True)
    return names


def read_json(path: Path) -> Any:
    """Returns the content of a JSON file, not to be changed; the last files read are kept.

    Raises:
        SettingsError: naming the file, if it is missing, unreadable or no JSON.
    """
    try:
        facts = path.stat()
        return _read_json(path, facts.st_size, facts.st_mtime_ns)
    except OSError as error:
        raise SettingsError(f"'{path}' cannot be read ({error.strerror}); check --root") from error
    except (ValueError, RecursionError) as error:
        raise SettingsError(f"'{path}' is not JSON ({error}); fetch it again") from error


def shipped_rows(package: str, name: str) -> list[dict[str, str]]:
    """Returns the rows of a CSV file that ships with a package."""
    text = resources.files(package).joinpath(name).read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


@lru_cache(maxsize=3)
def _read_json(path: Path, size: int, changed: int) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def folder_frames(folder: Path, name: str) -> tuple[tuple[str, ...], tuple[int, int]]:
    """Returns the frame names of a folder and their size (height, width).

    Raises:
        SettingsError: if there is no such folder.
        VideoError: if it holds no frames.
    """
    if not folder.is_dir():
        raise SettingsError(f"'{name}' has no frames: '{folder}' is missing; add it")
    return _folder_frames(folder, folder.stat().st_mtime_ns)


@lru_cache(maxsize=8)
def _folder_frames(folder: Path, changed: int) -> tuple[tuple[str, ...], tuple[int, int]]:
    """Returns what `folder_frames` does; kept, because a video has many expressions."""
    with Video(folder) as video:
        return tuple(video.name_of(index) for index in range(len(video))), (video.height, video.width)


def annotations(folder: Path, name: str) -> dict[str, Path]:
    """Returns the PNGs of a folder by frame name, in order.

    Args:
        folder: Where they are.
        name: The video they belong to, for the error.

    Raises:
        SettingsError: if there is no such folder, or no PNG in it.
    """
    if not folder.is_dir():
        raise SettingsError(f"'{name}' has no annotations: '{folder}' is missing; add it")
    files = {path.stem: path for path in sorted(folder.glob("*.png"))}
    if not files:
        raise SettingsError(f"'{name}' has no annotations: '{folder}' holds no PNG; add them")
    return files


class Pairs(NamedTuple):
    """The frames of a video and the annotations that some of them have.

    Attributes:
        frames: Frame names in order.
        size: Height and width in pixels.
        files: Annotation of each annotated frame, by frame name.
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
    pairs = Pairs(*folder_frames(frames, name), annotations(masks, name))
    stray = sorted(pairs.files.keys() - set(pairs.frames))
    if stray:
        raise SettingsError(
            f"'{name}' has an annotation '{pairs.files[stray[0]]}' but no frame of that name; add it, or remove that"
        )
    return pairs


@dataclass(frozen=True)
class Finding:
    """One thing that `bench check` found.

    Attributes:
        where: The file or folder.
        problem: What is wrong with it, in a sentence without a full stop.
        severity: "error" if scoring would fail or mislead, "odd" if it is only not as expected.
    """

    where: Path
    problem: str
    severity: Literal["error", "odd"] = "error"


def frame_findings(sample: Sample) -> Iterator[Finding]:
    """Yields every frame that cannot be decoded, or is of another size than the sample says."""
    try:
        with sample.open() as video:
            if (video.height, video.width) != tuple(sample.size):
                yield Finding(
                    sample.video,
                    f"frames are {video.width}x{video.height}, annotations {sample.size[1]}x{sample.size[0]}",
                )
            for index in range(len(sample.frames)):
                try:
                    video.frame(index)
                except UndertowError as error:
                    yield Finding(sample.video, str(error))
    except UndertowError as error:
        yield Finding(sample.video, str(error))


def gap_findings(sample: Sample, annotated: Sequence[int]) -> Iterator[Finding]:
    """Yields one finding if most frames are annotated but some are not, which looks like files that were lost.

    Annotations at a steady distance from each other, or of few frames, are a choice of the dataset's authors.
    """
    missing = sorted(set(range(len(sample.frames))) - set(annotated))
    steps = {after - before for before, after in pairwise(annotated)}
    if not missing or 3 * len(missing) > len(sample.frames) or (len(steps) == 1 and steps != {1}):
        return
    names = ", ".join(f"'{sample.frames[index]}'" for index in missing[:3])
    more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
    yield Finding(sample.video, f"frames {names}{more} have no annotation, while most of '{sample.name}' have", "odd")


def file_remedy(path: Path) -> str:
    """Returns what to do about a result's file that is missing, for the end of a message."""
    folder = path.parent
    if path.is_symlink():
        return f"it is a link to '{path.readlink()}', which is not there; copy the file"
    if path.is_dir():
        return "there is a folder of that name; replace it by the file"
    if (folder / "masks" / path.name).is_file():
        return f"copy the files of '{folder / 'masks'}' to '{folder}'"
    files = sorted(each.name for each in folder.iterdir() if each.is_file()) if folder.is_dir() else []
    for name in files:
        stem, _, suffix = name.rpartition(".")
        if stem == path.stem:
            same = suffix.lower() == "png"
            return f"there is '{name}'; {f'name it {path.name}' if same else 'save it as PNG, without loss'}"
        if stem.isdecimal() and path.stem.isdecimal() and int(stem) == int(path.stem):
            return f"there is '{name}'; name results as the frames are, {path.name}"
    return "add it"


def folder_remedy(folder: Path, name: str, usual: str) -> str:
    """Returns what to do about a sample's folder that is missing from a folder of results.

    Args:
        folder: The folder that was given.
        name: The sample's name.
        usual: How results lie, if nothing better can be said.
    """
    near = [folder.resolve().parent, *sorted(each for each in folder.iterdir() if each.is_dir())]
    for other in near:
        if (other / name).exists():
            return f"give '{other}', which holds it"
    return f"give a folder of {usual}"


def holds_frames(folder: Path, frames: tuple[str, ...]) -> bool:
    """Returns whether a folder has a result of any of these frames."""
    return any((folder / f"{frame}.png").is_file() for frame in frames)


def is_black_and_white(path: Path) -> bool:
    """Returns whether a file is black and white without saying which object white is: no palette, no ids.

    A file that cannot be read is not; whoever reads it says so.
    """
    try:
        with Image.open(path) as image:
            if image.mode not in ("1", "L", "I", "I;16"):
                return False
            values = np.unique(np.asarray(image))
    except (OSError, SyntaxError, ValueError):
        return False
    white = {"1": 1, "L": 255}.get(image.mode, 65535)
    return set(values.tolist()) <= {0, white} and white in values


def read_picture(path: Path, size: tuple[int, int] | None = None) -> Image.Image:
    """Returns a picture whose values mean something, such as ids or classes, with nothing of it interpreted.

    Args:
        path: A PNG, or a BMP or TIFF.
        size: (height, width) it must have, judged by its header.

    Raises:
        MaskError: naming the file, if it is missing, damaged, lossy, too large or of another size.
    """
    if not path.is_file():
        raise MaskError(f"mask '{path}' is missing; add it")
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(path) as image:
            if image.format not in ("PNG", "BMP", "TIFF"):
                raise MaskError(f"mask '{path}' is {image.format}, which alters values; save it as PNG")
            if size is not None and (image.height, image.width) != tuple(size):
                raise MaskError(
                    f"mask '{path}' is {image.width}x{image.height} but the frame {size[1]}x{size[0]}; "
                    "write it at the frame's own size"
                )
            if image.width * image.height > MOST_PIXELS:
                raise MaskError(f"mask '{path}' is {image.width}x{image.height}; give at most {MOST_PIXELS} pixels")
            image.load()
            return image
    except MaskError:
        raise
    # Of a broken file, decoders raise nearly anything.
    except Exception as error:
        reason = str(error).rstrip(".") or type(error).__name__
        raise MaskError(f"mask '{path}' cannot be read ({reason}); write it again") from error
