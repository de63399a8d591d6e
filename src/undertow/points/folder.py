"""The Run folder of points: what following them leaves behind, and how it is continued or added to.

    run.json          what was run: video fingerprint, model, resolved settings, cues as an append-only log
    tracks.npz        tracks (q, t, 2), visibility (q, t), confidence (q, t), queries (q, 3) as frame, x, y
    tracks.csv        point, frame, time, x, y, visible, confidence
    tapvid.npz        the same as TAP-Vid has it: points in [0, 1], occluded, query_points (t, y, x) of 256 x 256
    overlay.mp4       the points over the video
    trajectories.png  their paths on one frame
    features/         what the network saw of every frame, while the run is unfinished or if it is to be kept

`.unfinished` is there from before the first result of a run until after its last.
"""

import csv
import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from undertow.base import LOCK, SettingsError, atomic_path, exclusive, write_json, write_text
from undertow.points import Tracks
from undertow.runs.folder import decimal_seconds
from undertow.runs.record import plain
from undertow.runs.room import differences

FORMAT, VERSION = "undertow points run", 1
TRACKS, TABLE, TAPVID, OVERLAY, PICTURE = "tracks.npz", "tracks.csv", "tapvid.npz", "overlay.mp4", "trajectories.png"
FEATURES, UNFINISHED = "features", ".unfinished"
RASTER = 256


class PointsFolder:
    """A run of points being written.

    Attributes:
        path: the folder.
        earlier: tracks that are there and complete, `None` if there are none.
        unfinished: whether something of the run is still to be done.
    """

    def __init__(self, path: Path, record: dict[str, Any], earlier: Tracks | None) -> None:
        """Takes a folder that is locked; users call `open`."""
        self.path, self.earlier, self._record = path, earlier, record
        self.unfinished = earlier is None or (path / UNFINISHED).exists()

    @classmethod
    @contextmanager
    def open(cls, out: Path, record: Mapping[str, Any], *, overwrite: bool = False) -> Iterator["PointsFolder"]:
        """Yields the run in the folder `out`: a new one, or the same to be continued or added to.

        Args:
            out: folder to make; it may exist if it is empty or holds a run of points.
            record: video, model and settings, which make it the same run, and `cues`.
            overwrite: whether to replace an earlier run. Only files that a run writes are removed.

        Raises:
            SettingsError: if `out` holds another run and `overwrite` is false, or something else, or another process
                is writing to it.
        """
        _read_record(out)
        out.mkdir(parents=True, exist_ok=True)
        with exclusive(out):
            stored = _read_record(out)
            fresh = {"format": FORMAT, "version": VERSION, **plain(dict(record))}
            if stored is None or overwrite:
                _clear(out)
                write_json(out / "run.json", fresh)
                stored = fresh
            earlier = _read_tracks(out / TRACKS)
            # Points may be new once the earlier ones are there; until then they are part of what is being done.
            apart = ("cues",) if earlier is not None else ()
            unlike = list(differences(_without(stored, apart), _without(fresh, apart)))
            if unlike:
                more = f"; and {len(unlike) - 2} more" if len(unlike) > 2 else ""
                raise SettingsError(
                    f"--out '{out}' already holds another run ({'; '.join(unlike[:2])}{more}); give the same to "
                    "continue it, add --overwrite to replace it, or choose another --out"
                )
            yield cls(out, stored, earlier)

    @property
    def features(self) -> Path:
        """Where the features of the run's frames are kept."""
        return self.path / FEATURES

    def begin(self) -> None:
        """Marks the run as unfinished."""
        write_text(self.path / UNFINISHED, "")
        self.unfinished = True

    def write(self, tracks: Tracks, times: Sequence[Fraction], numbers: Sequence[int], size: tuple[int, int]) -> None:
        """Writes tables of all tracks of the run, each atomically; tracks.npz, by which they are known, first.

        Args:
            tracks: of all points, earlier ones first.
            times: of the frames, in seconds.
            numbers: of the frames in the video; tables name frames so.
            size: (height, width) of the video.
        """
        queries = tracks.queries
        assert queries is not None and tracks.confidence is not None
        with atomic_path(self.path / TRACKS) as temporary:
            np.savez_compressed(
                temporary, allow_pickle=False, tracks=tracks.tracks, visibility=tracks.visibility,
                confidence=tracks.confidence, queries=queries, frames=np.asarray(numbers),
            )  # fmt: skip
        scale = np.array([1 / size[1], 1 / size[0]])
        asked = np.column_stack([queries[:, 0], queries[:, 2] * scale[1] * RASTER, queries[:, 1] * scale[0] * RASTER])
        with atomic_path(self.path / TAPVID) as temporary:
            np.savez_compressed(
                temporary, allow_pickle=False, points=(tracks.tracks * scale).astype(np.float32),
                occluded=~tracks.visibility, query_points=asked.astype(np.float32),
            )  # fmt: skip
        seconds = [decimal_seconds(time) for time in times]
        with atomic_path(self.path / TABLE) as temporary, temporary.open("w", encoding="utf-8", newline="") as handle:
            table = csv.writer(handle, lineterminator="\n")
            table.writerow(["point", "frame", "time", "x", "y", "visible", "confidence"])
            for point in range(len(queries)):
                rows = zip(tracks.tracks[point], tracks.visibility[point], tracks.confidence[point], strict=True)
                for number, second, ((x, y), seen, sure) in zip(numbers, seconds, rows, strict=True):
                    table.writerow([point, number, second, f"{x:.3f}", f"{y:.3f}", int(seen), f"{sure:.4f}"])

    def log(self, cue: Mapping[str, Any]) -> None:
        """Adds a cue to the log in run.json, unless it is there."""
        cues = self._record.setdefault("cues", [])
        if plain(dict(cue)) not in cues:
            cues.append(plain(dict(cue)))
            write_json(self.path / "run.json", self._record)

    def complete(self, *, keep_features: bool) -> None:
        """Removes what only an unfinished run needs."""
        if not keep_features and self.features.is_dir():
            shutil.rmtree(self.features)
        (self.path / UNFINISHED).unlink(missing_ok=True)
        self.unfinished = False


