import numpy as np
import pytest

from undertow.points import PointSettings
from undertow.tracking import TrackSettings
from undertow.training.validation import Validation, match_photographs, validate
from undertow.world import WorldSettings
from undertow.world.view_pairs import PhotoPair

WORLD = WorldSettings(height=96, width=160, leaves=20, objects=(1, 2), copies=0.0, motion=0.5)


def test_validation_is_a_score_that_repeats(tiny_like):
    few = Validation(scenes=2, frames=3, stride=1, world=WORLD)
    settings = TrackSettings(preset="pixels", tokens=960, radius=4)
    score = validate(tiny_like, settings, few)
    assert 0.3 < score < 1
    assert validate(tiny_like, settings, few) == pytest.approx(score)


def test_a_still_world_scores_higher_than_a_moving_one(tiny_like):
    settings = TrackSettings(preset="pixels", tokens=960, radius=1)
    still, moving = (
        validate(tiny_like, settings, Validation(scenes=2, frames=3, stride=stride, world=WORLD)) for stride in (0, 12)
    )
    assert still > moving


def test_matching_photographs_scores_what_is_seen(tiny_like):
    image = np.random.default_rng(0).integers(0, 255, (16, 16, 3), dtype=np.uint8).repeat(8, axis=0).repeat(8, axis=1)
    points = np.random.default_rng(1).uniform(32, 96, (12, 2))
    settings = PointSettings(preset="pixels", tokens=256)

    def score(moved, seen):
        frames = np.stack([image, np.roll(image, moved, axis=1)])
        tracks, visible = (
            np.stack([points, points + np.array([16, 0])], axis=1),
            np.stack([np.ones(12, bool), seen], axis=1),
        )
        return match_photographs(tiny_like, settings, [PhotoPair("made", frames, tracks, visible)])

    everywhere, some = np.ones(12, bool), np.arange(12) < 6
    assert score(16, everywhere) > 0.35 > 0.1 > score(48, everywhere)
    # Points that are hidden do not count, wherever they are found.
    assert score(16, some) > 0.3
