import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from undertow.affinity import KernelSettings
from undertow.backbones import load
from undertow.base import SettingsError
from undertow.observing.observer import FrameFeatures
from undertow.tracking import MaskTracker, PresenceModel, PresenceSignals, TrackSettings, track
from undertow.tracking.lost import judge, without
from undertow.tracking.memory import Memory, Reference
from undertow.tracking.presence import ANCHOR_TOKENS, AnchorTokens, given, log_odds, winners
from undertow.world import FIRST_VALIDATION_SEED, make_family_scene

GRID = (12, 16)
KERNEL = KernelSettings(radius=2, topk=5, temperature=0.3)
SURE = PresenceSignals(home=0.95, area=0.0, margin=0.9)


def block(top, left, side=4):
    """Tokens of a square on the grid."""
    inside = torch.zeros(GRID, dtype=torch.bool)
    inside[top : top + side, left : left + side] = True
    return inside.flatten()


def frame(*places, side=4, scale=8.0, seed=0):
    """Features of a frame: ground of its own everywhere, and object i, whose tokens are much alike, at places[i]."""
    generator = torch.Generator().manual_seed(seed)
    ground = torch.randn(GRID[0] * GRID[1], 24, generator=generator)
    tokens = torch.nn.functional.normalize(ground, dim=-1) * scale
    for number, place in enumerate(places):
        generator = torch.Generator().manual_seed(100 + number)
        own = torch.randn(24, generator=generator) + 0.5 * torch.randn(side * side, 24, generator=generator)
        if place is not None:
            tokens[block(*place, side)] = torch.nn.functional.normalize(own, dim=-1) * scale
    return FrameFeatures(tokens[None], tokens[None])


def labels_of(*masks):
    soft = torch.stack([torch.zeros(len(masks[0])), *(mask.float() for mask in masks)])
    soft[0] = 1 - soft[1:].sum(0)
    return soft


def anchor(features, *masks, kernel=KERNEL):
    labels = labels_of(*masks)
    anchor_tokens = AnchorTokens(features, kernel)
    own = [torch.zeros(2), *(anchor_tokens.own(features.keys, labels, labels, c + 1) for c in range(len(masks)))]
    return Reference(0, features.keys, labels, torch.ones(len(labels)).bool(), torch.stack(own, dim=1))


def test_presence_rises_with_every_signal_and_is_a_probability():
    model = PresenceModel()
    assert model.probability(SURE) > 0.9
    worse = (replace(SURE, home=0.2), replace(SURE, area=-2.0), replace(SURE, margin=0.3))
    assert all(model.probability(signals) < model.probability(SURE) for signals in worse)
    nothing = model.probability(PresenceSignals(0.0, -6.0, 0.0))
    assert 0 <= nothing < 0.01 < model.lost_below < model.found_from < 1
    plain = PresenceModel(bias=0.5, home=1.0, area=2.0, margin=3.0)
    odds = 0.5 + math.log(0.25 / 0.75) - 2.0 + 1.5
    assert plain.probability(PresenceSignals(0.25, -1.0, 0.5)) == pytest.approx(1 / (1 + math.exp(-odds)))


def test_an_object_that_changed_is_not_lost_as_long_as_it_keeps_its_size():
    model, changed = PresenceModel(), PresenceSignals(home=0.04, area=-0.5, margin=0.1)
    assert model.probability(changed) < model.lost_below and not model.lost(changed)
    assert model.lost(replace(changed, area=-2.0)) and model.lost(replace(changed, home=0.0))
    assert model.found(SURE) and not model.found(replace(SURE, area=0.5)) and not model.found(replace(SURE, home=0.4))


def test_log_odds_saturate():
    assert log_odds(0.5) == 0 and log_odds(0.0) == log_odds(0.005) < log_odds(0.02)
    assert log_odds(1.0) == pytest.approx(-log_odds(0.0))


def test_an_object_that_moved_comes_home_to_its_mask_and_to_no_other():
    first, later = frame((1, 1)), frame((6, 9))
    anchor_tokens = AnchorTokens(later, KERNEL, [anchor(first, block(1, 1))])
    right, stale = (anchor_tokens.signals(labels_of(mask), 1) for mask in (block(6, 9), block(1, 1)))
    half = anchor_tokens.signals(labels_of(block(6, 9) & ~block(6, 11)), 1)
    assert right.home > 0.95 and stale.home < 0.05 and 0.4 < half.home < 0.6
    assert right.area == 0 and half.area == pytest.approx(math.log(9 / 17))
    gone = AnchorTokens(frame(None), KERNEL, [anchor(first, block(1, 1))])
    assert gone.signals(labels_of(block(1, 1)), 1).home < 0.5
    assert gone.signals(labels_of(torch.zeros(192).bool()), 1) is None


