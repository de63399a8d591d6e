"""Clips made of images, so that what images teach is not forgotten: the same thing moved and lit in several ways (REM).

The first frame is the image; every other one is a draw of its own, not a step from the one before, and the frames are
shuffled. Masks move with the pixels, light changes nothing of them.
"""

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8
from numpy.random import Generator

from undertow.training.rem.data import Item

# As published: shares of the sides, degrees, and levels of 255 and of 180.
CORNERS, SHIFT, TURN, BRIGHTNESS, HUE = 0.08, 0.1, 20.0, 40.0, 5
BLUR_SHARE, BLURS = 0.25, (9, 11)

Image = UInt8[np.ndarray, "h w 3"]
Masks = Bool[np.ndarray, "n h w"]


def pseudo_clip(item: Item, frames: int, random: Generator) -> Item:
    """Returns a clip made of the first frame of an item.

    Args:
        item: An image and what is said of it.
        frames: Frames of the clip.
        random: Decides everything.
    """
    image, masks = item.images[0], item.masks[:, 0]
    drawn = [(image, masks), *(_moved(image, masks, random) for _ in range(frames - 1))]
    order = random.permutation(frames)
    images, shown = (np.stack([drawn[int(place)][part] for place in order]) for part in (0, 1))
    return Item(images, item.texts, shown.swapaxes(0, 1), item.still)


def _moved(image: Image, masks: Masks, random: Generator) -> tuple[Image, Masks]:
    """Returns an image and its masks seen from elsewhere, in other light, and perhaps blurred."""
    height, width = image.shape[:2]
    place = _projection(height, width, random)
    size = (width, height)
    moved = cv2.warpPerspective(image, place, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    shown = np.stack(
        [cv2.warpPerspective(mask.astype(np.uint8), place, size, flags=cv2.INTER_NEAREST) > 0 for mask in masks]
    )
    lit = _lit(np.asarray(moved, np.uint8), random)
    if random.random() < BLUR_SHARE:
        lit = np.asarray(cv2.filter2D(lit, -1, _streak(int(random.choice(BLURS)), random)), np.uint8)
    return lit, shown


def _projection(height: int, width: int, random: Generator) -> Float[np.ndarray, "3 3"]:
    """Returns the homography of a draw: corners pulled in, then turned about the middle and shifted."""
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    inwards = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]], np.float32)
    pulled = np.abs(random.normal(0, CORNERS, (4, 2))).clip(0, 0.3) * (width, height) * inwards
    tilted = cv2.getPerspectiveTransform((corners + pulled).astype(np.float32), corners)
    turned = cv2.getRotationMatrix2D((width / 2, height / 2), float(random.uniform(-TURN, TURN)), 1.0)
    turned[:, 2] += random.uniform(-SHIFT, SHIFT, 2) * (width, height)
    return np.asarray(np.vstack([turned, [0, 0, 1]]) @ tilted, np.float64)


def _lit(image: Image, random: Generator) -> Image:
    """Returns an image in other light: brighter or darker, of other hue and saturation, or both."""
    which = int(random.integers(1, 4))
    if which & 1:
        image = (image.astype(np.float32) + random.uniform(-BRIGHTNESS, BRIGHTNESS)).clip(0, 255).astype(np.uint8)
    if which & 2:
        tones = cv2.cvtColor(image, cv2.COLOR_RGB2HSV).astype(np.int16)
        hue, saturation = (int(change) for change in random.integers(-HUE, HUE + 1, 2))
        tones[..., 0] = (tones[..., 0] + hue) % 180
        tones[..., 1] = (tones[..., 1] + saturation).clip(0, 255)
        image = np.asarray(cv2.cvtColor(tones.astype(np.uint8), cv2.COLOR_HSV2RGB), np.uint8)
    return image


def _streak(length: int, random: Generator) -> Float[np.ndarray, "k k"]:
    """Returns the kernel of a blur along a line."""
    kernel = np.zeros((length, length), np.float32)
    kernel[length // 2] = 1
    turn = cv2.getRotationMatrix2D((length / 2 - 0.5, length / 2 - 0.5), float(random.uniform(0, 360)), 1.0)
    turned = cv2.warpAffine(kernel, turn, (length, length))
    return np.asarray(turned / turned.sum(), np.float32)
