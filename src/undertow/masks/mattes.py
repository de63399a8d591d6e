"""Mattes as masks: label maps that also know how much of each pixel their objects cover."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from jaxtyping import UInt8

from undertow.base import MaskError
from undertow.masks.files import numbers_in
from undertow.masks.pictures import mattes_in


class SoftLabelMap(np.ndarray):
    """A label map of objects with soft edges, in which a pixel has the id of what covers most of it.

    It is a label map like any other, and what is computed from it has no soft edges; only `soft_one_hot` asks for the
    soft edges.

    Attributes:
        cover: How much of each pixel each object covers, of 255, by id; together at most 255.
    """

    cover: Mapping[int, UInt8[np.ndarray, "h w"]]

    def __new__(cls, cover: Mapping[int, UInt8[np.ndarray, "h w"]]) -> Self:
        """Returns the map of at least one object; where several share a pixel of more than 255, each gets less."""
        total = sum((each.astype(np.float32) for each in cover.values()), np.float32(0))
        share = 255 / np.maximum(total, 255)
        fair = {number: (cover[number] * share).astype(np.uint8) for number in sorted(cover)}
        rest = 255 - np.minimum(total, 255)
        ids = np.array([0, *fair], np.uint16)
        labels = ids[np.argmax([rest, *(each.astype(np.float32) for each in fair.values())], axis=0)].view(cls)
        labels.cover = fair
        return labels

    def __array_finalize__(self, source: Any) -> None:
        """Gives what is made of a map no soft edges of its own, since they would not be those of another map."""
        self.cover = {}


def read_mattes(paths: Sequence[Path | str], size: tuple[int, int] | None = None) -> SoftLabelMap:
    """Returns the map of one or several mattes, each of an object.

    Grey, RGBA, JPEG, RGB, TIFF of floats and OpenEXR are read; of OpenEXR each layer of alpha is an object. Ids are the
    numbers that names end in if all do and differ (`dog-2.png`, layer `object_2.A`), and otherwise 1, 2, 3.

    Args:
        paths: The files.
        size: (height, width) of the video, `None` for any.

    Raises:
        MaskError: if a file cannot be read, is of another size, or shows nothing.
    """
    found = [(f"mask '{path}'", name, matte) for path in paths for name, matte in mattes_in(Path(path), size).items()]
    shape = found[0][2].shape
    for source, _, matte in found:
        if matte.shape != shape:
            raise MaskError(f"{source} is of another size than '{paths[0]}'; export all mattes at the video's size")
        if not matte.any():
            raise MaskError(f"{source} is all black; leave it out or mark its object")
    ids = numbers_in([name for _, name, _ in found]) if len(found) > 1 else [1]
    return SoftLabelMap({number: matte for number, (_, _, matte) in zip(ids, found, strict=True)})
