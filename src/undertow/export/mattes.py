"""From label maps to mattes: edges that follow the picture instead of pixels, and pictures with the matte as alpha.

A mask says of each pixel which object is there; what is right about it is the object and the edge to within a cell of
the tracker's grid. So masks are averaged over cells, brought back to pixels by the picture (joint bilateral
upsampling), and sharpened: of what sums to one, each share is raised to a power and divided by the sum again. Where a
run kept the tracker's soft masks, these are what is averaged, sharpened a little before.
"""

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float, Float32, UInt8

from undertow.masks import VOID, LabelMap

if TYPE_CHECKING:
    from undertow.export.run import SoftMasks

# Cells per token of the tracker's grid, along each axis, and the powers, of the result and of kept soft masks; chosen
# on validation worlds, where true alpha is known.
FINER, SHARPNESS, KEPT_SHARPNESS = 1.5, 4, 2
# Places along each axis of a cell at which soft masks are looked up.
SAMPLES = 4
# A run that does not say its grid is taken for one with so many cells down.
USUAL_ROWS = 46
# Cells that upsampling reaches over, and the one that a pixel is on.
MARGIN = 3
Alpha = Float32[np.ndarray, "h w"]


def soft_mattes(
    labels: LabelMap,
    ids: list[int],
    image: UInt8[np.ndarray, "h w 3"],
    grid: tuple[int, int] | None = None,
    soft: "SoftMasks | None" = None,
) -> dict[int, Alpha]:
    """Returns the alpha of each object, in [0, 1], from its mask and the picture; together at most one.

    Args:
        labels: The label map.
        ids: Its objects.
        image: The frame.
        grid: Rows and columns of the tracker's tokens.
        soft: What the label map was decided from, if it was kept.
    """
    import torch

    from undertow.masks import soft_one_hot
    from undertow.refinement.bilateral import upsample_guided

    height, width = labels.shape
    # Class 0 is a class too; places among the ids, from 1, stand for them.
    places = np.zeros(VOID + 1, np.uint16)
    places[ids] = np.arange(1, len(ids) + 1)
    labels = places[labels]
    rows = USUAL_ROWS if grid is None else grid[0]
    side = max(1, round(height / (FINER * rows)))
    # Whole cells, so that what is done does not depend on the part of the picture that it is done for.
    beyond = ((0, -height % side), (0, -width % side))
    labels, image = np.pad(labels, beyond, mode="edge"), np.pad(image, (*beyond, (0, 0)), mode="edge")
    window = _window(labels > 0, side)
    if soft is None or not set(ids) <= set(soft.ids.tolist()):
        cells = tuple((part.stop - part.start) // side for part in window)
        shares = soft_one_hot(labels[window], range(1, len(ids) + 1), (cells[0], cells[1]))
    else:
        shares = torch.from_numpy(_averaged(soft, ids, window, side, (height, width)))
    shares = upsample_guided(shares, image[window]).pow_(SHARPNESS)
    shares /= shares.sum(0)
    mattes = {}
    for number, share in zip(ids, shares[1:].numpy(), strict=True):
        matte = np.zeros(labels.shape, np.float32)
        matte[window] = share
        mattes[number] = matte[:height, :width]
    return mattes


def _averaged(
    soft: "SoftMasks", ids: list[int], window: tuple[slice, slice], side: int, size: tuple[int, int]
) -> Float32[np.ndarray, "n h w"]:
    """Returns the share of each cell of a window that is background and that each object has, by its soft masks."""
    places = soft.ids.tolist()
    maps = soft.maps[[places.index(each) for each in ids]]
    between = []
    for part, pixels, tokens in zip(window, size, maps.shape[1:], strict=True):
        step = side / SAMPLES
        centres = (np.arange(round((part.stop - part.start) / step), dtype=np.float32) + 0.5) * step + part.start
        at = np.clip(centres * tokens / pixels - 0.5, 0, tokens - 1)
        # Bilinear: what a token counts falls to nothing at the centres of its neighbours.
        between.append(np.maximum(1 - np.abs(at[:, None] - np.arange(tokens)), 0).astype(np.float32))
    shares = between[0] @ maps @ between[1].T
    shares = np.concatenate([np.maximum(1 - shares.sum(0, keepdims=True), 0), shares]) ** KEPT_SHARPNESS
    shares /= shares.sum(0)
    count, rows, columns = shares.shape
    return shares.reshape(count, rows // SAMPLES, SAMPLES, columns // SAMPLES, SAMPLES).mean((2, 4))


def _window(inside: Bool[np.ndarray, "h w"], side: int) -> tuple[slice, slice]:
    """Returns the cells that objects are on, and those around them that can have a share of one."""
    parts = []
    for axis in (1, 0):
        found = np.flatnonzero(inside.any(axis)) // side
        last = inside.shape[1 - axis] // side
        parts.append(slice(max(0, found[0] - MARGIN) * side, min(last, found[-1] + 1 + MARGIN) * side))
    return parts[0], parts[1]


def bytes_of(alpha: Float[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w"]:
    """Returns alpha in 256 levels, the nearest each."""
    return np.round(alpha.astype(np.float32) * 255).astype(np.uint8)


def rgba(
    alpha: Alpha, image: UInt8[np.ndarray, "h w 3"] | None = None, *, premultiplied: bool = False
) -> UInt8[np.ndarray, "h w 4"]:
    """Returns a picture with a matte as alpha; white without a picture.

    Args:
        alpha: The matte.
        image: The frame.
        premultiplied: Whether colours are multiplied by alpha.
    """
    colours = np.full((*alpha.shape, 3), 255, np.uint8) if image is None else image
    if premultiplied:
        colours = np.round(colours * alpha[..., None]).astype(np.uint8)
    return np.dstack([colours, bytes_of(alpha)])
