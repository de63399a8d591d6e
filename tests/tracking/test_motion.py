"""Tokens are followed along optical flow, and what it cannot know is not believed."""

from fractions import Fraction

import cv2
import numpy as np
import torch

from undertow.tracking import MaskTracker, TrackSettings
from undertow.tracking.motion import Motion, picture_of, places_on
from undertow.video import Frame

GRID = (20, 28)
RANDOM = np.random.default_rng(0)
CLOTH = cv2.resize(RANDOM.integers(0, 255, (20, 28), np.uint8), (224, 160), interpolation=cv2.INTER_CUBIC)


def colour(grey):
    return np.repeat(np.ascontiguousarray(grey)[..., None], 3, -1)


def test_places_go_where_the_picture_goes():
    before, after = CLOTH[:80, 8:120], CLOTH[:80, :112]
    motion = Motion(*(picture_of(colour(each), GRID) for each in (before, after)), GRID)
    here = places_on(GRID)
    there = motion(here)
    moved, inner = (there - here).view(3, *GRID), (slice(2, -2), slice(2, -5))
    # Eight pixels are two tokens.
    torch.testing.assert_close(moved[1][inner], torch.full_like(moved[1][inner], 2.0), atol=0.15, rtol=0)
    assert moved[0][inner].abs().max() < 0.15
    assert there[2].view(GRID)[inner].min() > 0.9
    # What left the picture is not believed, and stays so.
    assert there[2].view(GRID)[:, -1].max() < 0.5 and (motion(there)[2] <= there[2] + 1e-6).all()


def test_what_appears_is_not_believed():
    before, after = CLOTH[:80, :112], CLOTH[:80, :112].copy()
    after[24:56, 32:80] = CLOTH[100:132, 100:148]
    motion = Motion(*(picture_of(colour(each), GRID) for each in (before, after)), GRID)
    trust = motion(places_on(GRID))[2].view(GRID)
    assert trust[7:13, 9:19].mean() < 0.6 < 0.95 < trust[:, 22:].mean()


def test_only_previous_frames_are_followed_and_the_state_goes_on_exactly(tiny_like):
    frames = [Frame(i, Fraction(i), colour(CLOTH[:80, 16 - 4 * i : 128 - 4 * i]), f"{i:05d}") for i in range(5)]
    mask = np.zeros((80, 112), np.uint16)
    mask[20:50, 30:70] = 1
    settings = TrackSettings(preset="flow", tokens=560, lost="keep")

    def tracked(tracker, some):
        return [tracker.advance(f, tracker.observe([f])[0], mask if f.index == 0 else None) for f in some]

    whole = MaskTracker(tiny_like, settings)
    results = tracked(whole, frames)
    anchor, *recent = whole._state.memory.references()
    assert anchor.places is None and [each.places is None for each in recent] == [False] * 4
    begun = MaskTracker(tiny_like, settings)
    tracked(begun, frames[:3])
    resumed = MaskTracker(tiny_like, settings)
    resumed.restore(begun.state())
    for result, expected in zip(tracked(resumed, frames[3:]), results[3:], strict=True):
        assert np.array_equal(result.labels, expected.labels) and result.scores == expected.scores
    # The mask has gone along: four pixels a frame.
    rows, columns = np.nonzero(results[-1].labels)
    assert abs(columns.mean() - (50 + 16 - 0.5)) < 4 and abs(rows.mean() - 34.5) < 4
