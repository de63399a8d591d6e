"""TAP-Vid and RoboTAP: videos and tracks in pickles, which are read by a reader that can run nothing."""

import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from undertow.base import SettingsError, VideoError, inside
from undertow.benchmarks.core.datasets import Dataset
from undertow.benchmarks.core.pickles import read_pickle
from undertow.benchmarks.points.sample import PointSample
from undertow.video import Video
from undertow.video.frames import RGB, as_rgb, check_same_size
from undertow.video.source import Source

_ASK = "fetch the file again"
MOST_ENTRIES = 100_000


class EncodedFrames(Source):
    """Frames kept as JPEG (or PNG) bytes, each decoded when it is asked for."""

    def __init__(self, frames: Sequence[bytes | memoryview], label: str) -> None:
        """Takes the frames and decodes the first.

        Raises:
            VideoError: if there are none, or the first is no picture.
        """
        if not len(frames):
            raise VideoError(f"{label} has no frames; {_ASK}")
        self.label = label
        self._frames = frames
        self.height, self.width = self._decode(0).shape[:2]

    @property
    def count(self) -> int:
        """Number of frames."""
        return len(self._frames)

    def read(self, index: int, keep: int) -> list[tuple[int, RGB]]:
        """Returns frame `index` alone; see `Source.read`."""
        image = self._decode(index)
        check_same_size(image, self.height, self.width, f"frame {index} of {self.label}")
        return [(index, image)]

    def fingerprint(self) -> str:
        """Returns the SHA-256 over the bytes of all frames."""
        digest = hashlib.sha256()
        for frame in self._frames:
            digest.update(hashlib.sha256(frame).digest())
        return digest.hexdigest()

    def _decode(self, index: int) -> RGB:
        what = f"frame {index} of {self.label}"
        frame = self._frames[index]
        if not isinstance(frame, bytes | memoryview):
            raise VideoError(f"{what} is a {type(frame).__name__} where encoded bytes should be; {_ASK}")
        try:
            with Image.open(io.BytesIO(frame)) as image:
                return as_rgb(image, what)
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise VideoError(f"{what} cannot be decoded ({error}); {_ASK}") from error


@dataclass(frozen=True, kw_only=True, eq=False)
class PickledPointSample(PointSample):
    """A sample whose frames lie in a pickle.

    Attributes:
        key: Its place in the file.
    """

    key: str | int

    def open(self) -> Video:
        """Returns the frames, decoded or viewed in the file one by one."""
        frames, _, _ = _entry(self.video, self.key)
        return _frames(frames, f"'{self.key}' of '{self.video}'")


def _frames(frames: Any, label: str) -> Video:
    """Returns the video of an entry: an array (t, h, w, 3), or encoded pictures."""
    encoded = isinstance(frames, list | tuple) or (isinstance(frames, np.ndarray) and frames.dtype.kind == "S")
    if not encoded and not isinstance(frames, np.ndarray):
        raise VideoError(f"{label} has a {type(frames).__name__} where frames should be; {_ASK}")
    return Video(EncodedFrames(frames, label) if encoded else frames)


def _entry(path: Path, key: str | int) -> tuple[Any, np.ndarray, np.ndarray]:
    """Returns the frames, points (n, t, 2) in [0, 1] and flags (n, t) of one entry of a file.

    Raises:
        SettingsError: naming the file and the entry, if something of it is missing or of the wrong kind.
    """
    entries, where = _entries(path), f"'{key}' of '{path}'"
    if not (isinstance(key, int) and key < len(entries) if isinstance(entries, list) else key in entries):
        raise SettingsError(f"there is no entry {where}; {_ASK}")
    entry = entries[key]  # type: ignore[index]
    if not isinstance(entry, dict) or not {"video", "points", "occluded"} <= entry.keys():
        raise SettingsError(f"{where} is no dictionary of video, points and occluded; {_ASK}")
    points, occluded = (np.asarray(_array(entry[name], name, where)) for name in ("points", "occluded"))
    if occluded.ndim != 2 or points.shape != (*occluded.shape, 2) or points.dtype.kind != "f":
        raise SettingsError(
            f"{where} has points of shape {points.shape} ({points.dtype}) and flags of {occluded.shape}; "
            "they should be (n, t, 2) floats and (n, t)"
        )
    return entry["video"], points, occluded.astype(bool)


def _array(value: Any, name: str, where: str) -> np.ndarray:
    if not isinstance(value, np.ndarray):
        raise SettingsError(f"{where} has a {type(value).__name__} as '{name}' where an array should be; {_ASK}")
    return value


def _entries(path: Path) -> Mapping[str | int, Any] | list[Any]:
    entries = read_pickle(path)
    if not isinstance(entries, dict | list) or not entries:
        raise SettingsError(f"'{path}' holds no videos but a {type(entries).__name__}; {_ASK}")
    if len(entries) > MOST_ENTRIES:
        raise SettingsError(f"'{path}' has {len(entries)} videos; {MOST_ENTRIES} are read")
    return entries


