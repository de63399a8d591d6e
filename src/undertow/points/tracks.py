"""`Tracks`: where queried points are on every frame, and the file that holds it."""

import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Float64
from numpy.lib import format as npy

from undertow.base import SettingsError, atomic_path


@dataclass(frozen=True, eq=False)
class Tracks:
    """Where queried points are on every frame.

        tracks.tracks[3, tracks.visibility[3]]  # where point 3 is, on the frames that show it

    Attributes:
        tracks: (x, y) in pixels of the video; the centre of the top-left pixel is (0.5, 0.5).
        visibility: Whether each point is visible.
        confidence: Confidence of each visibility, in [0, 1]; `None` if the method has none.
        queries: (t, x, y) of every query, with the frame counted among those tracked; `None` if they are
            known elsewhere.
    """

    tracks: Float32[np.ndarray, "q t 2"]
    visibility: Bool[np.ndarray, "q t"]
    confidence: Float32[np.ndarray, "q t"] | None = None
    queries: Float64[np.ndarray, "q 3"] | None = None

    def check(self, count: int, length: int, source: str) -> "Tracks":
        """Returns the tracks in their number types.

        Raises:
            SettingsError: naming `source`, if shapes are not those of `count` points on `length` frames, values are
                not numbers or flags, or a position is not finite.
        """
        arrays = {"tracks": np.asarray(self.tracks), "visibility": np.asarray(self.visibility)}
        if self.confidence is not None:
            arrays["confidence"] = np.asarray(self.confidence)
        for name, array in arrays.items():
            check_array(name, array.shape, array.dtype, count, length, source)
        for name in arrays.keys() - {"visibility"}:
            broken = ~np.isfinite(arrays[name].reshape(*arrays[name].shape[:2], -1)).all(-1)
            if broken.any():
                point, frame = np.argwhere(broken)[0]
                raise SettingsError(f"{source} has no finite '{name}' for point {point} on frame {frame}; give numbers")
        confidence = arrays.get("confidence")
        return Tracks(
            arrays["tracks"].astype(np.float32),
            arrays["visibility"].astype(bool),
            None if confidence is None else confidence.astype(np.float32),
            self.queries,
        )


def check_array(name: str, shape: tuple[int, ...], kind: np.dtype[Any], count: int, length: int, source: str) -> None:
    """Raises `SettingsError` unless an array of tracks has the shape and type it must have."""
    wanted = (count, length, 2) if name == "tracks" else (count, length)
    if tuple(shape) != wanted:
        raise SettingsError(
            f"{source} has '{name}' of shape {tuple(shape)}; {count} points on {length} frames need {wanted}"
        )
    if kind.kind not in ("bui" if name == "visibility" else "fiu"):
        raise SettingsError(
            f"{source} has '{name}' of type {kind}; give {'booleans' if wanted[2:] == () else 'floats'}"
        )


def read_tracks(path: Path, count: int, length: int) -> Tracks:
    """Returns the tracks in an .npz file, whose headers are looked at before anything large is read.

    Args:
        path: A file with `tracks` (q, t, 2) and `visibility` (q, t), and perhaps `confidence` (q, t).
        count: How many points q were asked for.
        length: How many frames t there are.

    Raises:
        SettingsError: naming the file, if it is missing, damaged, incomplete or of another shape.
    """
    source = f"'{path}'"
    if not path.is_file():
        raise SettingsError(f"the tracks {source} are missing; give one .npz file for each sample")
    try:
        with zipfile.ZipFile(path) as archive:
            names = {name.removesuffix(".npy") for name in archive.namelist()}
            for name in ("tracks", "visibility"):
                if name not in names:
                    raise SettingsError(f"{source} has no array '{name}'; give tracks (q, t, 2) and visibility (q, t)")
            for name in sorted(names & {"tracks", "visibility", "confidence"}):
                with archive.open(f"{name}.npy") as member:
                    version = npy.read_magic(member)
                    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
                    shape, _, kind = read(member)
                check_array(name, shape, kind, count, length, source)
        with path.open("rb") as handle, np.load(handle) as arrays:
            confidence = arrays["confidence"] if "confidence" in names else None
            found = Tracks(arrays["tracks"], arrays["visibility"], confidence)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise SettingsError(f"{source} is not a readable .npz file ({error}); write it again") from error
    return found.check(count, length, source)


def write_tracks(path: Path, tracks: Tracks) -> None:
    """Writes tracks as an .npz file, atomically; equal tracks give equal bytes."""
    arrays: dict[str, Any] = {"tracks": tracks.tracks, "visibility": tracks.visibility}
    if tracks.confidence is not None:
        arrays["confidence"] = tracks.confidence
    if tracks.queries is not None:
        arrays["queries"] = tracks.queries
    with atomic_path(path) as temporary:
        np.savez_compressed(temporary, allow_pickle=False, **arrays)