@pytest.mark.parametrize("scale", [3.0, 8.0, 40.0])
def test_signals_mean_the_same_for_long_and_short_vectors(scale):
    # Short vectors make a soft kernel: even on the anchor much attention strays, which is no news on later frames.
    first, later = frame((1, 1), scale=scale), frame((6, 9), scale=scale)
    anchor_tokens = AnchorTokens(later, KERNEL, [anchor(first, block(1, 1))])
    right, stale = (anchor_tokens.signals(labels_of(mask), 1) for mask in (block(6, 9), block(1, 1)))
    assert right.home > 0.9 and stale.home < 0.5 * right.home


def test_the_anchor_that_finds_an_object_best_counts():
    # Seen from two sides: object 2's look is on another anchor under the same name.
    one, two = frame((1, 1), None), frame(None, (1, 1))
    later = frame(None, (6, 9))
    anchors = [anchor(one, block(1, 1)), anchor(two, block(1, 1))]
    assert AnchorTokens(later, KERNEL, anchors).signals(labels_of(block(6, 9)), 1).home > 0.95
    assert AnchorTokens(later, KERNEL, anchors[:1]).signals(labels_of(block(6, 9)), 1).home < 0.5


def test_objects_that_win_no_token_are_judged_by_their_peak():
    soft = torch.tensor([[0.6, 0.7, 1.0], [0.4, 0.3, 0.0]])
    assert winners(soft, 1).tolist() == [True, False, False]
    assert not winners(torch.tensor([[0.9, 1.0], [0.1, 0.0]]), 1).any()
    assert winners(torch.tensor([[0.4, 0.6], [0.6, 0.4]]), 1).tolist() == [True, False]


def test_large_objects_are_asked_by_a_bounded_number_of_tokens(monkeypatch):
    grid = (60, 60)
    tokens = torch.nn.functional.normalize(torch.randn(1, 3600, 8, generator=torch.Generator().manual_seed(0)), dim=-1)
    features = FrameFeatures(tokens, tokens)
    mask = torch.arange(3600) < 3000
    rows = []
    share = AnchorTokens._share
    monkeypatch.setattr(AnchorTokens, "_share", lambda self, k, t, i: rows.append(len(t)) or share(self, k, t, i))
    reference = anchor(features, mask)
    AnchorTokens(features, KERNEL, [reference]).signals(labels_of(mask), 1)
    assert rows == [ANCHOR_TOKENS, ANCHOR_TOKENS] and grid[0] * grid[1] > 10 * ANCHOR_TOKENS


def verdict_on(later, soft, anchors, channels=(1,), *, search=True):
    # A threshold at which a mask that is as sure as its anchor's can still be disbelieved.
    return judge(soft, later, anchors, channels, GRID, KERNEL, PresenceModel(lost_below=0.4), search=search)


def test_a_lost_object_leaves_its_place_and_is_found_far_away():
    first, later = frame((1, 1)), frame((7, 11))
    soft = labels_of(block(1, 1))
    alone = verdict_on(later, soft, [anchor(first, block(1, 1))], search=False)
    assert alone.lost == {1} and not alone.soft[1].any() and alone.presence[1] < 0.3
    torch.testing.assert_close(alone.soft, without(soft, 1))
    found = verdict_on(later, soft, [anchor(first, block(1, 1))])
    assert not found.lost and found.presence[1] > 0.6
    assert winners(found.soft, 1)[block(7, 11)].all(), "six tokens beyond its window"
    assert winners(found.soft, 1).sum() <= 18
    torch.testing.assert_close(found.soft.sum(0), torch.ones(192))


def test_an_object_that_is_gone_stays_lost_and_others_keep_what_is_theirs():
    first, later = frame((1, 1), (7, 2)), frame(None, (7, 3))
    # Where object 1 was, propagation has left a small and doubtful remainder.
    soft = labels_of(0.6 * block(1, 1, 2), block(7, 3))
    verdict = verdict_on(later, soft, [anchor(first, block(1, 1), block(7, 2))], (1, 2))
    assert verdict.lost == {1} and verdict.presence[2] > 0.9
    torch.testing.assert_close(verdict.soft[2], soft[2])
    assert not verdict.soft[1].any()


def test_objects_that_are_there_are_left_alone():
    first, later = frame((1, 1)), frame((2, 2))
    soft = labels_of(block(2, 2))
    verdict = verdict_on(later, soft, [anchor(first, block(1, 1))])
    assert verdict.soft is soft and not verdict.lost and not verdict.searched


