"""Checkpoints of fine-tuned generators as their authors keep them, made folders that `load` takes.

A checkpoint of torch is an archive of a pickle, which says what the tensors are, and of their numbers. The pickle is
read by the interpreter of `undertow.benchmarks.core.pickles`, with a few names more that stand for tensors, for
dictionaries that keep an order, and for settings, which are left out; nothing of it runs. The numbers are views into
the file.
"""

import struct
import zipfile
from collections.abc import Callable, Mapping
from enum import Enum
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from undertow.backbones.fine_tuning import FineTuning, write_fine_tuning
from undertow.base import SettingsError
from undertow.benchmarks.core.pickle_arrays import Refusal
from undertow.benchmarks.core.pickles import Machine

MOST_PICKLE = 256 << 20
_TYPES = {
    "FloatStorage": torch.float32, "HalfStorage": torch.float16, "BFloat16Storage": torch.bfloat16,
    "DoubleStorage": torch.float64, "LongStorage": torch.int64, "IntStorage": torch.int32, "BoolStorage": torch.bool,
    "ByteStorage": torch.uint8,
}  # fmt: skip


class Torch(Enum):
    """What a name of a checkpoint stands for; it is compared, never called."""

    TENSOR, PARAMETER, ORDERED, SETTINGS = range(4)


_NAMES: Mapping[tuple[str, str], Any] = {
    ("torch._utils", "_rebuild_tensor_v2"): Torch.TENSOR,
    ("torch._utils", "_rebuild_parameter"): Torch.PARAMETER,
    ("collections", "OrderedDict"): Torch.ORDERED,
    ("argparse", "Namespace"): Torch.SETTINGS,
    **{("torch", name): kind for name, kind in _TYPES.items()},
}

# How REM's authors name the denoiser in a checkpoint, and how it was trained; text is padded to 77 with both.
_REM = {"pad_tokens": 77, "size": (512, 512)}
LAYOUTS: Mapping[str, tuple[tuple[str, str], dict[str, Any]]] = {
    "unet": (("unet", ""), {**_REM, "t0_noise": "ddpm", "window": 72}),
    "dit": (("model_state", "backbone.dit."), {**_REM, "window": 73}),
}


