import pytest

from undertow.tracking import TrackSettings
from undertow.training.validation import Validation, validate
from undertow.world import WorldSettings

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