def described_points(queries: Float64[np.ndarray, "q 3"]) -> dict[str, Any]:
    """Returns what run.json keeps of points: how many, and the SHA-256 by which they are known again."""
    return {"points": len(queries), "sha256": hashlib.sha256(np.ascontiguousarray(queries).tobytes()).hexdigest()}


def _read_record(path: Path) -> dict[str, Any] | None:
    """Returns the record of the run in a folder; `None` if the folder is missing or empty.

    Raises:
        SettingsError: if something else is there.
    """
    if path.exists() and not path.is_dir():
        raise SettingsError(f"--out '{path}' is a file; name a folder")
    if not path.exists() or all(entry.name == LOCK or entry.name.startswith(".run-") for entry in path.iterdir()):
        return None
    try:
        record = json.loads((path / "run.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        record = None
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise SettingsError(f"--out '{path}' holds files that are no run of points; choose an empty or new folder")
    return record


def _read_tracks(path: Path) -> Tracks | None:
    """Returns the tracks of a run, `None` if there are none, or none that are whole."""
    try:
        with path.open("rb") as handle, np.load(handle) as arrays:
            return Tracks(arrays["tracks"], arrays["visibility"], arrays["confidence"], arrays["queries"])
    except Exception:
        # Whatever is wrong with the file, its tracks are made again.
        return None


def _clear(path: Path) -> None:
    """Removes an earlier run's files, and only these; run.json is replaced afterwards."""
    for name in (TRACKS, TABLE, TAPVID, OVERLAY, PICTURE, UNFINISHED):
        (path / name).unlink(missing_ok=True)
    for file in (path / FEATURES).glob("*.safetensors"):
        file.unlink()


def _without(record: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name not in names}
