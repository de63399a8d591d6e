"""The one way in which frames become as large as a model is shown them."""

import numpy as np
from jaxtyping import UInt8
from PIL import Image


def resize(images: UInt8[np.ndarray, "f h w 3"], size: tuple[int, int]) -> UInt8[np.ndarray, "f H W 3"]:
    """Returns images at (height, width), by bicubic filtering with antialiasing."""
    if images.shape[1:3] == size:
        return images
    small = [Image.fromarray(image).resize((size[1], size[0]), Image.Resampling.BICUBIC) for image in images]
    return np.stack([np.asarray(image) for image in small])
