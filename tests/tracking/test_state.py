"""A tracker that is packed away and restored answers as if it had never stopped."""

import numpy as np
import pytest
import torch
from safetensors.torch import load, save

from undertow.base import SettingsError
from undertow.tracking import MaskTracker, TrackSettings
from undertow.world import crossing_scene

SETTINGS = TrackSettings(tokens=240, recent=2)


@pytest.fixture(scope="module")
def clip():
    scene = crossing_scene(height=48, width=80, frames=24)
    return [scene.picture(float(index)) for index in range(7)]


def test_a_restored_tracker_goes_on_exactly(tiny_like, clip):
    tracker = MaskTracker(tiny_like, SETTINGS)
    tracker.step(clip[0].image, np.where(clip[0].labels == 1, 1, 0).astype(np.uint16))
    for picture in clip[1:3]:
        tracker.step(picture.image)
    # An object joins, so that some references do not know it.
    tracker.step(clip[3].image, np.where(clip[3].labels == 2, 9, 0).astype(np.uint16))
    tensors = load(save(tracker.state()))
    other = MaskTracker(tiny_like, SETTINGS)
    other.restore(tensors)
    assert other.ids == (1, 9)
    for picture in clip[4:]:
        ours, theirs = tracker.step(picture.image), other.step(picture.image)
        assert np.array_equal(ours.labels, theirs.labels)
        assert (ours.index, ours.scores) == (theirs.index, theirs.scores)
    for name, tensor in tracker.state().items():
        assert torch.equal(tensor, other.state()[name]), name


def test_the_state_does_not_grow(tiny_like, clip):
    tracker = MaskTracker(tiny_like, SETTINGS)
    sizes = []
    for index, picture in enumerate(clip):
        tracker.step(picture.image, clip[0].labels if index == 0 else None)
        sizes.append(sum(tensor.nbytes for tensor in tracker.state().values()))
    assert sizes[2] == sizes[-1]


def test_there_is_no_state_before_the_first_frame(tiny_like):
    with pytest.raises(SettingsError, match="before its first frame"):
        MaskTracker(tiny_like, SETTINGS).state()


@pytest.mark.parametrize("missing", ["size", "ids", "anchor", "anchor.0.keys", "recent.0.labels"])
def test_what_is_no_state_is_refused(tiny_like, clip, missing):
    tracker = MaskTracker(tiny_like, SETTINGS)
    tracker.step(clip[0].image, clip[0].labels)
    tracker.step(clip[1].image)
    tensors = tracker.state()
    del tensors[missing]
    with pytest.raises(SettingsError, match="not the state of a tracker"):
        MaskTracker(tiny_like, SETTINGS).restore(tensors)
