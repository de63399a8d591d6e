"""What the page draws: frames by number and label maps, as PNG, which browsers decode exactly."""

import io
from collections import OrderedDict
from hashlib import sha256
from threading import Lock

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from undertow.masks import VOID, LabelMap
from undertow.masks.colours import palette
from undertow.video import Video

# Encoded frames that are kept; at 1080p about a hundred.
ROOM = 256 * 2**20


def frame_png(image: UInt8[np.ndarray, "h w 3"]) -> bytes:
    """Returns a frame as PNG, without loss and in the least time."""
    return _encoded(Image.fromarray(image))


def mask_png(labels: LabelMap) -> bytes:
    """Returns a label map as palette PNG with a transparent background; ids above 254 share the colours of others."""
    shown = np.where(labels == VOID, 255, np.where(labels > 254, labels % 254 + 1, labels)).astype(np.uint8)
    image = Image.fromarray(shown)
    image.putpalette(palette().tobytes())
    return _encoded(image, transparency=0)


def etag(content: bytes | str) -> str:
    """Returns an entity tag of some content."""
    return f'"{sha256(content if isinstance(content, bytes) else content.encode()).hexdigest()[:24]}"'


class Frames:
    """The frames of a video as PNG: decoded when asked for, encoded once, the last ones kept.

    Threads may share it. A video that is not there has grey frames, so that a run can be looked at without it.
    """

    def __init__(self, video: Video | None, size: tuple[int, int], room: int = ROOM) -> None:
        """Takes a video, or the (height, width) of frames, and the most bytes that are kept."""
        self._video, self._size, self._room = video, size, room
        self._kept: OrderedDict[int, bytes] = OrderedDict()
        self._bytes = 0
        self._lock = Lock()

    def png(self, number: int) -> bytes:
        """Returns a frame by its number in the video.

        Raises:
            VideoError: if there is none.
        """
        with self._lock:
            if number in self._kept:
                self._kept.move_to_end(number)
                return self._kept[number]
        if self._video is None:
            return frame_png(np.full((*self._size, 3), 96, np.uint8))
        content = frame_png(self._video.frame(number).image)
        with self._lock:
            if number not in self._kept:
                self._kept[number] = content
                self._bytes += len(content)
            while self._bytes > self._room and len(self._kept) > 1:
                self._bytes -= len(self._kept.popitem(last=False)[1])
        return content


def _encoded(image: Image.Image, **more: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1, **more)
    return buffer.getvalue()
