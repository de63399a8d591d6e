"""Whether a folder may be written to: nothing, a run to be continued or replaced, or other people's files."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from undertow.base import LOCK, SettingsError

FORMAT = "undertow run"
JOURNAL, STATE = ".journal.jsonl", "state.safetensors"
# What `atomic_path` calls its files, and those of them that lie beside run.json.
_TEMPORARY = re.compile(r"\..+-[a-z0-9_]{8}\.(json|csv|mp4|safetensors|png|npz)")
_OURS = (".run", ".masks", ".scores", ".overlay", ".state", ".labels", ".names", ".contours", ".sidebyside")


def check_room(path: Path) -> dict[str, Any] | None:
    """Returns the record of the run in a folder; `None` if the folder is missing or empty.

    Raises:
        SettingsError: if something else is there.
    """
    if path.exists() and not path.is_dir():
        raise SettingsError(f"--out '{path}' is a file; name a folder")
    # A process killed as it began leaves its lock and a run.json under a temporary name.
    if not path.exists() or all(entry.name == LOCK or _leftover(entry, beside_run=True) for entry in path.iterdir()):
        return None
    record = _read_record(path)
    if record is None:
        raise SettingsError(f"--out '{path}' holds files that are not a run; choose an empty or new folder")
    return record


def _read_record(path: Path) -> dict[str, Any] | None:
    """Returns the run.json of a folder, `None` if it has none of ours."""
    try:
        record = json.loads((path / "run.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) and record.get("format") == FORMAT else None


def check_same(path: Path, earlier: Mapping[str, Any], record: Mapping[str, Any]) -> None:
    """Raises SettingsError, saying what differs, unless two records are of the same run."""
    unlike = list(differences(_content(earlier), _content(record)))
    if unlike:
        shown = "; ".join(unlike[:3]) + (f"; and {len(unlike) - 3} more" if len(unlike) > 3 else "")
        raise SettingsError(
            f"--out '{path}' already holds another run ({shown}); give the same to continue it, "
            "add --overwrite to replace it, or choose another --out"
        )


def _content(record: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what decides the results of a run: of cues what they held, not the names of their files."""
    log = record.get("cues")
    if not isinstance(log, list):
        return {**record, "cues": None}
    cues = [cue for cue in log if isinstance(cue, dict) and "sha256" in cue]
    return {**record, "cues": {f"frame {cue.get('frame')}": cue["sha256"] for cue in cues}}


def differences(earlier: Any, now: Any, name: str = "") -> Iterator[str]:
    """Yields what differs between two plain values, such as "settings.kernel.topk was 15 and is 10"."""
    if isinstance(earlier, dict) and isinstance(now, dict):
        for key in {**earlier, **now}:
            yield from differences(earlier.get(key), now.get(key), f"{name}.{key}" if name else str(key))
    elif earlier != now:
        yield f"{name} was {_short(earlier)} and is {_short(now)}"


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 40 else text[:37] + "..."


def clear(path: Path) -> None:
    """Removes an earlier run's files, and only these; not run.json, so that a folder half cleared is still a run."""
    names = ("masks.json", "scores.csv", "labels.json", "names.json", STATE, JOURNAL)
    for name in (*names, *(f"{view}.mp4" for view in ("overlay", "contours", "sidebyside"))):
        (path / name).unlink(missing_ok=True)
    for folder in (path / "masks", path / "edited", path / "soft"):
        for file in (*folder.glob("*.png"), *folder.glob("*.npz")):
            file.unlink()


def sweep(path: Path) -> None:
    """Removes the temporary files of a process that was killed while it wrote."""
    for entry in (
        *path.glob(".*"),
        *(each for name in ("masks", "edited", "soft") for each in (path / name).glob(".*")),
    ):
        if _leftover(entry, beside_run=entry.parent == path):
            entry.unlink()


def _leftover(entry: Path, *, beside_run: bool) -> bool:
    """Returns whether a file is a temporary one of ours: of a mask, or of what lies beside run.json."""
    ours = not beside_run or entry.name.split("-")[0] in _OURS
    return ours and _TEMPORARY.fullmatch(entry.name) is not None
