"""What the page draws: frames by number as BMP, label maps as PNG; browsers decode both exactly."""

import io
import secrets
from collections import OrderedDict
from hashlib import sha256
from threading import Lock

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from undertow import drawing
from undertow.export.mattes import bytes_of
from undertow.masks import VOID, LabelMap
from undertow.masks.colours import palette
from undertow.video import Video

# Encoded frames that are kept; at 1080p about forty.
ROOM = 256 * 2**20
# Height of a thumbnail, and how many are kept.
THUMB, THUMBS = 40, 400


def frame_bmp(image: UInt8[np.ndarray, "h w 3"]) -> bytes:
    """Returns a frame as BMP: within one machine, packing it takes far longer than sending all of it."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "BMP")
    return buffer.getvalue()


def mask_png(labels: LabelMap, colours: UInt8[np.ndarray, "256 3"] | None = None, clear: int = 0) -> bytes:
    """Returns a label map as palette PNG; ids above 254 share the colours of others.

    Args:
        labels: The label map; void is entry 255.
        colours: The palette; that of DAVIS if not given.
        clear: The entry that is transparent.
    """
    shown = np.where(labels == VOID, 255, np.where(labels > 254, labels % 254 + 1, labels)).astype(np.uint8)
    image = Image.fromarray(shown)
    image.putpalette((palette() if colours is None else colours).tobytes())
    return _encoded(image, transparency=clear)


def alpha_png(alpha: Float[np.ndarray, "h w"]) -> bytes:
    """Returns alpha in [0, 1] as PNG: white, and so opaque."""
    levels = bytes_of(alpha)
    return _encoded(Image.merge("LA", (Image.new("L", levels.shape[::-1], 255), Image.fromarray(levels))))


def heat_png(heat: Float[np.ndarray, "h w"]) -> bytes:
    """Returns a map in [0, 1] as PNG: the higher, the yellower and the less transparent."""
    alpha = np.round(230 * np.sqrt(heat)).astype(np.uint8)
    return _encoded(Image.fromarray(np.dstack([drawing.heat(heat, low=0, high=1), alpha])))


def etag(content: bytes | str) -> str:
    """Returns an entity tag of some content."""
    return f'"{sha256(content if isinstance(content, bytes) else content.encode()).hexdigest()[:24]}"'


class Frames:
    """The frames of a video as BMP: decoded when asked for, encoded once, the last ones kept.

    Threads may share it. A video that is not there has grey frames, so that a run can be looked at without it.
    """

    def __init__(self, video: Video | None, size: tuple[int, int], room: int = ROOM) -> None:
        """Takes a video, or the (height, width) of frames, and the most bytes that are kept."""
        self._video, self._size, self._room = video, size, room
        self._kept: OrderedDict[int, bytes] = OrderedDict()
        self._bytes = 0
        self._thumbs: OrderedDict[int, bytes] = OrderedDict()
        self._lock, self._name = Lock(), secrets.token_hex(8)

    def tag(self, number: int) -> str:
        """Returns the entity tag of a frame, which is known before it is decoded."""
        return f'"{self._name}-{number}"'

    def bmp(self, number: int) -> bytes:
        """Returns a frame by its number in the video.

        Raises:
            VideoError: if there is none.
        """
        with self._lock:
            if number in self._kept:
                self._kept.move_to_end(number)
                return self._kept[number]
        if self._video is None:
            return frame_bmp(np.full((*self._size, 3), 96, np.uint8))
        content = frame_bmp(self._video.frame(number).image)
        with self._lock:
            if number not in self._kept:
                self._kept[number] = content
                self._bytes += len(content)
            while self._bytes > self._room and len(self._kept) > 1:
                self._bytes -= len(self._kept.popitem(last=False)[1])
        return content

    def thumb(self, number: int) -> bytes:
        """Returns a frame in small, as JPEG.

        Raises:
            VideoError: if there is none.
        """
        with self._lock:
            if number in self._thumbs:
                return self._thumbs[number]
        height, width = self._size
        with Image.open(io.BytesIO(self.bmp(number))) as image:
            small = image.convert("RGB").resize((max(1, round(width * THUMB / height)), THUMB))
        buffer = io.BytesIO()
        small.save(buffer, "JPEG", quality=70)
        with self._lock:
            self._thumbs[number] = buffer.getvalue()
            if len(self._thumbs) > THUMBS:
                self._thumbs.popitem(last=False)
        return buffer.getvalue()


def _encoded(image: Image.Image, **more: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1, **more)
    return buffer.getvalue()
