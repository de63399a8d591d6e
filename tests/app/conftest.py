"""A clip whose frames carry their number, and a session on it."""

import numpy as np
import pytest
from PIL import Image

HEIGHT, WIDTH, COUNT = 64, 96, 6
SQUARE = 8


def coded(number: int) -> np.ndarray:
    """A grey frame with a bright square that moves right, and its number in binary along the upper edge."""
    image = np.full((HEIGHT, WIDTH, 3), (60, 70, 80), np.uint8)
    image[24:48, 20 + 3 * number : 44 + 3 * number] = (230, 190, 40)
    for bit in range(8):
        image[:SQUARE, bit * SQUARE : (bit + 1) * SQUARE] = 255 if number >> bit & 1 else 0
    return image


@pytest.fixture
def clip(tmp_path):
    folder = tmp_path / "clip <b>&amp;"
    folder.mkdir()
    for number in range(COUNT):
        Image.fromarray(coded(number)).save(folder / f"{number:05d}.png")
    return folder


@pytest.fixture
def session(clip, tmp_path, tiny_like):
    pytest.importorskip("fastapi", reason="needs the extra app")
    from undertow.app import Session
    from undertow.tracking import TrackSettings

    made = Session(clip, tmp_path / "run", lambda: tiny_like, TrackSettings(size=(64, 96)))
    yield made
    made.close()
