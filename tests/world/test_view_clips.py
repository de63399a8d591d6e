from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from undertow.world.photographs import Photograph
from undertow.world.view_clips import ViewClipSettings, held_out_clips, make_view_clip
from undertow.world.view_pairs import PairSettings
from views import plain, ramp, sample

VIEWS = PairSettings(size=64, exposure=0.0, noise=0.0, pieces=(0, 0))
PLAIN = ViewClipSettings(frames=6, views=VIEWS)


@pytest.mark.parametrize("seed", range(4))
def test_corresponding_places_show_the_same_in_every_view(seed):
    random = np.random.default_rng(seed)
    clip = make_view_clip(random, ramp(), [], PLAIN)
    assert clip.images.shape == (6, 64, 64, 3)
    places = random.uniform(4, 60, (100, 2))
    for view in range(6):
        there, seen = clip.correspond(places, view)
        inner = seen & (there > 3).all(axis=1) & (there < 61).all(axis=1)
        assert inner.sum() > 20
        assert np.abs(sample(clip.images[0], places[inner]) - sample(clip.images[view], there[inner])).max() < 12
    np.testing.assert_allclose(clip.correspond(places, 0)[0], places, atol=1e-6)


def test_paths_are_smooth_and_as_fast_as_asked():
    def moved(settings, seed):
        clip = make_view_clip(np.random.default_rng(seed), ramp(), [], settings)
        middle = np.array([[32.0, 32.0]])
        return np.stack([clip.correspond(middle, view)[0][0] for view in range(settings.frames)])

    slow, fast = (
        [moved(replace(PLAIN, frames=16, speed=(speed, speed)), seed) for seed in range(5)] for speed in (0.2, 0.8)
    )
    for a, b in zip(slow, fast, strict=True):
        steps = np.linalg.norm(np.diff(b, axis=0), axis=1)
        bends = np.linalg.norm(np.diff(b, n=2, axis=0), axis=1)
        assert bends.max() < 0.5 * steps.max() and np.ptp(a, axis=0).max() < np.ptp(b, axis=0).max()


@pytest.mark.parametrize("figures", [0.0, 1.0])
def test_pieces_move_on_their_own_and_hide_what_is_behind(figures):
    settings = replace(PLAIN, views=replace(VIEWS, pieces=(1, 1)), speed=(0.8, 0.8), figures=figures)
    y, x = np.mgrid[2:62:3, 2:62:3] + 0.5
    places = np.stack([x, y], axis=2).reshape(-1, 2)
    covered, again, behind = 0, [], []
    for seed in range(12):
        clip = make_view_clip(np.random.default_rng(seed), plain((0, 0, 255)), [plain((255, 0, 0))], settings)
        on_piece = clip.shown(places, 0) == 1
        there, seen = clip.correspond(places, 5)
        again.append(sample(clip.images[5], there[seen & on_piece])[:, 0] > 127)
        behind.append(sample(clip.images[5], there[seen & ~on_piece])[:, 0] > 127)
        covered += (((there >= 0) & (there < 64)).all(axis=1) & ~seen & ~on_piece).sum()
    assert covered > 20 and len(np.concatenate(again)) > 60
    assert np.concatenate(again).mean() > 0.85 and np.concatenate(behind).mean() < 0.05


def test_exposure_drifts():
    still = replace(PLAIN, speed=(1e-6, 1e-6), views=replace(VIEWS, exposure=0.3))
    means = make_view_clip(np.random.default_rng(0), ramp(), [], still).images.mean(axis=(1, 2, 3))
    assert np.ptp(means) > 3 and np.abs(np.diff(means, n=2)).max() < np.ptp(means)


def test_clips_of_held_out_photographs_repeat(tmp_path):
    found = []
    for number in range(60):
        path = tmp_path / f"{number:04d}.png"
        Image.fromarray(ramp(12 + number, 16)).resize((80, 60)).save(path)
        found.append(Photograph(path, "made", "1", path.name, "", "CC0-1.0", ""))
    kept = [photograph.path.stem for photograph in found if photograph.held_out]
    settings = replace(PLAIN, views=PairSettings(size=32))
    few, again = (list(held_out_clips(found, 2, settings)) for _ in range(2))
    assert len(kept) >= 3 and len(few) == 2 and {name for name, _ in few} < set(kept)
    for (name, clip), (same, repeated) in zip(few, again, strict=True):
        assert name == same and np.array_equal(clip.images, repeated.images)
    assert len(list(held_out_clips(found, 99, settings))) == len(kept)
