"""Videos with expressions in one `meta_expressions.json`: Ref-YouTube-VOS, MeViS, Ref-DAVIS17 and Ref-VPS."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from undertow.base import SettingsError
from undertow.benchmarks.datasets.reading import inside, read_json


def read_videos(path: Path) -> Mapping[str, Any]:
    """Returns what a `meta_expressions.json` says of each video, by name.

    Raises:
        SettingsError: naming the file, if it is missing, no JSON, or its entries are not of the format's kind.
    """
    content = read_json(path)
    videos = content.get("videos") if isinstance(content, dict) else None
    if not isinstance(videos, dict) or not videos:
        raise SettingsError(f"'{path}' has no 'videos'; fetch it again")
    for name, facts in videos.items():
        inside(path.parent, name, path)
        rows = facts.get("expressions") if isinstance(facts, dict) else None
        if not isinstance(rows, dict) or not rows:
            raise SettingsError(f"'{path}' has no expressions of '{name}'; fetch it again")
        for number, row in rows.items():
            inside(path.parent, number, path)
            if not isinstance(row, dict) or not isinstance(row.get("exp"), str):
                raise SettingsError(f"'{path}' has no text of expression '{number}' of '{name}'; fetch it again")
    return videos


def expression_names(videos: Mapping[str, Any], wanted: Sequence[str] | None = None) -> list[str]:
    """Returns `<video>/<expression>` for every expression, videos sorted and expressions in numeric order."""
    return [
        f"{video}/{number}"
        for video in sorted(videos if wanted is None else wanted)
        for number in sorted(videos[video]["expressions"], key=expression_order)
    ]


def expression_order(number: str) -> tuple[int, int, str]:
    """Returns a key by which "2" comes before "10"."""
    return (0, int(number), number) if number.isdecimal() and len(number) < 18 else (1, 0, number)


def check_frames(listed: Any, frames: Sequence[str], folder: Path, path: Path) -> list[str]:
    """Returns the frames that a file lists, all of which a folder must have; all of the folder's if it lists none.

    Raises:
        SettingsError: naming the first that is missing.
    """
    if listed is None:
        return list(frames)
    if not isinstance(listed, list) or not all(isinstance(name, str) for name in listed):
        raise SettingsError(f"'{path}' lists frames of '{folder.name}' that are no names; fetch it again")
    known = set(frames)
    for name in listed:
        if name not in known:
            raise SettingsError(f"'{path}' lists frame '{name}' of '{folder.name}', which '{folder}' does not have")
    return list(listed)
