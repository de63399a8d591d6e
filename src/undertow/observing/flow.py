"""Dense optical flow between two pictures: where each pixel of one is in the other.

Dense inverse search (Kroeger et al., "Fast Optical Flow using Dense Inverse Search", ECCV 2016).
"""

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

Grey = UInt8[np.ndarray, "h w"]

# The shortest side of pictures that OpenCV's search has room in.
SIDE = 64
# Grey levels, from pixel to pixel or frame to frame, that are noise; pixels that a still camera is told to move.
DETAIL, STILL = 2.0, 0.1


def grey_picture(image: UInt8[np.ndarray, "h w 3"], size: tuple[int, int]) -> Grey:
    """Returns an RGB picture in grey at another size, (height, width)."""
    grey = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY)
    return np.asarray(cv2.resize(grey, size[::-1], interpolation=cv2.INTER_AREA))


def search_flow(here: Grey, there: Grey, finest: int = 1) -> Float32[np.ndarray, "h w 2"]:
    """Returns the flow (x, y in pixels) from each pixel of one picture to its place in another, as searched for.

    Args:
        here: The one.
        there: The other, of the same size.
        finest: How often they have been halved where the search ends; beyond it flow is interpolated.
    """
    search = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)  # type: ignore[attr-defined]
    search.setFinestScale(finest)
    return np.asarray(search.calc(here, there, None))


def dense_flow(here: Grey, there: Grey) -> Float32[np.ndarray, "h w 2"]:
    """Returns the flow (x, y in pixels) from each pixel of one picture to its place in another.

    The search goes down to the pixels, so there should not be many. On a blank wall it is a guess. Where the camera
    stands still, so that most of what is not blank does not move, blank places that do not change do not move either.
    """
    flow = search_flow(here, there, finest=0)
    detail, change = (cv2.blur(each, (9, 9)) for each in (slopes(here), cv2.absdiff(here, there).astype(np.float32)))
    sharp = detail > DETAIL
    if sharp.any() and np.median(np.linalg.norm(flow[sharp], axis=-1)) < STILL:
        flow[~sharp & (change < DETAIL)] = 0
    return flow


def fetched(
    field: Float32[np.ndarray, "h w *c"], x: Float32[np.ndarray, "m n"], y: Float32[np.ndarray, "m n"]
) -> Float32[np.ndarray, "m n *c"]:
    """Returns a field at places in pixels, 0 being the centre of the first; bilinear, constant beyond the border."""
    return np.asarray(cv2.remap(field, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))


def slopes(picture: Grey) -> Float32[np.ndarray, "h w"]:
    """Returns how much grey changes from pixel to pixel."""
    across, down = (cv2.Sobel(picture, cv2.CV_32F, *axis, scale=1 / 8) for axis in ((1, 0), (0, 1)))
    return np.asarray(cv2.magnitude(across, down))
