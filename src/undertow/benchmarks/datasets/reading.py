"""What adapters share: JSON read once, paths that stay inside the dataset, and the frames of a folder."""

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from undertow.base import SettingsError
from undertow.video import Video


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


def inside(root: Path, name: str, source: Path) -> Path:
    """Returns a path that a dataset's file gives relative to a folder.

    Raises:
        SettingsError: if it leads out of the folder.
    """
    path = Path(name)
    if not name or path.is_absolute() or ".." in path.parts or "\0" in name:
        raise SettingsError(f"'{source}' names the file '{name}', which is outside of '{root}'; fetch it again")
    return root / path


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