def test_anchors_without_self_scores_still_name_their_objects():
    # As restored from a folder that was written before there were any.
    whole = anchor(frame((1, 1)), block(1, 1))
    bare = replace(whole, own=None)
    assert given([bare], 1) == [bare]
    assert AnchorTokens(frame((6, 9)), KERNEL, [bare]).signals(labels_of(block(6, 9)), 1).home > 0.8


def test_new_objects_are_not_named_by_old_anchors():
    (old,) = Memory(limit=2).with_anchor(anchor(frame((1, 1)), block(1, 1))).with_objects(2).anchors
    assert old.own.shape == (2, 4) and not given([old], 2) and given([old], 1) == [old]


def test_the_setting_is_checked():
    with pytest.raises(SettingsError, match="lost"):
        TrackSettings(lost="maybe")


@pytest.fixture(scope="module")
def tiny():
    return load("tiny", dtype="float32")


@pytest.fixture(scope="module")
def returning():
    """A clip whose two objects leave for a third of the time and come back."""
    scene = make_family_scene("reentry", FIRST_VALIDATION_SEED + 108, 135, 240)
    pictures = [scene.picture(float(3 * step)) for step in range(16)]
    return np.stack([p.image for p in pictures]), [p.labels for p in pictures]


SETTINGS = TrackSettings(tokens=600)


def overlap(a, b):
    return (a & b).sum() / max(1, (a | b).sum())


def test_an_object_that_leaves_is_lost_and_found_when_it_is_back(returning, tiny):
    images, truth = returning
    tracker = MaskTracker(tiny, SETTINGS)
    ids = [int(i) for i in np.unique(truth[0]) if i]
    results = [tracker.step(image, truth[0] if i == 0 else None) for i, image in enumerate(images)]
    assert all(score.presence == 1 and not score.lost for score in results[0].scores.values())
    gone = [t for t, labels in enumerate(truth) if not labels.any()]
    assert len(gone) >= 4
    for t in gone[1:]:
        assert all(results[t].scores[i].lost and results[t].scores[i].presence < 0.5 for i in ids)
        assert not results[t].labels.any()
    assert not any(score.lost for score in results[-1].scores.values())
    assert min(overlap(results[-2].labels == i, truth[-2] == i) for i in ids) > 0.35


def test_frames_of_a_lost_object_teach_that_it_is_not_there(returning, tiny):
    images, truth = returning
    tracker = MaskTracker(tiny, SETTINGS)
    gone = next(t for t, labels in enumerate(truth) if not labels.any()) + 1
    for i, image in enumerate(images[: gone + 1]):
        tracker.step(image, truth[0] if i == 0 else None)
    references = tracker._state.memory.references()
    assert not references[-1].labels[1:].any() and references[-1].known.all()
    assert len(references) == 1 + min(gone, tracker.resolved.recent)
    assert [r.own is not None for r in references] == [True] + [False] * (len(references) - 1)


def test_an_anchor_given_meanwhile_does_not_deny_a_lost_object(returning, tiny):
    images, truth = returning
    tracker = MaskTracker(tiny, SETTINGS)
    gone = next(t for t, labels in enumerate(truth) if not labels.any()) + 1
    other = np.zeros_like(truth[0])
    other[20:60, 20:60] = 9
    for i, image in enumerate(images[: gone + 1]):
        result = tracker.step(image, {0: truth[0], gone: other}.get(i))
    assert result.scores[1].lost and not result.scores[9].lost
    _first, second = tracker._state.memory.anchors
    assert not second.known[1] and second.known[-1] and second.own[0, -1] > 0 and second.own[0, 1] == 0
    assert np.array_equal(result.labels, other)


def test_keeping_changes_no_mask_and_still_says_so(returning, tiny, monkeypatch):
    images, truth = returning
    kept = list(track(images[:8], truth[0], tiny, replace(SETTINGS, lost="keep")))
    # A model that believes everything loses nothing, whatever the setting.
    monkeypatch.setattr(MaskTracker, "__init__", _credulous(MaskTracker.__init__))
    believed = list(track(images[:8], truth[0], tiny, SETTINGS))
    for one, other in zip(kept, believed, strict=True):
        assert np.array_equal(one.labels, other.labels)
    assert any(score.lost and score.area for result in kept for score in result.scores.values())
    assert all(score.area == 0 for result in believed for score in result.scores.values() if score.lost)


def _credulous(begin):
    def wrapped(self, *args):
        begin(self, *args)
        self.presence_model = PresenceModel(bias=1000.0)

    return wrapped
