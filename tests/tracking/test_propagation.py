"""What is carried to a frame: where no object can come from, nothing need be asked."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import undertow.tracking.propagation as propagation
from undertow.tracking import MaskTracker, TrackSettings
from undertow.world import crossing_scene


@pytest.fixture(scope="module")
def clip():
    return list(crossing_scene(height=96, width=160).clip(5))


def tracked(clip, backbone, settings):
    """Returns what a tracker gives of a small object in a corner: label maps, soft masks and masses."""
    tracker, given = MaskTracker(backbone, settings), np.zeros((96, 160), np.uint16)
    given[4:20, 6:26] = 3
    for number, picture in enumerate(clip):
        result = tracker.step(picture.image, given if number == 0 else None)
        yield result.labels, tracker.soft, result.scores[3].mass


@pytest.mark.parametrize("preset", ["drift", "dift", "crw", "pixels"])
def test_what_no_object_is_near_to_is_background_without_being_asked(preset, clip, tiny_like, monkeypatch):
    asked, settings = [], TrackSettings(preset=preset, tokens=1500, radius=4)
    recall = propagation.recall_affinity

    def counted(*arguments):
        asked.append(float(arguments[-1].float().mean()))
        return recall(*arguments)

    monkeypatch.setattr(propagation, "recall_affinity", counted)
    found = list(tracked(clip, tiny_like, settings))
    # CRW's first frame has no window: its object may be found anywhere.
    assert max(asked) == 1 if preset == "crw" else max(asked) < 0.6
    monkeypatch.setattr(propagation, "NOTHING", -1.0)
    whole = list(tracked(clip, tiny_like, settings))
    assert asked[-1] == 1
    for (labels, soft, mass), (others, softer, its_mass) in zip(found, whole, strict=True):
        assert np.array_equal(labels, others) and mass == pytest.approx(its_mass, abs=1e-3)
        torch.testing.assert_close(soft, softer, atol=2e-3, rtol=0)


def test_where_tokens_are_followed_all_are_asked(clip, tiny_like, monkeypatch):
    asked, recall = [], propagation.recall_affinity
    monkeypatch.setattr(propagation, "recall_affinity", lambda *given: asked.append(given[-1]) or recall(*given))
    list(tracked(clip, tiny_like, TrackSettings(preset="flow", tokens=1500, radius=4)))
    assert len(asked) > 4 and set(asked) == {None}


def test_a_cache_that_holds_the_whole_kernel_changes_nothing(clip, tiny_like, tmp_path):
    settings = TrackSettings(preset="dift", tokens=1500, radius=4)
    plain = list(tracked(clip, tiny_like, settings))
    for _ in range(2):
        kept = tracked(clip, tiny_like, replace(settings, cache=tmp_path))
        for (labels, soft, mass), (others, softer, its_mass) in zip(plain, kept, strict=True):
            assert np.array_equal(labels, others) and torch.equal(soft, softer) and mass == its_mass
