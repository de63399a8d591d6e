"""One pixel's attention as a picture: the asking frame with a cross, and the other frame lit up by each map."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw

from undertow.drawing.heat import heat
from undertow.drawing.panels import labelled_panel, panel_grid, scaled


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
