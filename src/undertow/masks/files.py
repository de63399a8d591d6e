"""Mask files in and out: pixels become ids by stated rules, and a written map reads back as it was."""

import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Shaped, UInt8
from PIL import Image

from undertow.base import MaskError, atomic_path
from undertow.masks.colours import Colour, ColourTable, labels_from_colours, palette, table_of_colours
from undertow.masks.labels import (
    VOID,
    LabelMap,
    check_known,
    check_label_map,
    check_size,
    labels_from_grey,
    listed,
    on_slope,
)
from undertow.masks.pictures import Kind, brightness, image_values, read_pixels

PALETTE_VOID = 255


def read_label_map(
    path: Path | str,
    *,
    size: tuple[int, int] | None = None,
    mask_colors: bool | Mapping[Colour, int] = False,
    known_ids: Collection[int] | None = None,
    threshold: int | None = None,
) -> LabelMap:
    """Returns the label map of a mask file; values are never interpolated, thresholded or renumbered by accident.

        labels = read_label_map("first.png")  # uint16 (h, w)

    * palette PNG: by index, 255 being void; a palette of nothing but greys counts as grey, one of DAVIS's colours at
      other places as DAVIS's, and one that has black somewhere else than in front as RGB;
    * transparent pixels are background;
    * one-bit: object 1;
    * grey of 8 or 16 bits: black and white is object 1, else values are ids (`labels_from_grey` has the rules);
    * RGB of three equal channels: as grey; other RGB: only with `mask_colors`: `True` to take the file's own
      `colour_table`, or a table made from several files.

    Args:
        path: A PNG, BMP or TIFF file.
        size: (height, width) of the video, `None` for any.
        mask_colors: Whether colours are ids, or the table from colours to ids.
        known_ids: The only ids allowed, `None` for any.
        threshold: Least grey level (1 to 255) of object 1, for masks with soft edges in any format.

    Raises:
        MaskError: naming the file and what is wrong: unreadable, lossy, another size, soft edges, unknown ids.
    """
    source = f"mask '{path}'"
    if threshold is not None:
        inside: Bool[np.ndarray, "h w"] = brightness(Path(path), size) >= threshold
        return check_known(inside.astype(np.uint16), known_ids, source)
    pixels, kind = read_pixels(Path(path), size)
    return _labels(pixels, kind, source, mask_colors, known_ids)


def given_label_map(mask: Any, *, size: tuple[int, int] | None, source: str) -> LabelMap:
    """Returns the label map of a mask given in Python: an array, a torch tensor or a Pillow image.

    Raises:
        MaskError: if it is something else, or no label map of this size.
    """
    if isinstance(mask, Image.Image):
        check_size((mask.height, mask.width), size, source)
        return _labels(*image_values(mask, source), source, False, None)
    if hasattr(mask, "detach"):
        mask = mask.detach().cpu().numpy()
    if not isinstance(mask, np.ndarray):
        raise MaskError(f"{source} is a {type(mask).__name__}; give a path, an array, a tensor or a Pillow image")
    return check_label_map(mask, size=size, source=source)


def _labels(
    pixels: Shaped[np.ndarray, "h w ..."],
    kind: Kind,
    source: str,
    mask_colors: bool | Mapping[Colour, int],
    known_ids: Collection[int] | None,
) -> LabelMap:
    """Returns the ids that the values of an image stand for."""
    if kind == "colour":
        if mask_colors is False:
            raise MaskError(
                f"{source} is RGB-coded; pass --mask-colors to turn its colours into ids, --mask-threshold 128 or "
                "--soft to treat bright pixels as the object, or save a palette"
            )
        table = table_of_colours({source: pixels}) if mask_colors is True else mask_colors
        return check_known(labels_from_colours(pixels, table, source), known_ids, source)
    if kind in ("grey", "grey3"):
        return labels_from_grey(pixels, source, known_ids)
    labels = pixels.astype(np.uint16)
    if kind == "index":
        labels[pixels == PALETTE_VOID] = VOID
    return check_known(labels, known_ids, source)


def colour_table(*paths: Path | str) -> ColourTable:
    """Returns which id each colour of some RGB-coded masks stands for, for printing and for reading them all alike.

    Ids follow from all the colours together, so masks of one video need one table (`table_of_colours` has the rule).

    Raises:
        MaskError: if a file is not RGB-coded, or its colours cannot be ids.
    """
    images = {}
    for path in paths:
        pixels, kind = read_pixels(Path(path))
        # Greys are ids as they stand, and need no table.
        if kind == "grey3":
            continue
        if kind != "colour":
            raise MaskError(f"mask '{path}' is not RGB-coded, so it has no colour table; leave --mask-colors out")
        images[f"mask '{path}'"] = pixels
    return table_of_colours(images) if images else {}


