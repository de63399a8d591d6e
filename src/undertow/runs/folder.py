"""The Run folder: what a run leaves behind, and the unit of sharing.

    run.json      what was run: video fingerprint, model, resolved settings, cues as an append-only log
    masks/        one PNG per frame at native size, named after the source frame
    masks.json    COCO run lengths, a list of rows {frame, time, object, rle}
    scores.csv    frame, time, object, area, margin, mass
    overlay.mp4   the masks over the video (see `undertow.runs.render`)

Results go to disk as they come, each frame's row to a hidden journal, from which `finish` assembles the two tables.
So memory does not grow with the video, and tables exist only once they are whole.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self, TextIO

from undertow.base import SettingsError, atomic_path, write_json
from undertow.masks import LabelMap, label_map_rles, object_ids, write_label_map
from undertow.runs.plain import plain

FORMAT = "undertow run"
VERSION = 1
JOURNAL = ".journal.jsonl"
COLUMNS = "frame,time,object,area,margin,mass"


class Score(Protocol):
    """What a tracker says of one object in one frame."""

    @property
    def area(self) -> int:
        """Pixels of the object."""

    @property
    def margin(self) -> float:
        """Mean over the object's pixels of best minus second soft label."""

    @property
    def mass(self) -> float:
        """Kernel mass kept before renormalising."""


class FrameResult(Protocol):
    """What a run stores of one frame; `undertow.tracking.TrackResult` is one."""

    @property
    def index(self) -> int:
        """0-based number of the frame."""

    @property
    def time(self) -> Fraction:
        """Exact time in seconds."""

    @property
    def name(self) -> str:
        """Name of the mask file, without suffix."""

    @property
    def labels(self) -> LabelMap:
        """Label map at native size."""

    @property
    def scores(self) -> Mapping[int, Score]:
        """Scores by object id, also of objects that are out of sight."""


class RunFolder:
    """A run being written. Use as a context manager, or call `close` when done.

        with RunFolder.create(out, video_fingerprint=..., model="tiny", settings={}, cues=[], overwrite=False) as run:
            for result in results:
                run.write_result(result)
            run.finish()

    Attributes:
        path: the folder.
    """

    def __init__(self, path: Path, journal: TextIO) -> None:
        """Takes an open journal; users call `create`."""
        self.path = path
        self._journal = journal

    @classmethod
    def create(
        cls,
        out: Path | str,
        *,
        video_fingerprint: str,
        model: str,
        settings: Mapping[str, Any],
        cues: Sequence[Any],
        overwrite: bool,
    ) -> Self:
        """Returns a new run in the folder `out`, with its run.json written.

        Args:
            out: folder to make; it may exist if it is empty, or a run to be overwritten.
            video_fingerprint: what `Video.fingerprint` says.
            model: name or folder of the model.
            settings: all settings, resolved; see `plain` for what they may hold.
            cues: what the user gave, in order.
            overwrite: whether to replace an earlier run. Only files a run writes are removed.

        Raises:
            SettingsError: if `out` holds a run and `overwrite` is false, or holds something else.
        """
        path = Path(out)
        _make_room(path, overwrite)
        record = {
            "format": FORMAT,
            "version": VERSION,
            "video": video_fingerprint,
            "model": model,
            "settings": plain(settings),
            "cues": plain(cues),
        }
        write_json(path / "run.json", record)
        (path / "masks").mkdir(exist_ok=True)
        return cls(path, (path / JOURNAL).open("w", encoding="utf-8"))

    def append_cue(self, cue: Any) -> None:
        """Adds a cue to the log in run.json; earlier cues are never changed."""
        record = json.loads((self.path / "run.json").read_text(encoding="utf-8"))
        record["cues"].append(plain(cue))
        write_json(self.path / "run.json", record)

    def mask_path(self, name: str) -> Path:
        """Returns where the mask of the frame called `name` is or will be."""
        return self.path / "masks" / f"{name}.png"

    def write_result(self, result: FrameResult) -> None:
        """Writes the mask of one frame exactly as it is, then its journal line: a frame with a line is complete."""
        write_label_map(self.mask_path(result.name), result.labels)
        line = {
            "frame": result.index,
            "time": str(result.time),
            "rles": label_map_rles(result.labels, object_ids(result.labels)),
            "scores": {
                object_id: [int(score.area), float(score.margin), float(score.mass)]
                for object_id, score in sorted(result.scores.items())
            },
        }
        self._journal.write(json.dumps(line) + "\n")
        self._journal.flush()

    def finish(self) -> None:
        """Assembles masks.json and scores.csv from the journal, in the order the frames were written.

        masks.json has a row for each object seen in a frame, with the time as an exact fraction of seconds
        ("1001/30000"; `Fraction` reads it) and an `rle` that `pycocotools.mask.decode` takes. scores.csv has a row for
        each object tracked, seen or not, with the time in decimal seconds to the nanosecond.
        """
        self.close()
        with atomic_path(self.path / "masks.json") as temporary, temporary.open("w", encoding="utf-8") as table:
            separator = "["
            for line in self._lines():
                for object_id, rle in line["rles"].items():
                    row = {"frame": line["frame"], "time": line["time"], "object": int(object_id), "rle": rle}
                    table.write(separator + "\n" + json.dumps(row))
                    separator = ","
            table.write("\n]\n" if separator == "," else "[]\n")
        with atomic_path(self.path / "scores.csv") as temporary, temporary.open("w", encoding="utf-8") as table:
            table.write(COLUMNS + "\n")
            for line in self._lines():
                for object_id, (area, margin, mass) in line["scores"].items():
                    seconds = decimal_seconds(Fraction(line["time"]))
                    table.write(f"{line['frame']},{seconds},{object_id},{area},{margin:.6f},{mass:.6f}\n")
        (self.path / JOURNAL).unlink()

    def close(self) -> None:
        """Closes the journal; what was written stays."""
        self._journal.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _lines(self) -> Iterator[dict[str, Any]]:
        """Yields the journal, one frame at a time."""
        with (self.path / JOURNAL).open(encoding="utf-8") as journal:
            for line in journal:
                yield json.loads(line)


def decimal_seconds(time: Fraction) -> str:
    """Returns a time rounded to nine decimals, by integer arithmetic: exact to half a nanosecond however late it is."""
    nanoseconds = round(time * 10**9)
    sign = "-" if nanoseconds < 0 else ""
    return f"{sign}{abs(nanoseconds) // 10**9}.{abs(nanoseconds) % 10**9:09d}"


def _make_room(path: Path, overwrite: bool) -> None:
    """Makes `path` an existing folder without a run in it, or raises `SettingsError`."""
    if path.exists() and not path.is_dir():
        raise SettingsError(f"--out '{path}' is a file; name a folder")
    if path.exists() and any(path.iterdir()):
        if not _is_run(path):
            raise SettingsError(f"--out '{path}' holds files that are not a run; choose an empty or new folder")
        if not overwrite:
            raise SettingsError(f"--out '{path}' already holds a run; add --overwrite or choose another --out")
        # run.json goes last of all (it is replaced), so that a folder half cleared is still known as a run.
        for name in ("masks.json", "scores.csv", "overlay.mp4", "state.safetensors", JOURNAL):
            (path / name).unlink(missing_ok=True)
        for mask in (path / "masks").glob("*.png"):
            mask.unlink()
    path.mkdir(parents=True, exist_ok=True)


def _is_run(path: Path) -> bool:
    """Returns whether a folder holds a run.json of ours."""
    try:
        record = json.loads((path / "run.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(record, dict) and record.get("format") == FORMAT
