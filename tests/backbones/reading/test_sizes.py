"""Resizing against Pillow's filter of the same name, and as bytes."""

import numpy as np
import pytest
from PIL import Image

from undertow.backbones.reading.sizes import resize


@pytest.mark.parametrize("size", [(24, 40), (45, 31), (96, 130), (7, 32)])
def test_it_is_bicubic_filtering_with_antialiasing(size):
    images = np.random.default_rng(0).integers(0, 256, (3, 48, 64, 3), dtype=np.uint8)
    found = resize(images, size)
    assert found.shape == (3, *size, 3) and found.dtype == np.uint8 and found.flags.c_contiguous
    for image, mine in zip(images, found, strict=True):
        theirs = np.asarray(Image.fromarray(image).resize(size[::-1], Image.Resampling.BICUBIC)).astype(int)
        # Both round weights to fixed-point numbers, of different precision.
        assert np.abs(mine - theirs).max() <= 1
        assert np.abs(mine - theirs).mean() < 0.02


def test_images_of_that_size_stay_and_views_are_taken():
    images = np.random.default_rng(0).integers(0, 256, (2, 20, 30, 3), dtype=np.uint8)
    assert resize(images, (20, 30)) is images
    np.testing.assert_array_equal(resize(images[:, ::-1], (10, 15)), resize(images[:, ::-1].copy(), (10, 15)))
    np.testing.assert_array_equal(resize(images, (10, 15))[1:], resize(images[1:], (10, 15)))
