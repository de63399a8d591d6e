"""Finished runs to be exported."""

from types import SimpleNamespace

import numpy as np
import pytest

from exported import hard_maps, write_run


@pytest.fixture
def hard(tmp_path):
    maps = hard_maps()
    names = [f"bild ä{index}" for index in range(len(maps))]
    return SimpleNamespace(maps=maps, names=names, path=write_run(tmp_path / "run", maps, names))


@pytest.fixture
def crowd(tmp_path):
    """300 objects of a few pixels each, on two frames."""
    labels = np.zeros((41, 61), np.uint16)
    for number in range(300):
        row, column = divmod(number, 30)
        labels[4 * row : 4 * row + 3, 2 * column] = number + 1
    maps = [labels, np.roll(labels, 1, axis=1)]
    return SimpleNamespace(maps=maps, path=write_run(tmp_path / "crowd", maps))


@pytest.fixture
def video(tmp_path):
    """Writes a folder of frames, and returns it with its fingerprint."""

    def make(images):
        from PIL import Image

        from undertow.video import Video

        folder = tmp_path / "frames"
        folder.mkdir()
        for index, image in enumerate(images):
            Image.fromarray(image).save(folder / f"{index:05d}.png")
        with Video(folder) as opened:
            return folder, opened.fingerprint()

    return make


@pytest.fixture
def filmed(tmp_path, video):
    """A run over a video whose pictures show the objects of its maps."""
    maps = hard_maps()
    colours = np.random.default_rng(0).integers(0, 255, (8, 3)).astype(np.uint8)
    folder, fingerprint = video([colours[labels] for labels in maps])
    return write_run(tmp_path / "run", maps, video=fingerprint), folder