def read_written_map(path: Path | str) -> LabelMap:
    """Returns exactly the map that `write_label_map` wrote: nothing is interpreted, so nothing can be refused.

    Raises:
        MaskError: if the file is neither palette nor 16-bit grey, or cannot be read.
    """
    pixels, kind = read_pixels(Path(path), written=True)
    labels = pixels.astype(np.uint16)
    if kind == "index":
        labels[pixels == PALETTE_VOID] = VOID
    elif pixels.dtype != np.uint16:
        raise MaskError(f"mask '{path}' was not written by undertow; read it as a cue instead")
    return labels


def read_class_map(path: Path | str, size: tuple[int, int] | None = None) -> LabelMap:
    """Returns a map of classes, in which 0 is a class like any other: values as they stand, white being void.

    White is 255 in grey and palette files of 8 bits, 65535 in those of 16; a file of one bit has classes 0 and 1.

    Args:
        path: A PNG, BMP or TIFF file.
        size: (height, width) of the video, `None` for any.

    Raises:
        MaskError: naming the file and what is wrong: unreadable, lossy, of another size, or RGB-coded.
    """
    pixels, kind = read_pixels(Path(path), size, written=True)
    if kind == "colour":
        raise MaskError(f"mask '{path}' is RGB-coded; save its classes as a palette or grey PNG")
    labels = pixels.astype(np.uint16)
    if pixels.dtype == np.uint8:
        labels[pixels == PALETTE_VOID] = VOID
    return labels


def read_object_masks(
    paths: Sequence[Path | str], size: tuple[int, int] | None = None, threshold: int | None = None
) -> LabelMap:
    """Returns one label map from one binary file per object.

    Ids are the numbers at the end of the file names (`dog-2.png` is object 2) if every name ends in a different one
    from 1 on, and otherwise 1, 2, 3 in the order given.

    Raises:
        MaskError: if a file has more than one value beside black, none at all, soft edges or another size, or if two
            objects overlap.
    """
    if not paths:
        raise MaskError("no object masks were given; name one file per object")
    ids = numbers_in([Path(path).stem for path in paths])
    labels: LabelMap | None = None
    for path, object_id in zip(paths, ids, strict=True):
        inside = _one_object(Path(path), size, threshold)
        if labels is None:
            labels = np.zeros(inside.shape, np.uint16)
        check_size(inside.shape, (labels.shape[0], labels.shape[1]), f"mask '{path}'")
        if (taken := labels[inside]).any():
            other = paths[ids.index(int(taken[taken > 0][0]))]
            shared = np.count_nonzero(taken)
            raise MaskError(f"masks '{other}' and '{path}' overlap in {shared} pixels; paint each pixel for one")
        labels[inside] = object_id
    assert labels is not None
    return labels


def write_label_map(path: Path | str, labels: LabelMap, colours: UInt8[np.ndarray, "256 3"] | None = None) -> None:
    """Writes a label map as PNG, atomically; `read_written_map` returns it pixel for pixel.

        write_label_map("mask.png", labels)

    Up to id 254 it is an 8-bit palette PNG in DAVIS colours with void as index 255, above that a 16-bit grey PNG with
    void as 65535.

    Args:
        path: The file.
        labels: The map.
        colours: Another palette; it does not change ids.
    """
    void = labels == VOID
    if np.max(labels, initial=0, where=~void) < PALETTE_VOID:
        image = Image.fromarray(np.where(void, PALETTE_VOID, labels).astype(np.uint8))
        image.putpalette((palette() if colours is None else colours).tobytes())
    else:
        image = Image.fromarray(labels)
    with atomic_path(path) as temporary:
        image.save(temporary, format="PNG")


def _one_object(path: Path, size: tuple[int, int] | None, threshold: int | None) -> Bool[np.ndarray, "h w"]:
    """Returns where a binary file is not black, or as bright as a threshold."""
    if threshold is not None:
        return brightness(path, size) >= threshold
    pixels, kind = read_pixels(path, size)
    if kind == "colour":
        raise MaskError(f"mask '{path}' is RGB-coded; save one black and white PNG per object")
    values = np.unique(pixels[pixels != 0])
    if values.size > 1:
        soft = on_slope(pixels[..., None]).any()
        hint = "save it without anti-aliasing, or pass --soft" if soft else "give it as a map of several objects"
        raise MaskError(f"mask '{path}' of one object holds the values {listed(values)}; {hint}")
    if values.size == 0:
        raise MaskError(f"mask '{path}' is all black; leave it out or mark its object")
    inside: Bool[np.ndarray, "h w"] = pixels != 0
    return inside


def numbers_in(names: Sequence[str]) -> list[int]:
    """Returns the trailing numbers of names if they can serve as ids, else 1, 2, 3."""
    endings = [re.search(r"\d+$", name) for name in names]
    numbers = [int(ending.group()) for ending in endings if ending]
    if len(numbers) == len(set(numbers)) == len(names) and all(0 < number < VOID for number in numbers):
        return numbers
    return list(range(1, len(names) + 1))
