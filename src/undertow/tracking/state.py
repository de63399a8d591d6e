"""A tracker's memory as named tensors, exactly: an argmax cannot be continued from, soft labels and keys can."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from undertow.base import SettingsError
from undertow.observing.flow import Grey
from undertow.tracking.memory import Memory, Origins, Reference

_PARTS = ("keys", "labels", "known", "own", "places", "colours")
_ORIGINS = "origins."


class Snapshot(NamedTuple):
    """What a tracker goes on from.

    Attributes:
        ids: Object ids, in the order of the channels after the background.
        size: Height and width of the frames in pixels.
        next: Number that the next frame of `step` gets.
        memory: The references.
        picture: The last frame as motion sees it; None if nothing is followed.
    """

    ids: tuple[int, ...]
    size: tuple[int, int]
    next: int
    memory: Memory
    picture: Grey | None = None


def pack(snapshot: Snapshot) -> dict[str, Tensor]:
    """Returns a snapshot as tensors on the CPU, by names such as "anchor.0.keys" and "recent.2.labels"."""
    tensors = {
        "ids": torch.tensor(snapshot.ids, dtype=torch.int64),
        "size": torch.tensor(snapshot.size),
        "next": torch.tensor(snapshot.next),
        "seen": torch.tensor(snapshot.memory.seen),
    }
    if snapshot.picture is not None:
        tensors["picture"] = torch.from_numpy(snapshot.picture)
    memory = snapshot.memory
    tensors |= _named(memory.origins)
    for kind, references in (("anchor", memory.anchors), ("recent", memory.recent), ("distant", memory.distant)):
        tensors[kind] = torch.tensor([reference.index for reference in references], dtype=torch.int64)
        for place, reference in enumerate(references):
            parts = {part: getattr(reference, part) for part in _PARTS}
            parts |= _named(reference.origins)
            tensors |= {f"{kind}.{place}.{part}": each for part, each in parts.items() if each is not None}
    held: set[int] = set()
    return {name: _alone(tensor.detach().cpu().contiguous(), held) for name, tensor in tensors.items()}


def _alone(tensor: Tensor, held: set[int]) -> Tensor:
    """Returns a tensor that shares no memory with those that came before: a file may not hold one twice."""
    if tensor.untyped_storage().data_ptr() in held:
        tensor = tensor.clone()
    held.add(tensor.untyped_storage().data_ptr())
    return tensor


def unpack(tensors: Mapping[str, Tensor], device: torch.device | str = "cpu") -> Snapshot:
    """Returns the snapshot that `pack` made tensors of.

    Args:
        tensors: What `pack` returned.
        device: Where keys are to live; labels stay on the CPU.

    Raises:
        SettingsError: if these are not the tensors of a tracker.
    """
    try:
        anchors, recents, distant = (
            tuple(_references(tensors, kind, device)) for kind in ("anchor", "recent", "distant")
        )
        memory = Memory(len(recents), anchors, recents, distant, _origins(tensors), int(tensors["seen"]))
        height, width = (int(side) for side in tensors["size"])
        ids, picture = tuple(int(i) for i in tensors["ids"]), tensors.get("picture")
        shown = None if picture is None else picture.numpy()
        return Snapshot(ids, (height, width), int(tensors["next"]), memory, shown)
    except (KeyError, ValueError, TypeError) as error:
        raise SettingsError(f"this is not the state of a tracker (no {error}); start the run anew") from error


def _references(tensors: Mapping[str, Tensor], kind: str, device: torch.device | str) -> Sequence[Reference]:
    found = []
    for place, index in enumerate(tensors[kind]):
        stem = f"{kind}.{place}."
        found.append(
            Reference(
                int(index),
                tensors[stem + "keys"].to(device),
                tensors[stem + "labels"],
                tensors[stem + "known"],
                tensors.get(stem + "own"),
                tensors.get(stem + "places"),
                _origins(tensors, stem),
                tensors.get(stem + "colours"),
            )
        )
    return found


def _named(origins: Origins) -> dict[str, Tensor]:
    return {f"{_ORIGINS}{index}": each for index, each in origins.items()}


def _origins(tensors: Mapping[str, Tensor], stem: str = "") -> Origins:
    """Returns the origins under names that begin with `stem`."""
    begin = stem + _ORIGINS
    return {int(name.removeprefix(begin)): each for name, each in tensors.items() if name.startswith(begin)}
