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
def workspace(clip, tmp_path, tiny_like):
    """A clip that is open, with settings at which everything is fast."""
    pytest.importorskip("fastapi", reason="needs the extra app")
    from undertow.app import Workspace
    from undertow.parsing import ParseSettings
    from undertow.points import PointSettings
    from undertow.tracking import TrackSettings

    settings = {
        "track": TrackSettings(size=(64, 96)),
        "points": PointSettings(size=(96, 64)),
        "parse": ParseSettings(size=(96, 64), clusters=3),
    }
    made = Workspace(lambda task: tiny_like, settings, tmp_path / "uploads")
    made.open(clip, tmp_path / "run")
    yield made
    made.close()


@pytest.fixture
def session(workspace):
    """The masks of the clip."""
    return workspace.projects[0].sessions["track"]
