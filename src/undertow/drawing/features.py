"""What a model sees, as pictures: a pixel's attention, principal components of tokens, a row of pixels over time."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw

from undertow.drawing.heat import heat
from undertow.drawing.panels import Picture, labelled_panel, panel_grid, scaled


def inspection_sheet(
    source: UInt8[np.ndarray, "h w 3"],
    target: UInt8[np.ndarray, "h w 3"],
    at: tuple[float, float],
    maps: Sequence[tuple[str, Float[np.ndarray, "gh gw"]]],
    *,
    titles: tuple[str, str] = ("asks", "is looked at"),
    width: int = 420,
    columns: int = 3,
) -> UInt8[np.ndarray, "_ _ 3"]:
    """Returns one picture with the two frames and every map over the second.

    Args:
        source: Frame that holds the pixel.
        target: Frame that is looked at.
        at: The pixel (x, y).
        maps: Title and weights per token; each map is stretched to its own largest weight, which its title states.
        titles: Titles of the two frames.
        width: Width of a panel in pixels.
        columns: Panels side by side.
    """
    panels = [
        labelled_panel(titles[0], _cross(scaled(source, width), at, width / source.shape[1])),
        labelled_panel(titles[1], scaled(target, width)),
    ]
    base = scaled(target, width).astype(np.float32)
    grey = np.repeat(base.mean(axis=2, keepdims=True), 3, axis=2) * 0.45
    for title, weights in maps:
        peak = float(weights.max())
        # Square root: attention spans orders of magnitude, and its faint parts matter here.
        share = np.sqrt(np.clip(weights / peak, 0, 1)) if peak > 0 else np.zeros_like(weights)
        size = (base.shape[1], base.shape[0])
        strength = np.asarray(Image.fromarray(share.astype(np.float32)).resize(size, Image.Resampling.NEAREST))
        lit = grey * (1 - strength[..., None]) + heat(strength, low=0.0, high=1.0) * strength[..., None]
        panels.append(labelled_panel(f"{title}: peak {peak:.3g}", lit.astype(np.uint8)))
    return panel_grid(panels, columns)


def _cross(image: UInt8[np.ndarray, "h w 3"], at: tuple[float, float], scale: float) -> UInt8[np.ndarray, "h w 3"]:
    """Returns the image with a cross whose open middle is the pixel asked about."""
    picture = Image.fromarray(image)
    draw = ImageDraw.Draw(picture)
    x, y = at[0] * scale, at[1] * scale
    for colour, thickness in (((0, 0, 0), 4), ((255, 240, 80), 2)):
        for dx, dy in ((1, 0), (-1, 0), (0, 1), (0, -1)):
            draw.line((x + 4 * dx, y + 4 * dy, x + 14 * dx, y + 14 * dy), fill=colour, width=thickness)
    return np.asarray(picture)


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
