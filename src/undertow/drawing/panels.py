"""Pictures next to each other with words: titled panels, grids of them, contact sheets, legends."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw

from undertow.base import SettingsError
from undertow.drawing.lettering import lettering
from undertow.masks import object_colour

Picture = UInt8[np.ndarray, "_ _ 3"]

PAPER = (255, 255, 255)
INK = (32, 32, 36)
GAP = 6


def text_strip(text: str, width: int, *, text_size: int = 14) -> Picture:
    """Returns one line of dark text on white, `width` pixels wide; text too long is cut and ends in an ellipsis."""
    font, text = lettering(text, text_size)
    room = max(width - 2 * GAP, 0)
    if font.getlength(text) > room:
        while text and font.getlength(text + "…") > room:
            text = text[:-1]
        text = text.rstrip() + "…"
    height = text_size + 2 * (text_size // 3)
    strip = Image.new("RGB", (width, height), PAPER)
    ImageDraw.Draw(strip).text((GAP, height / 2), text, INK, font, anchor="lm")
    return np.asarray(strip)


def labelled_panel(title: str, image: Picture, *, text_size: int = 14) -> Picture:
    """Returns an image under its title."""
    return np.concatenate([text_strip(title, image.shape[1], text_size=text_size), image])


def panel_grid(panels: Sequence[Picture], columns: int) -> Picture:
    """Returns panels in rows of `columns`, with white gaps; smaller panels sit at the top left of their cell.

    Raises:
        SettingsError: if there are no panels or fewer than one column.
    """
    if not panels or columns < 1:
        raise SettingsError(f"a grid of {len(panels)} panels in {columns} columns is empty; give at least one of each")
    columns = min(columns, len(panels))
    heights = [max(panel.shape[0] for panel in panels[row : row + columns]) for row in range(0, len(panels), columns)]
    widths = [max(panel.shape[1] for panel in panels[column::columns]) for column in range(columns)]
    tops = np.cumsum([GAP, *(height + GAP for height in heights)])
    lefts = np.cumsum([GAP, *(width + GAP for width in widths)])
    sheet = np.full((tops[-1], lefts[-1], 3), PAPER, np.uint8)
    for index, panel in enumerate(panels):
        top, left = tops[index // columns], lefts[index % columns]
        sheet[top : top + panel.shape[0], left : left + panel.shape[1]] = panel
    return sheet


def contact_sheet(
    images: Sequence[Picture], columns: int, captions: Sequence[str] | None = None, *, width: int = 240
) -> Picture:
    """Returns images in rows of `columns`, each `width` pixels wide in its own aspect ratio, with a caption above.

    Raises:
        SettingsError: if there are no images, or not one caption per image.
    """
    if captions is not None and len(captions) != len(images):
        raise SettingsError(f"{len(captions)} captions were given for {len(images)} images; give one each")
    panels = [scaled(image, width) for image in images]
    if captions is not None:
        panels = [labelled_panel(caption, panel) for caption, panel in zip(captions, panels, strict=True)]
    return panel_grid(panels, columns)


def legend(
    ids: Iterable[int],
    width: int,
    *,
    names: Mapping[int, str] | None = None,
    colours: Mapping[int, tuple[int, int, int]] | None = None,
    text_size: int = 14,
) -> Picture:
    """Returns a strip that names objects beside their colours, in as many lines as `width` needs.

    Args:
        ids: Objects to name, in order.
        width: Of the strip, in pixels.
        names: What to call an object; by default its number.
        colours: What an object is drawn in; by default its colour in the DAVIS palette.
        text_size: Height of the letters, in pixels.
    """
    line, swatch = text_size + 2 * (text_size // 3), text_size
    entries = []
    left, top = GAP, 0
    for object_id in ids:
        font, name = lettering((names or {}).get(object_id, str(object_id)), text_size)
        taken = swatch + GAP + int(font.getlength(name)) + 3 * GAP
        if left > GAP and left + taken > width:
            left, top = GAP, top + line
        entries.append((left, top, object_id, name, font))
        left += taken
    strip = Image.new("RGB", (width, top + line), PAPER)
    draw = ImageDraw.Draw(strip)
    for left, top, object_id, name, font in entries:
        middle = top + line / 2
        box = (left, middle - swatch / 2, left + swatch - 1, middle + swatch / 2 - 1)
        draw.rectangle(box, fill=(colours or {}).get(object_id, object_colour(object_id)), outline=INK)
        draw.text((left + swatch + GAP, middle), name, INK, font, anchor="lm")
    return np.asarray(strip)


def scaled(image: Picture, width: int) -> Picture:
    """Returns an image at a width, its aspect ratio kept."""
    height = max(1, round(image.shape[0] * width / image.shape[1]))
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.LANCZOS))
