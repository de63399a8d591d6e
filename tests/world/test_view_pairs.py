from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from undertow.world.photographs import Photograph
from undertow.world.view_pairs import POINTS, PairSettings, make_pair, photo_pairs
from views import plain, ramp, sample

PLAIN = PairSettings(size=64, exposure=0.0, noise=0.0, pieces=(0, 0))


@pytest.mark.parametrize("seed", range(6))
def test_corresponding_places_show_the_same(seed):
    random = np.random.default_rng(seed)
    pair = make_pair(random, ramp(), [], PLAIN)
    assert pair.images.shape == (2, 64, 64, 3)
    places = random.uniform(4, 60, (200, 2))
    there, seen = pair.correspond(places)
    inner = seen & (there > 3).all(axis=1) & (there < 61).all(axis=1)
    assert inner.sum() > 40
    assert not np.allclose(there, places, atol=1)
    # A pixel and one more of blur, at a slope of at most a few levels each.
    assert np.abs(sample(pair.images[0], places[inner]) - sample(pair.images[1], there[inner])).max() < 12


def test_what_leaves_the_view_is_not_seen():
    pair = make_pair(np.random.default_rng(0), ramp(), [], replace(PLAIN, shift=1.0))
    there, seen = pair.correspond(np.random.default_rng(1).uniform(0, 64, (300, 2)))
    outside = ((there < 0) | (there >= 64)).any(axis=1)
    assert outside.any() and np.array_equal(seen, ~outside)


def test_pieces_move_on_their_own_and_hide_what_is_behind():
    settings, covered, again, behind = replace(PLAIN, pieces=(1, 1)), 0, [], []
    y, x = np.mgrid[2:62:2, 2:62:2] + 0.5
    places = np.stack([x, y], axis=2).reshape(-1, 2)
    for seed in range(20):
        pair = make_pair(np.random.default_rng(seed), plain((0, 0, 255)), [plain((255, 0, 0))], settings)
        there, seen = pair.correspond(places)
        on_piece = pair.shown(places, 0) == 1
        red = sample(pair.images[0], places)[:, 0]
        assert (red[on_piece] >= 50).all() and (red[~on_piece] <= 205).all()
        assert np.array_equal(on_piece, sample(pair.mask(0), places) == 255)
        again.append(sample(pair.images[1], there[seen & on_piece])[:, 0] > 127)
        behind.append(sample(pair.images[1], there[seen & ~on_piece])[:, 0] > 127)
        inside = ((there >= 0) & (there < 64)).all(axis=1)
        covered += (inside & ~seen & ~on_piece).sum()
    # What is seen again has its own colour, but for some pixels at the border of a small piece.
    assert covered > 20 and len(np.concatenate(again)) > 100
    assert np.concatenate(again).mean() > 0.85 and np.concatenate(behind).mean() < 0.03


def test_views_are_developed_apart():
    still = replace(PLAIN, scale=0.0, turn=0.0, shift=0.0, perspective=(0.0, 0.0))
    pair = make_pair(np.random.default_rng(0), ramp(), [], still)
    assert np.array_equal(*pair.images)
    there, seen = pair.correspond(np.array([[10.0, 20.0]]))
    np.testing.assert_allclose(there, [[10, 20]], atol=1e-9)
    assert seen.all()
    lit = make_pair(np.random.default_rng(0), ramp(), [], replace(still, exposure=0.2, noise=0.03))
    assert np.abs(lit.images[0].astype(float) - lit.images[1]).mean() > 5


def test_pairs_are_a_function_of_their_seed():
    one, again, other = (
        make_pair(np.random.default_rng(s), ramp(), [ramp(99, 140)], PairSettings()) for s in (3, 3, 4)
    )
    assert np.array_equal(one.images, again.images) and not np.array_equal(one.images, other.images)


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
