"""Clips with exact tracks for the analysis of layers."""

import numpy as np
import pytest

from undertow.analysis.clips import FIRST_SEED, motion_clips, world_prompts
from undertow.base import SettingsError
from undertow.world import FIRST_BENCHMARK_SEED, FIRST_VALIDATION_SEED


def test_clips_are_held_out_and_the_same_whatever_the_count():
    assert FIRST_VALIDATION_SEED < FIRST_SEED < FIRST_BENCHMARK_SEED - 1000
    one, two = motion_clips(2, frames=3, points=4, size=(64, 96))
    (again,) = motion_clips(1, frames=3, points=4, size=(64, 96))
    assert one.images.shape == (3, 64, 96, 3) and one.tracks.shape == (16, 3, 2)
    np.testing.assert_array_equal(one.images, again.images)
    np.testing.assert_array_equal(one.tracks, again.tracks)
    assert one.name == "plain 0" and two.name == "camera 1"
    # Every point is seen where it is asked for, and something moves.
    assert one.visible[:, 0].all() and two.visible[:, 0].all()
    assert np.abs(two.tracks[:, 2] - two.tracks[:, 0]).max() > 1


@pytest.mark.parametrize(
    ("changes", "says"), [({"count": 0}, "--worlds is 0"), ({"frames": 1}, "--frames is 1"), ({"every": 0}, "--every")]
)
def test_numbers_out_of_range(changes, says):
    with pytest.raises(SettingsError, match=says):
        next(motion_clips(**{"count": 1, "frames": 3, "size": (64, 96), **changes}))


def test_prompts_are_sentences_of_the_world():
    prompts = world_prompts(3)
    assert len(prompts) == 3 and all(prompt.endswith(".") for prompt in prompts)
    assert prompts[:2] == world_prompts(2)
    with pytest.raises(SettingsError, match="--count is 0"):
        world_prompts(0)
