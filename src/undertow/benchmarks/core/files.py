"""What datasets on disk share: lists and JSON read once, the frames of a folder, and annotations of some of them."""

import json
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from undertow.base import SettingsError, inside
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
