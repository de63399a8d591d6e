"""Tensors by name: the latest in memory, the rest on disk, so that memory does not grow with the video."""

import tempfile
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from undertow.base import write_tensors

MEMORY = 1 << 30

Tensors = Mapping[str, Tensor]


class TensorStore:
    """Keeps groups of tensors, such as the features of one frame, under names that can be file names.

    What no longer fits in memory goes to files. In a folder of the user's, everything is written at once, so that an
    interrupted run finds it again; without one, a temporary folder takes what has to leave memory.
    """

    def __init__(self, folder: Path | None = None, memory: int = MEMORY) -> None:
        """Opens a store that keeps `memory` bytes, beside one group, and writes and finds tensors in `folder`."""
        self._memory = memory
        self._kept: OrderedDict[str, Tensors] = OrderedDict()
        self._used = 0
        self._folder = folder
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        self._written: set[str] = set()
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            self._written = {path.stem for path in folder.glob("*.safetensors") if not path.name.startswith(".")}

    def put(self, name: str, tensors: Tensors) -> None:
        """Takes a group."""
        if self._folder is not None:
            self._write(name, tensors)
        self._keep(name, tensors)

    def get(self, name: str) -> Tensors:
        """Returns a group.

        Raises:
            KeyError: if it is not there.
        """
        if name in self._kept:
            self._kept.move_to_end(name)
            return self._kept[name]
        if name not in self._written:
            raise KeyError(name)
        tensors = load_file(self._path(name))
        self._keep(name, tensors)
        return tensors

    def holds(self, name: str) -> bool:
        """Tells whether a group is there and can be read; what a damaged file held is forgotten."""
        try:
            self.get(name)
        except (OSError, SafetensorError, KeyError, ValueError):
            self._written.discard(name)
            return False
        return True

    def drop(self, name: str) -> None:
        """Forgets a group, and deletes its file."""
        if name in self._kept:
            self._used -= _bytes(self._kept.pop(name))
        if name in self._written:
            self._path(name).unlink(missing_ok=True)
            self._written.discard(name)

    def forget(self) -> None:
        """Forgets everything; files in the user's folder are replaced when their names are used again."""
        self._kept.clear()
        self._used = 0
        self._written.clear()

    def close(self) -> None:
        """Lets go of everything in memory and of the temporary folder; files in the user's folder stay."""
        self._kept.clear()
        self._used = 0
        if self._temporary is not None:
            self._temporary.cleanup()
            self._temporary = None
            self._written.clear()

    def _keep(self, name: str, tensors: Tensors) -> None:
        if name in self._kept:
            self._used -= _bytes(self._kept.pop(name))
        self._kept[name] = tensors
        self._used += _bytes(tensors)
        while self._used > self._memory and len(self._kept) > 1:
            oldest, leaving = self._kept.popitem(last=False)
            self._used -= _bytes(leaving)
            if oldest not in self._written:
                self._write(oldest, leaving)

    def _write(self, name: str, tensors: Tensors) -> None:
        write_tensors(self._path(name), {key: tensor.contiguous() for key, tensor in tensors.items()})
        self._written.add(name)

    def _path(self, name: str) -> Path:
        folder = self._folder
        if folder is None:
            if self._temporary is None:
                self._temporary = tempfile.TemporaryDirectory(prefix="undertow-")
            folder = Path(self._temporary.name)
        return folder / f"{name}.safetensors"


def _bytes(tensors: Tensors) -> int:
    return sum(tensor.nbytes for tensor in tensors.values())
