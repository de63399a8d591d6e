"""The font of pictures, and which other to write a name in that it has no letters for."""

import unicodedata
from functools import cache

from PIL import ImageFont

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

# What Linux, Windows and macOS have, with letters of most of Europe first and then of East Asia.
OTHERS = (
    "DejaVuSans.ttf",
    "NotoSans-Regular.ttf",
    "arial.ttf",
    "Arial.ttf",
    "Arial Unicode.ttf",
    "NotoSansCJK-Regular.ttc",
    "msyh.ttc",
    "PingFang.ttc",
)


def lettering(text: str, size: int) -> tuple[Font, str]:
    """Returns the font for a text, and the text as it can be written in that.

    It is the font that comes with Pillow, so that pictures look the same everywhere. That has few letters beyond ASCII:
    a text with others is written in the font of this machine that has most of them, or else without its accents.

    Args:
        text: The text.
        size: Height of the letters, in pixels.
    """
    own = _own(size)
    if not (lacking := _lacking(own, text)):
        return own, text
    others = [other for name in OTHERS if (other := _other(name, size)) is not None]
    best = min(others, key=lambda other: _lacking(other, text), default=own)
    if _lacking(best, text) < lacking:
        return best, text
    apart = unicodedata.normalize("NFKD", text.replace("ß", "ss"))
    return own, "".join(letter for letter in apart if not unicodedata.combining(letter))


def _lacking(font: Font, text: str) -> int:
    """Returns how many letters of a text a font has not: it draws the same box for each of them."""
    if text.isascii():
        return 0
    box = _drawn(font, "\uffff")
    return sum(not letter.isascii() and _drawn(font, letter) == box for letter in text)


def _drawn(font: Font, letter: str) -> tuple[tuple[int, int], bytes]:
    mask = font.getmask(letter)
    return mask.size, bytes(mask)


@cache
def _own(size: int) -> Font:
    return ImageFont.load_default(size)


@cache
def _other(name: str, size: int) -> Font | None:
    try:
        return ImageFont.truetype(name, size)
    except OSError:
        return None
