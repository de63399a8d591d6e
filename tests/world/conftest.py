"""What tests of the world share."""

import pytest


@pytest.fixture(scope="session")
def coarse():
    """A function from a picture to the means of its 4 x 4 parts: stable where processors round pixels differently."""

    def means(image):
        height, width = image.shape[:2]
        parts = image[: height - height % 4, : width - width % 4].reshape(4, height // 4, 4, width // 4, -1)
        return parts.mean(axis=(1, 3, 4)).ravel()

    return means
