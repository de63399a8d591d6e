from dataclasses import replace

import numpy as np
import pytest
import torch

from undertow import load
from undertow.affinity.settings import KernelSettings
from undertow.affinity.similarity import LOG2_E, Similarity
from undertow.base import SettingsError
from undertow.tracking import MaskTracker, TrackSettings
from undertow.tracking.fusion import join
from undertow.tracking.settings import observer_of, resolve
from undertow.tracking.work import Load
from undertow.world import crossing_scene


def logits(queries, keys, settings):
    similarity = Similarity(queries, settings)
    return similarity.queries @ similarity.keys(keys).mT / LOG2_E


def test_logits_of_heads_of_any_width_are_added():
    draw = torch.Generator().manual_seed(0)
    first, second = ([torch.randn(*shape, generator=draw) for _ in range(2)] for shape in ((2, 5, 6), (3, 5, 4)))
    settings = KernelSettings(temperature=0.5)
    joined = (join([one, two], [0.7, 0.6], "dot") for one, two in zip(first, second, strict=True))
    expected = 0.7 * logits(*first, settings) + 0.6 * logits(*second, settings).mean(0)
    torch.testing.assert_close(logits(*joined, settings), expected)


def test_cosines_are_averaged():
    draw = torch.Generator().manual_seed(0)
    first, second = (torch.randn(1, 5, width, generator=draw) for width in (6, 4))
    settings = KernelSettings(similarity="cosine", temperature=0.5)
    joined = join([first, second], [0.75, 0.5], "cosine")
    expected = (0.75 * logits(first, first, settings) + 0.5 * logits(second, second, settings)) / 1.25
    torch.testing.assert_close(logits(joined, joined, settings), expected)


@pytest.fixture(scope="module")
def both():
    return load("tiny+tiny-video", device="cpu", dtype="float32", sites="track")


@pytest.fixture(scope="module")
def tiny():
    return load("tiny", device="cpu", dtype="float32", sites="track")


@pytest.fixture(scope="module")
def pictures():
    drawn = crossing_scene(height=64, width=96, frames=24)
    return [drawn.picture(2.0 * index) for index in range(3)]


@pytest.mark.parametrize("preset", ["drift", "dift"])
def test_two_models_track_as_one(both, tiny, pictures, preset):
    settings = TrackSettings(preset=preset, tokens=96)
    tracker = MaskTracker(both, settings)
    found = [
        tracker.step(each.image, each.labels if number == 0 else None).labels for number, each in enumerate(pictures)
    ]
    overlap = (found[-1] > 0) & (pictures[-1].labels > 0)
    assert overlap.sum() > 0.5 * ((found[-1] > 0) | (pictures[-1].labels > 0)).sum()
    (partner,) = tracker.resolved.partners
    assert partner.grid == tracker.resolved.grid and partner.model == "tiny-video"
    assert tracker.resolved.as_dict()["partners"][0]["noising"]["timestep"] == 150
    assert tracker.resolved.lost == "keep", "presence was calibrated for one model"
    # Without a share, the second model says nothing.
    alone = [MaskTracker(model, replace(settings, share=0.0, lost="keep")) for model in (both, tiny)]
    for each in alone:
        each.step(pictures[0].image, pictures[0].labels)
    assert np.array_equal(*(each.step(pictures[1].image).labels for each in alone))


def test_hidden_states_of_both_are_held_once(both, pictures):
    resolved = resolve(TrackSettings(preset="dift", tokens=96), both, 64, 96)
    (seen,) = observer_of(both, resolved).see([pictures[0].image], [0])
    assert seen.queries is seen.keys
    held = Load(resolved, (64, 96), 3, 2, 1)
    assert held.queries == held.keys == seen.keys.numel() * seen.keys.element_size()


def test_weights_of_both_are_counted_and_printed(both, tiny):
    assert both.fingerprint() != tiny.fingerprint()
    assert both.parts().keys() == {*tiny.parts(), "partner tiny-video"}


@pytest.mark.parametrize(
    ("options", "reason"), [({"preset": "pixels"}, "compares nothing"), ({"tuning": "fast"}, "tuned")]
)
def test_what_needs_one_model_says_so(both, pictures, options, reason):
    with pytest.raises(SettingsError, match=reason):
        MaskTracker(both, TrackSettings(**options)).step(pictures[0].image, pictures[0].labels)
