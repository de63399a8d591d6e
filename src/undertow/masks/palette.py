"""The palette of DAVIS and PASCAL VOC, from its rule: index bits go to red, green and blue in turn."""

from functools import cache

import numpy as np
from jaxtyping import UInt8


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
    """Returns the (red, green, blue) an object is drawn in; above 254 the colours of 1 to 254 come round again."""
    index = object_id if object_id < 255 else 1 + (object_id - 1) % 254
    red, green, blue = (int(value) for value in palette()[index])
    return red, green, blue
