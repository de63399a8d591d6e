"""What frames gave once, on disk: found again by everything that decides it, by any run with any model.

An entry is named by a digest of what it was made of (the model's weights, the settings, the pixels or vectors
themselves) and of the versions of torch and of what is kept here, so it is right whenever it is found.
"""

import hashlib
import logging
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from undertow.affinity import Affinity, KernelSettings, compute_affinity
from undertow.base import write_tensors
from undertow.observing.store import Tensors

log = logging.getLogger(__name__)

CAP = 16 << 30
# To be raised when the same parts make other tensors than before.
FORMAT = 1
# Between two looks at how much there is, this share of the cap is written.
SHARE = 16


class Cache:
    """A folder of tensors that several processes may share; those used least recently leave when it is full.

    Entries are written in one step, so that a reader finds all of one or nothing. One that cannot be read is made
    again. A cache that cannot be written to, because the disk is full or for another reason, says so once and is read
    only from then on.

    Args:
        folder: Where entries are; made with the first.
        cap: Most bytes that entries may take.
    """

    def __init__(self, folder: Path, cap: int = CAP) -> None:
        self.folder, self.cap = folder, cap
        self._writable, self._written = True, cap
        self._digests = WeakTensorKeyDictionary()

    def recall(self, parts: Sequence[object], make: Callable[[], Tensors]) -> Tensors:
        """Returns the tensors that `make` gives, or gave before: on the CPU, in memory of their own.

        Args:
            parts: Everything that decides them; tensors and arrays count by their content, all else as its repr says.
            make: Makes the tensors.
        """
        digest = hashlib.sha256(f"{FORMAT} {torch.__version__}".encode())
        for part in parts:
            digest.update(self._digest(part))
        path = self.folder / digest.hexdigest()[:2] / f"{digest.hexdigest()}.safetensors"
        with suppress(OSError, SafetensorError, ValueError):
            found: Tensors = load_file(path)
            os.utime(path)
            return found
        made = {name: each.cpu().contiguous() for name, each in make().items()}
        if self._writable:
            try:
                write_tensors(path, made)
                self._written += path.stat().st_size
                if self._written >= self.cap / SHARE:
                    self._written = 0
                    self._tidy()
            except OSError as error:
                self._writable = False
                log.warning("the cache in '%s' is no longer added to: %s", self.folder, error.strerror or error)
        return made

    def _digest(self, part: object) -> bytes:
        """Returns what tells a part from others; that of a tensor is remembered for as long as it lives."""
        if isinstance(part, np.ndarray):
            return hashlib.sha256(f"{part.dtype} {part.shape}".encode() + np.ascontiguousarray(part).data).digest()
        if not isinstance(part, Tensor):
            return hashlib.sha256(repr(part).encode()).digest()
        if part not in self._digests:
            self._digests[part] = self._digest(part.detach().cpu().float().numpy())
        known: bytes = self._digests[part]
        return known

    def _tidy(self) -> None:
        """Removes the entries used least recently until nine tenths of the cap are left."""
        entries = []
        for path in self.folder.glob("*/*.safetensors"):
            # Another process may have removed it.
            with suppress(FileNotFoundError):
                state = path.stat()
                entries.append((state.st_mtime, state.st_size, path))
        total = sum(size for _, size, _ in entries)
        if total <= self.cap:
            return
        for _, size, path in sorted(entries):
            path.unlink(missing_ok=True)
            total -= size
            if total <= 0.9 * self.cap:
                return


def cache_at(folder: Path | None) -> Cache | None:
    """Returns the cache in a folder; `None` if none is wanted."""
    return None if folder is None else Cache(folder)


def recall_affinity(
    cache: Cache | None,
    queries: Float[Tensor, "a s d"],
    references: Sequence[Float[Tensor, "a s d"]],
    grid: tuple[int, int],
    settings: KernelSettings,
    head_weights: Float[Tensor, "a"] | None = None,
    places: Sequence[Float[Tensor, "3 s"] | None] | None = None,
    wanted: Bool[Tensor, "s"] | None = None,
) -> Affinity:
    """Returns what `compute_affinity` does, from a cache if there is one.

    The kernel of a frame depends on no label: a second object, or another mask of the same frame, has the same. So it
    is made and kept whole, whatever is wanted of it this time.
    """
    if cache is None:
        return compute_affinity(queries, references, grid, settings, head_weights, places, wanted)

    def make() -> Tensors:
        made = compute_affinity(queries, references, grid, settings, head_weights, places)
        return {"indices": made.indices.int(), "weights": made.weights, "mass": made.mass}

    machine = queries.device.type, torch.get_num_threads()
    parts = ["affinity", machine, grid, settings, len(references), queries, *references]
    parts += [None if head_weights is None else head_weights.tolist(), *(places or ())]
    kept = cache.recall(parts, make)
    device = queries.device
    whole = Affinity(*(kept[name].to(device) for name in ("indices", "weights", "mass")))
    return whole if wanted is None else whole.only(wanted)
