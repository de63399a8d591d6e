"""OpenEXR: a half-float layer of alpha per object, and Cryptomatte, from which compositors pick objects by name.

Cryptomatte (Friedman and Jones, 2015) gives each pixel its objects in order of coverage, as pairs of (id, coverage) in
float32 channels, two pairs to a layer. An id is the MurmurHash3 of the object's name, read as a float.
"""

import errno
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from undertow.base import SettingsError, atomic_path
from undertow.export.exporter import Plan, Shot
from undertow.export.mattes import bytes_of
from undertow.export.pictures import Mattes

CRYPTO, RANKS = "CryptoObject", 6


class Exr(Mattes):
    """An EXR per frame, in one part: `LABEL.A` for each object, and Cryptomatte; with --fill the picture too."""

    template, fields, suffix = "{clip}.{frame:04d}", ("frame",), ".exr"

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan)
        self._library = _library()
        # Dots separate layers; equal names are distinguished by a number.
        names = [name.replace(".", "_") for name in plan.names.values()]
        unique = len(set(names)) == len(names)
        self.layers = {
            number: name if unique else f"{name}_{number}" for number, name in zip(plan.names, names, strict=True)
        }
        self.ids = list(plan.names)

    def done(self, shot: Shot) -> bool:
        """Returns whether the file of a frame is there."""
        return self.plan.file(self.suffix, shot).exists()

    def frame(self, shot: Shot) -> None:
        """Writes a frame."""
        alphas = {number: self.alpha(shot, number) for number in self.ids}
        channels: dict[str, Any] = {
            f"{self.layers[number]}.A": alpha.astype(np.float16) for number, alpha in alphas.items()
        }
        channels |= cryptomatte({self.layers[number]: alpha for number, alpha in alphas.items()})
        if self.plan.settings.fill != "matte":
            # EXR holds light, not sRGB.
            light = linear(shot.image)
            channels |= {name: np.ascontiguousarray(light[..., place]) for place, name in enumerate("RGB")}
        header = {
            "compression": self._library.ZIP_COMPRESSION,
            "type": self._library.scanlineimage,
            "framesPerSecond": self.plan.fps,
            **manifest(list(self.layers.values())),
        }
        path = self.plan.file(self.suffix, shot)
        with atomic_path(path) as temporary, self._library.File(header, channels) as file:
            try:
                file.write(str(temporary))
            except RuntimeError as error:
                # What the system said is in the text only.
                for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO):
                    if os.strerror(number) in str(error):
                        raise OSError(number, os.strerror(number), str(path)) from error
                raise
            self._check_whole(temporary, path)

    def _check_whole(self, temporary: Path, path: Path) -> None:
        """Raises OSError if a file is not all there: what fails as the library closes it, it does not say."""
        try:
            with self._library.File(str(temporary)):
                pass
        except Exception as error:  # whatever the library raises of a file that breaks off
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error

    def expected(self, shot: Shot) -> Mapping[int, np.ndarray]:
        """Returns the alpha that should be read back, as half floats hold it."""
        return {number: bytes_of(self.alpha(shot, number).astype(np.float16)) for number in self.ids}

    def back(self) -> Iterator[Mapping[int, np.ndarray]]:
        """Yields the alpha in the layers."""
        for shot in self.plan.shots():
            with self._library.File(str(self.plan.file(self.suffix, shot)), separate_channels=True) as file:
                found = {number: file.channels()[f"{layer}.A"].pixels for number, layer in self.layers.items()}
                yield {number: bytes_of(alpha) for number, alpha in found.items()}


def cryptomatte(alphas: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns the channels of ids and coverages, those that cover a pixel most coming first."""
    cover = np.stack(list(alphas.values()))
    ids = np.array([float_id(name) for name in alphas], np.float32)
    order = np.argsort(-cover, axis=0, kind="stable")[:RANKS]
    ranked = np.take_along_axis(cover, order, axis=0)
    named = np.where(ranked > 0, ids[order], np.float32(0))
    nothing = np.zeros(cover.shape[1:], np.float32)
    channels = {}
    for rank in range(RANKS):
        place, first, second = rank // 2, *(("R", "G") if rank % 2 == 0 else ("B", "A"))
        channels[f"{CRYPTO}{place:02d}.{first}"] = named[rank] if rank < len(named) else nothing
        channels[f"{CRYPTO}{place:02d}.{second}"] = ranked[rank] if rank < len(named) else nothing
    return channels


def manifest(names: list[str]) -> dict[str, str]:
    """Returns the entries of the header that say what ids are called."""
    key = f"cryptomatte/{murmur3(CRYPTO.encode()):08x}"[:19]
    ids = {name: f"{_number(name):08x}" for name in names}
    return {
        f"{key}/name": CRYPTO, f"{key}/hash": "MurmurHash3_32", f"{key}/conversion": "uint32_to_float32",
        f"{key}/manifest": json.dumps(ids, ensure_ascii=False),
    }  # fmt: skip


def float_id(name: str) -> float:
    """Returns the id of a name."""
    return float(np.array(_number(name), np.uint32).view(np.float32))


def murmur3(data: bytes) -> int:
    """Returns the 32-bit MurmurHash3 (Appleby) with seed 0.

    >>> hex(murmur3(b"hello"))
    '0x248bfa47'
    """
    value, mask = 0, 0xFFFFFFFF
    whole = len(data) // 4 * 4
    blocks = [int.from_bytes(data[at : at + 4], "little") for at in range(0, whole, 4)]
    for place, block in enumerate([*blocks, int.from_bytes(data[whole:], "little")]):
        block = block * 0xCC9E2D51 & mask
        block = (block << 15 | block >> 17) * 0x1B873593 & mask
        value ^= block
        if place < len(blocks):
            value = ((value << 13 | value >> 19) & mask) * 5 + 0xE6546B64 & mask
    value ^= len(data)
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35), (16, 1)):
        value = (value ^ value >> shift) * factor & mask
    return value


def linear(image: np.ndarray) -> np.ndarray:
    """Returns sRGB as light, in half floats."""
    value = image / np.float32(255)
    light = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    return light.astype(np.float16)


def _number(name: str) -> int:
    """Returns the hash of a name, with an exponent that makes it a usual float."""
    number = murmur3(name.encode())
    return number ^ 1 << 23 if number >> 23 & 255 in (0, 255) else number


def _library() -> Any:
    try:
        import OpenEXR
    except ImportError as error:
        raise SettingsError('EXR needs the package OpenEXR; pip install "undertow[export]"') from error
    return OpenEXR
