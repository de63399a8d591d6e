"""Whole clips in one picture: what tokens look like to a model, and how one row of pixels goes through time."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from undertow.drawing.panels import Picture


def pca_pictures(
    tokens: Float[np.ndarray, "t s c"], grid: tuple[int, int], width: int
) -> list[UInt8[np.ndarray, "_ _ 3"]]:
    """Returns one picture per frame, in which tokens alike have like colours, in all frames the same.

    Red, green and blue are the first three principal components over the tokens of all frames, each spread over its
    central 96 %. They tell what features tell apart; nothing is clustered by them.

    Args:
        tokens: Features of the tokens of each frame, row-major.
        grid: Rows and columns of tokens.
        width: Of the pictures, in pixels.
    """
    points = tokens.reshape(-1, tokens.shape[-1]).astype(np.float64)
    centred = points - points.mean(0)
    _, axes = np.linalg.eigh(centred.T @ centred)
    leading = axes[:, ::-1][:, :3]
    # The sign of an axis is arbitrary; the one with the larger third moment up is always the same.
    shown = centred @ leading
    shown *= np.where((shown**3).sum(0) < 0, -1.0, 1.0)
    shown = np.pad(shown, ((0, 0), (0, 3 - shown.shape[1])))
    low, high = np.percentile(shown, (2, 98), axis=0)
    colours = np.rint(255 * ((shown - low) / np.maximum(high - low, 1e-12)).clip(0, 1)).astype(np.uint8)
    height = max(1, round(width * grid[0] / grid[1]))
    return [
        np.asarray(Image.fromarray(frame).resize((width, height), Image.Resampling.NEAREST))
        for frame in colours.reshape(len(tokens), *grid, 3)
    ]


def time_slice(pictures: Sequence[Picture], row: int, *, thickness: int = 4) -> Picture:
    """Returns one row of pixels of every picture below each other: time goes down, places stay across.

    A thing that stands still is a vertical stripe, one that moves a slanted one, and labels that flicker are ragged.

    Args:
        pictures: Pictures of one size.
        row: Which row of pixels, from the top.
        thickness: Pixels that each moment is shown as.
    """
    lines = np.stack([picture[row] for picture in pictures])
    return np.repeat(lines, thickness, axis=0)


def marked_row(picture: Picture, row: int) -> Picture:
    """Returns a picture with a thin line where a slice is taken: white between two dark ones."""
    marked = picture.copy()
    for offset, value in ((-1, 0), (0, 255), (1, 0)):
        if 0 <= row + offset < len(marked):
            marked[row + offset] = value
    return marked
