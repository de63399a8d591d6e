"""What strokes and fills make of a label map."""

from collections.abc import Collection, Sequence

import cv2
import numpy as np
from jaxtyping import Bool
from PIL import Image, ImageDraw

from undertow.masks import LabelMap


def stroke(values: Sequence[float], size: tuple[int, int]) -> Bool[np.ndarray, "h w"]:
    """Returns which pixels a stroke covers.

    Args:
        values: Radius, and x and y of each place, in pixels.
        size: (height, width) of the frame.
    """
    radius, places = values[0], [(values[i], values[i + 1]) for i in range(1, len(values) - 1, 2)]
    image = Image.new("1", (size[1], size[0]))
    draw = ImageDraw.Draw(image)
    # Pillow counts from the centre of the first pixel, undertow from its corner.
    for x, y in places:
        draw.ellipse((x - 0.5 - radius, y - 0.5 - radius, x - 0.5 + radius, y - 0.5 + radius), fill=1)
    draw.line([(x - 0.5, y - 0.5) for x, y in places], fill=1, width=max(1, round(2 * radius)))
    return np.asarray(image, bool)


def region(labels: LabelMap, x: float, y: float) -> Bool[np.ndarray, "h w"]:
    """Returns the connected pixels of one id around a place, such as a hole in a mask."""
    height, width = labels.shape
    column, row = min(width - 1, max(0, int(x))), min(height - 1, max(0, int(y)))
    same = (labels == labels[row, column]).astype(np.uint8)
    _, parts = cv2.connectedComponents(same, connectivity=4)
    return np.asarray(parts == parts[row, column])


def painted(labels: LabelMap, where: Bool[np.ndarray, "h w"], object_id: int, locked: Collection[int] = ()) -> LabelMap:
    """Returns a label map in which pixels belong to an object, but for those of objects that are locked."""
    free = where & ~np.isin(labels, list(locked))
    return np.where(free, object_id, labels).astype(np.uint16)


def erased(labels: LabelMap, where: Bool[np.ndarray, "h w"], object_id: int, background: int = 0) -> LabelMap:
    """Returns a label map in which pixels of an object are background."""
    return np.where(where & (labels == object_id), background, labels).astype(np.uint16)
