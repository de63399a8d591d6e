import numpy as np
import pytest
from PIL import Image

from undertow.world.photo_pairs import POINTS, photo_pairs
from undertow.world.photographs import Photograph
from undertow.world.view_pairs import PairSettings


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    folder, found = tmp_path_factory.mktemp("photos"), []
    for number in range(60):
        pixels = np.random.default_rng(number).integers(0, 255, (12, 16, 3), dtype=np.uint8)
        path = folder / f"{number:04d}.png"
        Image.fromarray(pixels).resize((160, 120), Image.Resampling.BICUBIC).save(path)
        found.append(Photograph(path, "made", "1", path.name, "", "CC0-1.0", ""))
    return found


def test_one_pair_for_each_held_out_photograph(photographs):
    kept = [photograph.path.stem for photograph in photographs if photograph.held_out]
    pairs = list(photo_pairs(photographs, PairSettings(size=64)))
    assert [pair.name for pair in pairs] == kept and len(kept) >= 3
    for pair in pairs:
        assert pair.frames.shape == (2, 64, 64, 3) and pair.tracks.shape == (POINTS, 2, 2)
        assert pair.visible[:, 0].all()
        assert ((pair.tracks[pair.visible] >= 0) & (pair.tracks[pair.visible] < 64)).all()
    assert 0.2 < np.mean([pair.visible[:, 1].mean() for pair in pairs]) < 0.95


def test_they_repeat(photographs):
    few = [photograph for photograph in photographs if photograph.held_out][:3]
    one, again = (list(photo_pairs(few, PairSettings(size=32))) for _ in range(2))
    for a, b in zip(one, again, strict=True):
        assert np.array_equal(a.frames, b.frames) and np.array_equal(a.tracks, b.tracks)