@dataclass(frozen=True)
class _Layout:
    """Where the pickles of a dataset are: a pattern, looked for in the folder given and in the one it unpacks to."""

    name: str
    folder: str
    pattern: str

    def files(self, root: Path) -> list[Path]:
        """Returns the pickles in order.

        Raises:
            SettingsError: if there is none.
        """
        for folder in (root, root / self.folder):
            if files := sorted(folder.glob(self.pattern)):
                return files
        raise SettingsError(f"'{root}' has no {self.pattern}, nor has '{root / self.folder}'; check --root")

    def keys(self, root: Path) -> dict[str, tuple[Path, str | int]]:
        """Returns where each sample is, by its name: a key of the file, or the number of the entry."""
        files = self.files(root)
        found: dict[str, tuple[Path, str | int]] = {}
        for path in files:
            entries = _entries(path)
            keys: list[str | int] = list(entries) if isinstance(entries, dict) else list(range(len(entries)))
            for key in keys:
                name = key if isinstance(key, str) else f"{key:05d}"
                inside(root, name, source=path)
                found[name if len(files) == 1 else f"{path.stem}/{name}"] = (path, key)
        return found

    def open(self, root: Path, name: str) -> PickledPointSample:
        """Returns one sample; raises `UndertowError` naming what is wrong with it."""
        path, key = self._place(root, name)
        frames, points, occluded = _entry(path, key)
        with _frames(frames, f"'{key}' of '{path}'") as video:
            size, count = (video.height, video.width), len(video)
        if count != occluded.shape[1]:
            raise SettingsError(f"'{key}' of '{path}' has {count} frames and flags on {occluded.shape[1]}; {_ASK}")
        return PickledPointSample(
            dataset=self.name,
            name=name,
            video=path,
            key=key,
            frames=tuple(f"{index:05d}" for index in range(count)),
            size=size,
            # Positions are shares of width and height, in float32; kept exact until they are scaled.
            tracks=points.astype(np.float64) * np.array(size[::-1], np.float64),
            occluded=occluded,
        )

    def _place(self, root: Path, name: str) -> tuple[Path, str | int]:
        """Returns where one sample is without reading the other files."""
        files = self.files(root)
        path, key = files[0], name
        if len(files) > 1:
            stem, _, key = name.partition("/")
            path = next((each for each in files if each.stem == stem), files[0])
        return path, int(key) if isinstance(_entries(path), list) and key.isdecimal() else key


def _dataset(layout: _Layout, title: str, source: str, counts: int) -> Dataset:
    def names(root: Path, split: str) -> Sequence[str]:
        return list(layout.keys(root))

    def open_one(root: Path, split: str, name: str) -> PickledPointSample:
        return layout.open(root, name)

    return Dataset(
        name=layout.name,
        task="points",
        title=title,
        source=source,
        tree=f"{layout.folder}/{layout.pattern}: pickles of {{video, points, occluded}} by name or in a list",
        names=names,
        open=open_one,
        rules=("first", "strided", "queries-at-0"),
        splits=("all",),
        counts=(("all", counts),),
    )


_PAGE = "https://github.com/google-deepmind/tapnet, section 'TAP-Vid'"
DATASETS = (
    _dataset(
        _Layout("tapvid-davis", "tapvid_davis", "tapvid_davis.pkl"),
        "TAP-Vid-DAVIS (Doersch et al., NeurIPS 2022)",
        f"{_PAGE}: tapvid_davis.zip; annotations CC BY 4.0, videos under the terms of DAVIS 2017",
        30,
    ),
    _dataset(
        _Layout("tapvid-rgb-stacking", "tapvid_rgb_stacking", "tapvid_rgb_stacking.pkl"),
        "TAP-Vid-RGB-Stacking, rendered (Doersch et al., NeurIPS 2022)",
        f"{_PAGE}: tapvid_rgb_stacking.zip; CC BY 4.0",
        50,
    ),
    _dataset(
        _Layout("tapvid-kinetics", "tapvid_kinetics", "*_of_0010.pkl"),
        "TAP-Vid-Kinetics (Doersch et al., NeurIPS 2022)",
        f"{_PAGE}: a list of tracks (CC BY 4.0) and a script that makes the ten pickles out of the clips of "
        "Kinetics-700, which every user has to fetch alone; 1189 of them were published, fewer can still be had",
        1189,
    ),
    _dataset(
        _Layout("robotap", "robotap", "robotap_split*.pkl"),
        "RoboTAP, real robot arms (Vecerik et al., ICRA 2024)",
        "https://github.com/google-deepmind/tapnet, section 'RoboTAP': robotap.zip; CC BY 4.0",
        265,
    ),
)