def read_checkpoint(path: Path) -> Any:
    """Returns the value in a checkpoint of torch; tensors are views into the file and must not be written to.

    Raises:
        SettingsError: naming the file, if it is missing, damaged, of another kind, or asks for anything but tensors and
            plain values; in that case nothing of it has run.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            pickles = [each for each in archive.infolist() if each.filename.count("/") == 1]
            [said] = [each for each in pickles if each.filename.endswith("/data.pkl")]
            if said.file_size > MOST_PICKLE:
                raise Refusal(f"its pickle has {said.file_size} bytes")
            root = said.filename.removesuffix("data.pkl")
            machine = _Checkpoint(archive.read(said), _numbers(path, archive, root))
            return machine.run()
    except Refusal as refusal:
        raise SettingsError(f"'{path}' is not read: {refusal}") from None
    except (
        OSError,
        zipfile.BadZipFile,
        LookupError,
        ValueError,
        TypeError,
        OverflowError,
        RuntimeError,
        struct.error,
    ) as error:
        raise SettingsError(f"'{path}' is no checkpoint of torch, or damaged ({error}); fetch it again") from error


def convert_checkpoint(path: Path, backbone: str, out: Path) -> FineTuning:
    """Writes a folder that `load` takes, of a checkpoint by REM's authors; returns what it says of the model.

    Args:
        path: The checkpoint, of either layout: `{"unet": ...}`, or `{"model_state": {"backbone.dit.*": ...}}`.
        backbone: The model that was fine-tuned, as `load` takes it.
        out: The folder.

    Raises:
        SettingsError: if the file is not read, or has neither layout.
    """
    value = read_checkpoint(path)
    for (key, prefix), facts in LAYOUTS.values():
        held = value.get(key) if isinstance(value, dict) else None
        if not isinstance(held, dict):
            continue
        named = {str(name): each for name, each in held.items() if isinstance(each, Tensor)}
        weights = {name.removeprefix(prefix): each for name, each in named.items() if name.startswith(prefix)}
        if weights:
            about = FineTuning(backbone, **facts)
            write_fine_tuning(out, about, weights)
            return about
    raise SettingsError(f"'{path}' has no denoiser under 'unet' or 'model_state'; give a checkpoint of REM's authors")


def _numbers(path: Path, archive: zipfile.ZipFile, root: str) -> Callable[[str, torch.dtype, int], Tensor]:
    """Returns what gives the numbers of a storage, as a view into the file."""

    def view(key: str, kind: torch.dtype, count: int) -> Tensor:
        entry = archive.getinfo(f"{root}data/{key}")
        if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != count * kind.itemsize:
            raise Refusal(f"its storage '{key}' has {entry.file_size} bytes, not {count} numbers of {kind}")
        if not count:
            return torch.empty(0, dtype=kind)
        # The numbers begin behind a header of the entry's own, which ends with its name and something more.
        with path.open("rb") as file:
            file.seek(entry.header_offset + 26)
            start = entry.header_offset + 30 + sum(struct.unpack("<HH", file.read(4)))
        raw = np.memmap(path, np.uint8, "c", start, entry.file_size)
        return torch.from_numpy(raw).view(kind)

    return view


class _Checkpoint(Machine):
    """The stack machine of pickles, which knows tensors besides."""

    def __init__(self, data: bytes, numbers: Callable[[str, torch.dtype, int], Tensor]) -> None:
        super().__init__(data)
        self._numbers = numbers

    def _actions(self) -> dict[str, Callable[..., object]]:
        own = {"BINPERSID": self._storage, "NEWOBJ": lambda: self._call(*self._popped(2))}
        return super()._actions() | own | {"REDUCE": lambda: self._call(*self._popped(2))}

    def _look_up(self, module: Any, name: Any) -> None:
        if isinstance(module, str) and isinstance(name, str) and (module, name) in _NAMES:
            self._push(_NAMES[module, name])
        else:
            super()._look_up(module, name)

    def _storage(self) -> None:
        [said] = self._popped(1)
        word, kind, key, _, count = said
        if word != "storage" or not isinstance(kind, torch.dtype) or type(count) is not int or not str(key).isdecimal():
            raise Refusal("it refers to something that is no storage")
        self._push(self._numbers(str(key), kind, count))

    def _call(self, name: Any, given: Any) -> None:
        if name in (Torch.ORDERED, Torch.SETTINGS) and given == ():
            self._push({})
        elif name is Torch.PARAMETER:
            self._push(given[0])
        elif name is Torch.TENSOR:
            self._push(_strided(*given[:4]))
        else:
            raise Refusal("it calls something that makes no tensor")

    def _build(self) -> None:
        # What is set on a dictionary that keeps an order, or on settings, says nothing of the weights.
        target, state = self._popped(2)
        if not isinstance(target, dict) or not isinstance(state, dict):
            raise Refusal("it sets attributes of something that has none")
        self._push(target)


def _strided(numbers: Any, offset: Any, size: Any, strides: Any) -> Tensor:
    """Returns a tensor over numbers that are all there."""
    lengths = [offset, *size, *strides]
    if not isinstance(numbers, Tensor) or not all(type(each) is int and each >= 0 for each in lengths):
        raise Refusal("it has a tensor that is not made of numbers, a place and a shape")
    last = offset + sum((length - 1) * stride for length, stride in zip(size, strides, strict=True))
    if prod(size) and last >= len(numbers):
        raise Refusal(f"it declares a tensor of shape {tuple(size)}, but has {len(numbers)} numbers of it")
    return numbers.as_strided(size, strides, offset)
