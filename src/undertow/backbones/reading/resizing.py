"""The one way in which frames become as large as a model is shown them; docs/decisions/0012-one-resizer.md says why."""

import numpy as np
import torch
from jaxtyping import UInt8


def resize(images: UInt8[np.ndarray, "f h w 3"], size: tuple[int, int]) -> UInt8[np.ndarray, "f H W 3"]:
    """Returns images at (height, width), by bicubic filtering with antialiasing.

    That happens in bytes and on the CPU, so that a model is shown the same pixels wherever it is.
    """
    if images.shape[1:3] == size:
        return images
    pixels = torch.from_numpy(np.require(images, requirements=["C", "W"])).movedim(-1, 1)
    resized = torch.nn.functional.interpolate(pixels, size, mode="bicubic", antialias=True)
    return np.ascontiguousarray(resized.movedim(1, -1).numpy())
