"""Colours of ids: the palette of DAVIS and PASCAL VOC, and RGB-coded masks.

RGB is read as ids on request only, since a picture is RGB too.
"""

from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np
from jaxtyping import Int64, UInt8

from undertow.base import MaskError
from undertow.masks.labels import VOID, LabelMap, listed, on_soft_edge


@cache
def palette() -> UInt8[np.ndarray, "256 3"]:
    """Returns the 256 colours, read-only: 0 black, 1 (128, 0, 0), 2 (0, 128, 0), 3 (128, 128, 0), ... all different.

    Bit 3k + c of an index becomes bit 7 - k of channel c, so that low indices get the strongest colours
    (the colour map of the PASCAL VOC development kit; DAVIS uses the same).
    """
    index = np.arange(256)
    colours = np.zeros((256, 3), np.uint8)
    for bit in range(8):
        colours[:, bit % 3] |= (((index >> bit) & 1) << (7 - bit // 3)).astype(np.uint8)
    colours.flags.writeable = False
    return colours


def object_colour(object_id: int) -> tuple[int, int, int]:
    """Returns the (red, green, blue) an object is drawn in; above 254 the colours of 1 to 254 come round again.

    It is the palette's colour, or an orange where that is a grey, such as 7, which would hardly be seen over a picture.

    >>> object_colour(1), object_colour(255) == object_colour(1)
    ((128, 0, 0), True)
    """
    index = object_id if object_id < 255 else 1 + (object_id - 1) % 254
    red, green, blue = (int(value) for value in palette()[index])
    return (255, green, 0) if index and red == green == blue else (red, green, blue)


def hex_of(colour: Sequence[int]) -> str:
    """Returns red, green and blue, from 0 to 255, as pages write them.

    >>> hex_of((128, 0, 255))
    '#8000ff'
    """
    return "#{:02x}{:02x}{:02x}".format(*(int(part) for part in colour))


def davis_colours() -> "ColourTable":
    """Returns the id of each colour of the palette, 255 being void."""
    return {colour: VOID if index == 255 else index for index, colour in enumerate(_colours(_codes(palette())))}


Colour = tuple[int, int, int]
ColourTable = dict[Colour, int]

# More colours than a palette has entries: that is a picture, not a mask.
MOST_COLOURS = 256


def table_of_colours(images: Mapping[str, UInt8[np.ndarray, "_ _ 3"]]) -> ColourTable:
    """Returns one id for every colour of some RGB-coded masks (keyed by what to call them in an error).

    If all colours are DAVIS's, ids are DAVIS's too, its entry 255 being void. Otherwise black is background, or white
    where there is no black, and the other colours are numbered 1, 2, 3 in ascending order of (red, green, blue).

    Raises:
        MaskError: naming the stray colours, if they are more than 256 or come from soft edges: a colour most of whose
            pixels are a mixture of their surroundings is nobody's id.
    """
    palette_ids = davis_colours()
    found: set[Colour] = set()
    for source, image in images.items():
        codes, where, counts = np.unique(_codes(image), return_inverse=True, return_counts=True)
        colours = _colours(codes)
        if palette_ids.keys() >= set(colours):
            found.update(colours)
            continue
        mixed = 2 * np.bincount(where.reshape(-1), on_soft_edge(image).reshape(-1), codes.size) >= counts
        if mixed.any() or codes.size > MOST_COLOURS:
            stray = [colour for colour, soft in zip(colours, mixed, strict=True) if soft or not mixed.any()]
            what = "soft edges" if mixed.any() else "too many colours for a mask"
            raise MaskError(f"{source} has {what}: {listed(stray, 4)}; export it with one flat colour per object")
        found.update(colours)
    if found <= palette_ids.keys():
        return {colour: palette_ids[colour] for colour in sorted(found, key=palette_ids.__getitem__)}
    background = (255, 255, 255) if (255, 255, 255) in found and (0, 0, 0) not in found else (0, 0, 0)
    objects = sorted(found - {background})
    return {background: 0, **{colour: index + 1 for index, colour in enumerate(objects)}}


def labels_from_colours(image: UInt8[np.ndarray, "h w 3"], table: Mapping[Colour, int], source: str) -> LabelMap:
    """Returns the label map of an RGB-coded mask by a colour table.

    Raises:
        MaskError: naming the colours that the table lacks.
    """
    codes, where = np.unique(_codes(image), return_inverse=True)
    colours = _colours(codes)
    if stray := [colour for colour in colours if colour not in table]:
        raise MaskError(f"{source} has colours without an id: {listed(stray, 4)}; known are {listed(table, 4)}")
    labels: LabelMap = np.array([table[colour] for colour in colours], np.uint16)[where.reshape(image.shape[:2])]
    return labels


def _codes(image: UInt8[np.ndarray, "*size 3"]) -> Int64[np.ndarray, "*size"]:
    """Returns each colour as one number that sorts like (red, green, blue)."""
    red, green, blue = np.moveaxis(image.astype(np.int64), -1, 0)
    codes: Int64[np.ndarray, "*size"] = red << 16 | green << 8 | blue
    return codes


def _colours(codes: Int64[np.ndarray, " n"]) -> list[Colour]:
    """Returns the colours of `_codes`."""
    return [(code >> 16, code >> 8 & 255, code & 255) for code in codes.tolist()]
