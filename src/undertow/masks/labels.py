"""Label maps: what a mask is once it is in memory, and the checks that keep it one.

A label map is a uint16 array (h, w): 0 is background, 65535 (`VOID`) is "do not judge this pixel", everything else is
an object id. Ids are names, not quantities: a map is only ever resized with nearest, and never repaired silently.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Shaped, UInt16

from undertow.base import MaskError

VOID = 65535
# Twice an 8K frame. What claims to be larger is damage rather than a mask, and would only cost time and memory.
MOST_PIXELS = 1 << 26
LabelMap = UInt16[np.ndarray, "h w"]

# 255 beside other grey values means void only if one of those is a plausible id; {0, 128, 255} is anybody's guess.
SMALL_ID = 32
# Soft edges are judged within this many pixels, so that a matte enlarged twice with nearest is still recognised.
SLOPE_REACH = 2


def check_label_map(labels: Shaped[np.ndarray, "..."], *, size: tuple[int, int] | None, source: str) -> LabelMap:
    """Returns an array given by a caller as a label map of the video's size.

    Booleans become object 1. An 8-bit array is read like an 8-bit grey file (see `labels_from_grey`), because that is
    where such arrays come from. Wider integers are ids as they stand, 65535 being void.

    Args:
        labels: Array (h, w) of booleans or integers.
        size: (height, width) the video has, or `None` if any will do.
        source: What to call the array in an error.

    Raises:
        MaskError: for another number of axes, another size, floats, values outside 0..65535, or soft edges.
    """
    if labels.ndim != 2:
        raise MaskError(f"{source} has shape {labels.shape}; give a label map of shape (height, width)")
    check_size(labels.shape, size, source)
    if labels.dtype == bool:
        return labels.astype(np.uint16)
    if labels.dtype.kind not in "iu":
        raise MaskError(f"{source} holds {labels.dtype} numbers; give integer ids, with 0 for background")
    if labels.dtype == np.uint8:
        return labels_from_grey(labels, source)
    stray = np.unique(labels[(labels < 0) | (labels > VOID)])
    if stray.size:
        raise MaskError(f"{source} holds {listed(stray)}; ids go from 1 to {VOID - 1}, with {VOID} for void")
    return labels.astype(np.uint16, copy=False)


def check_size(found: Sequence[int], size: tuple[int, int] | None, source: str) -> None:
    """Raises `MaskError` unless the shape `found` begins with `size` (height, width), if one is given."""
    if size is not None and tuple(found[:2]) != tuple(size):
        here, wanted = (f"{width}x{height}" for height, width in (found[:2], size))
        raise MaskError(f"{source} is {here} but the video is {wanted}; export the mask at the video's size")


def check_known(labels: LabelMap, known_ids: Collection[int] | None, source: str) -> LabelMap:
    """Returns `labels`, or raises `MaskError` naming the ids that are not among `known_ids` (`None`: all are known)."""
    if known_ids is not None and (stray := sorted(set(object_ids(labels)) - set(known_ids))):
        raise MaskError(f"{source} has unknown ids {listed(stray)}; the objects are {listed(sorted(known_ids))}")
    return labels


def labels_from_grey(
    values: Shaped[np.ndarray, "h w"], source: str, known_ids: Collection[int] | None = None
) -> LabelMap:
    """Returns the label map a grey image (uint8 or uint16) stands for, by its values; white is 255 or 65535.

    * only black and white, or one nearly black and one nearly white value: one object, id 1;
    * otherwise values are ids as they stand ({0, 128} is object 128) and white is void;
    * soft edges are refused (`soft_values` has the rule; black and white are left out), so mattes and JPEG noise, while
      a few thin objects between others are not;
    * in 8 bits, white beside ids that are all 32 or more is refused, since white may be void or one more object.

    With `known_ids` nothing needs to be guessed: exactly these ids may occur.

    Raises:
        MaskError: naming the stray values and `source`.
    """
    white = int(np.iinfo(values.dtype).max)
    between = (values != 0) & (values != white)
    if not between.any():
        return check_known((values == white).astype(np.uint16), known_ids, source)
    if known_ids is None:
        ids = np.unique(values[between])
        levels = np.unique(values)
        if levels.size == 2 and 0 < levels[0] < white >> 3 and white - (white >> 3) <= levels[1] < white:
            return (values == levels[1]).astype(np.uint16)
        if (stray := soft_values(values, values[..., None], between)).size:
            raise MaskError(
                f"{source} has soft edges: the grey values {listed(stray)} lie between others; "
                "export it without anti-aliasing, as a PNG in which every pixel is an id, or pass --soft to keep soft "
                "edges, or --mask-threshold 128"
            )
        if white == 255 and ids[0] >= SMALL_ID and (values == white).any():
            raise MaskError(
                f"{source} holds 255 beside {listed(ids)}, and 255 may be void or an object; number the objects "
                f"1, 2, 3, save a palette PNG, or pass --mask-threshold {ids[-1] + 1} for the white one alone"
            )
    labels = values.astype(np.uint16)
    labels[values == white] = VOID
    return check_known(labels, known_ids, source)


def soft_values(
    codes: Shaped[np.ndarray, "h w"], values: Shaped[np.ndarray, "h w c"], judged: Bool[np.ndarray, "h w"]
) -> Shaped[np.ndarray, " n"]:
    """Returns the codes that come from soft edges if a map has such edges, and none otherwise.

    A code is stray if most of its pixels lie on a slope, that is between a darker and a lighter pixel at most two
    pixels away. Edges are soft if most codes are stray, or if hardly any edge is one between two that are not.

    Args:
        codes: A number for each pixel.
        values: What the numbers stand for, in which slopes are looked for.
        judged: Pixels whose codes may be stray.
    """
    found, where, counts = np.unique(codes[judged], return_inverse=True, return_counts=True)
    stray = found[2 * np.bincount(where, on_soft_edge(values)[judged], found.size) > counts]
    if stray.size == 0 or 2 * stray.size > found.size:
        return stray
    firm, edges, hard = ~np.isin(codes, stray), 0, 0
    for axis in (0, 1):
        (before, after), (here, there) = (
            (np.moveaxis(a, axis, 0)[:-1], np.moveaxis(a, axis, 0)[1:]) for a in (codes, firm)
        )
        edges += int(np.count_nonzero(before != after))
        hard += int(np.count_nonzero((before != after) & here & there))
    return stray if 8 * hard < edges else stray[:0]


def on_slope(values: Shaped[np.ndarray, "h w c"]) -> Bool[np.ndarray, "h w"]:
    """Returns where a pixel lies strictly between its neighbours' extremes in every channel that varies around it.

    An interpolated edge pixel is a mixture of both sides, hence between them in each channel in which they differ.
    """
    low, high = values, values
    for axis in (0, 1):
        low, high = _running(np.minimum, low, axis), _running(np.maximum, high, axis)
    flat = low == high
    inside = (low < values) & (values < high)
    slope: Bool[np.ndarray, "h w"] = (inside | flat).all(-1) & ~flat.all(-1)
    return slope


def on_soft_edge(values: Shaped[np.ndarray, "h w c"]) -> Bool[np.ndarray, "h w"]:
    """Returns where a pixel lies on a slope, and not in three by three equal pixels: those are flat, however small."""
    least = most = values
    for axis in (0, 1):
        least, most = _running(np.minimum, least, axis, 1), _running(np.maximum, most, axis, 1)
    flat = (least == most).all(-1, keepdims=True)
    flat[[0, -1]] = flat[:, [0, -1]] = False
    for axis in (0, 1):
        flat = _running(np.maximum, flat, axis, 1)
    soft: Bool[np.ndarray, "h w"] = on_slope(values) & ~flat[..., 0]
    return soft


def resize_nearest(labels: LabelMap, size: tuple[int, int]) -> UInt16[np.ndarray, "new_h new_w"]:
    """Returns `labels` at `size` (height, width): each new pixel takes the label under its centre.

    >>> resize_nearest(np.array([[1, 2]], np.uint16), (2, 4)).tolist()
    [[1, 1, 2, 2], [1, 1, 2, 2]]
    """
    rows, columns = ((2 * np.arange(new) + 1) * old // (2 * new) for new, old in zip(size, labels.shape, strict=True))
    resized: UInt16[np.ndarray, "new_h new_w"] = labels[rows[:, None], columns]
    return resized


def object_ids(labels: LabelMap) -> list[int]:
    """Returns the ids in `labels`, ascending, without background and void.

    >>> object_ids(np.array([[0, 7], [2, VOID]], np.uint16))
    [2, 7]
    """
    counts = np.bincount(labels.reshape(-1), minlength=VOID + 1)
    counts[[0, VOID]] = 0
    return [int(index) for index in np.flatnonzero(counts)]


def listed(values: Iterable[Any], most: int = 8) -> str:
    """Returns values for an error message: the first few, then how many more there are.

    >>> listed(range(10), most=3)
    '0, 1, 2 and 7 more'
    """
    words = [str(value) for value in values]
    more = f" and {len(words) - most} more" if len(words) > most else ""
    return ", ".join(words[:most]) + more


def _running(
    extreme: np.ufunc, values: Shaped[np.ndarray, "h w c"], axis: int, reach: int = SLOPE_REACH
) -> Shaped[np.ndarray, "h w c"]:
    """Returns the running minimum or maximum over some pixels to both sides along one axis."""
    result = values.copy()
    moved, still = np.moveaxis(result, axis, 0), np.moveaxis(values, axis, 0)
    for shift in range(1, reach + 1):
        extreme(moved[shift:], still[:-shift], out=moved[shift:])
        extreme(moved[:-shift], still[shift:], out=moved[:-shift])
    return result
