"""Run lengths of COCO, in numpy: one scan of a label map serves all its objects.

A mask is read column by column and stored as the lengths of its runs, the first of which counts zeros. The string form
(as in the COCO API) keeps each length minus the one two before it, in groups of five bits: lowest group first, bit 5
set if another follows, the sign in bit 4 of the last, and 48 added to make the byte printable.
"""

from collections.abc import Iterable, Mapping
from typing import Any, TypedDict

import numpy as np
from jaxtyping import Bool, Int64

from undertow.base import MaskError
from undertow.masks.labels import MOST_PIXELS, LabelMap

# Five-bit groups of the longest number that a mask of at most `MOST_PIXELS` needs, with its sign.
MOST_GROUPS = 6


class Rle(TypedDict):
    """A mask as COCO's compressed run lengths; `pycocotools.mask.decode` takes it as it is."""

    size: list[int]
    counts: str


def encode_rle(mask: Bool[np.ndarray, "h w"]) -> Rle:
    """Returns the run lengths of one binary mask.

    >>> mask = np.array([[False, True], [False, True]])
    >>> decode_rle(encode_rle(mask)).tolist()
    [[False, True], [False, True]]
    """
    return label_map_rles(mask.astype(np.uint16), [1])[1]


def label_map_rles(labels: LabelMap, ids: Iterable[int]) -> dict[int, Rle]:
    """Returns the run lengths of every object of `ids`, from one scan of the map; an absent id gets an empty mask."""
    flat = labels.ravel(order="F")
    starts = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1])
    ends = np.append(starts[1:], flat.size)
    values = flat[starts]
    size = [int(length) for length in labels.shape]
    rles: dict[int, Rle] = {}
    for object_id in ids:
        runs = values == object_id
        edges = np.stack([starts[runs], ends[runs]], axis=1).reshape(-1)
        counts = np.diff(edges, prepend=0, append=flat.size)
        rles[object_id] = {"size": size, "counts": _compress(counts if counts[-1] else counts[:-1])}
    return rles


def decode_rle(rle: Mapping[str, Any]) -> Bool[np.ndarray, "h w"]:
    """Returns the mask of COCO run lengths, with `counts` as a compressed string (or bytes) or a plain list.

    Raises:
        MaskError: if `size` is not two positive integers, or too large, or `counts` is not run lengths that fill it.
    """
    size, counts = rle.get("size"), rle.get("counts")
    if not (isinstance(size, list | tuple) and len(size) == 2 and all(isinstance(n, int) and n > 0 for n in size)):
        raise MaskError(f"run lengths have size {shortened(size)}; give [height, width]")
    height, width = size
    if height * width > MOST_PIXELS:
        raise MaskError(f"run lengths have size {shortened(size)}; give at most {MOST_PIXELS} pixels")
    if isinstance(counts, str | bytes):
        runs = _decompress(counts.encode("latin-1", "replace") if isinstance(counts, str) else counts)
    elif isinstance(counts, list | tuple) and all(isinstance(n, int) and 0 <= n <= height * width for n in counts):
        runs = np.array(counts, np.int64)
    else:
        raise MaskError("run lengths need counts; give a COCO string, or integers from 0 to height * width")
    if (runs < 0).any() or (runs > height * width).any() or runs.sum() != height * width:
        raise MaskError(
            f"run lengths do not add up to the {height * width} pixels of size {[height, width]}; check counts and size"
        )
    flat = np.repeat(np.arange(runs.size) % 2 == 1, runs)
    return flat.reshape((height, width), order="F")


def shortened(value: object) -> str:
    """Returns a value for an error message, cut off where it gets long; integers of any length have a short form."""
    try:
        text = repr(value)
    except ValueError:
        return "of more digits than can be shown"
    return text if len(text) <= 40 else f"{text[:40]}..."


def _compress(counts: Int64[np.ndarray, " runs"]) -> str:
    """Returns run lengths as COCO's string; every pass of the loop emits one five-bit group of all numbers left."""
    rest = counts.copy()
    rest[3:] -= counts[1:-2]
    groups, alive = [], np.ones(rest.shape, bool)
    while alive.any():
        low = rest & 31
        rest >>= 5
        more = alive & (rest != np.where(low & 16, -1, 0))
        groups.append(np.where(alive, 48 + low + 32 * more, 0))
        alive = more
    characters = np.stack(groups, axis=1).astype(np.uint8)
    return characters[characters > 0].tobytes().decode("ascii")


def _decompress(text: bytes) -> Int64[np.ndarray, " runs"]:
    """Returns the run lengths of COCO's string, which may still be nonsense as lengths."""
    groups = np.frombuffer(text, np.uint8).astype(np.int64) - 48
    last = np.flatnonzero((groups & 32) == 0)
    if not last.size or groups.min() < 0 or groups.max() > 63 or last[-1] != groups.size - 1:
        raise MaskError(f"run lengths {text[:20]!r} are not a COCO string; check whether they are cut off")
    first = np.append(0, last[:-1] + 1)
    lengths = last - first + 1
    if lengths.max() > MOST_GROUPS:
        raise MaskError(f"run lengths {text[:20]!r} hold a number of more than 30 bits; check whether they are damaged")
    shift = 5 * (np.arange(groups.size) - np.repeat(first, lengths))
    counts = np.add.reduceat((groups & 31) << shift, first)
    counts -= np.where(groups[last] & 16, np.int64(1) << (5 * lengths), 0)
    counts[1::2] = np.cumsum(counts[1::2])
    counts[2::2] = np.cumsum(counts[2::2])
    return counts
