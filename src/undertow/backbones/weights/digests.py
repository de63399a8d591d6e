"""Whether weight files are the ones meant: their sha256 against what a card pins and what the hub said they are."""

import hashlib
import os
import re
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from undertow.backbones.weights.layout import Layout, weight_files

_SHA256 = re.compile(r"[0-9a-f]{64}")


class ModelSource(Protocol):
    """Where the weights of a model come from; every card of a model says at least this."""

    @property
    def name(self) -> str:
        """What users call the model."""

    @property
    def sources(self) -> tuple[tuple[str, str | None], ...]:
        """The (repository, revision) pairs of the hub that hold the weights, best first; `None` is the newest."""

    @property
    def sha256(self) -> Mapping[str, str]:
        """Digests of weight files by their path in the repository."""

    @property
    def embedded(self) -> str:
        """Folder of this package that holds the weights; empty if they are not shipped."""


def digests_of(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """Returns the sha256, in hexadecimal digits, of the files called `names` inside `folder`, by name."""
    names = list(names)
    # Hashing lets go of the interpreter, so that the files of one model are read side by side.
    with ThreadPoolExecutor(4) as pool:
        return dict(zip(names, pool.map(lambda name: _sha256(folder / name), names), strict=True))


@dataclass(frozen=True)
class Mismatch:
    """A file that is not the one meant.

    Attributes:
        file: Which one.
        reason: Why, as half a sentence.
        damaged: Whether it differs from what the hub said it is, so that downloading it again may help.
    """

    file: Path
    reason: str
    damaged: bool = False


def find_mismatch(
    card: ModelSource, path: Path, said: Mapping[str, str] | None = None, layout: Layout = "diffusers"
) -> Mismatch | None:
    """Returns the first of the weights of `path` that are not those meant, or `None` if all are.

    Every weight file is compared with the digest that `card` pins, and with the one the hub gave for it. If a card pins
    one file of a component, then it must pin each weight file that is there: weights under another name would be
    weights that nobody vouched for. What the hub said is by path inside the folder; `None` is what its cache remembers.
    """
    if path.is_file():
        folder, pins, weights = path.parent, {k: v for k, v in card.sha256.items() if k == path.name}, []
    else:
        folder, weights = path, weight_files(path, layout)
        # The files of a component lie in its folder; what a card pins beside the folders is a single file of it all.
        pins = {k: v for k, v in card.sha256.items() if layout == "transformers" or "/" in k}
    for name in pins:
        if not (folder / name).is_file():
            return Mismatch(folder / name, f"{folder} has no {name}, which '{card.name}' pins")
    components = {name.rpartition("/")[0] for name in pins}
    for name in weights:
        if name.rpartition("/")[0] in components and name not in pins:
            reason = f"{folder} has {name}, which is not among the files that '{card.name}' pins"
            return Mismatch(folder / name, reason)
    said = hub_digests(folder, weights) if said is None else said
    for name, found in digests_of(folder, dict.fromkeys((*pins, *said))).items():
        for who, expected in (("the hub has", said.get(name)), (f"'{card.name}' pins", pins.get(name))):
            if expected not in (None, found):
                reason = f"{folder / name} has sha256 {found[:12]}… where {who} {expected[:12]}…"
                return Mismatch(folder / name, reason, damaged=who == "the hub has")
    return None


def hub_digests(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """Returns the sha256 that the hub gave for the files called `names` of a cached snapshot, by name.

    The cache keeps large files under their sha256, and a snapshot holds links to them. Elsewhere the answer is empty.
    """
    said = {}
    for name in names:
        if (folder / name).is_symlink() and _SHA256.fullmatch(kept := Path(os.readlink(folder / name)).name):
            said[name] = kept
    return said


def _sha256(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
