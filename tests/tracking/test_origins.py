"""Frames of long ago are laid out as the present one: each token beside where it came from."""

import itertools
from dataclasses import replace
from fractions import Fraction

import cv2
import numpy as np
import torch

from undertow.affinity import Affinity
from undertow.tracking import MaskTracker, TrackSettings
from undertow.tracking.kernels import ObjectKernel, TunedKernels
from undertow.tracking.memory import Memory, Reference
from undertow.tracking.motion import Motion, picture_of, places_on
from undertow.tracking.origins import (
    EVERY,
    GIVEN,
    KEPT,
    far,
    laid_out,
    moved,
    settled,
    with_followed_anchor,
    with_followed_frame,
)
from undertow.video import Frame

GRID = (10, 14)
TOKENS = GRID[0] * GRID[1]
RANDOM = np.random.default_rng(0)
CLOTH = cv2.resize(RANDOM.integers(0, 255, (20, 30), np.uint8), (480, 320), interpolation=cv2.INTER_CUBIC)


def colour(grey):
    return np.repeat(np.ascontiguousarray(grey)[..., None], 3, -1)


def reference(index, objects=1):
    labels = torch.rand(objects + 1, TOKENS, generator=torch.Generator().manual_seed(index))
    return Reference(index, torch.randn(1, TOKENS, 4), labels, torch.ones(objects + 1).bool())


def itself():
    return places_on(GRID)[:2]


def test_a_given_mask_goes_where_the_picture_goes():
    # Eight pixels are a token; the picture moves by one token to the right in each of six frames.
    pictures = [picture_of(colour(CLOTH[:80, 48 - 8 * i : 160 - 8 * i]), GRID) for i in range(7)]
    anchor = reference(0)
    memory = with_followed_anchor(Memory(limit=2), anchor, GRID)
    for before, after in itertools.pairwise(pictures):
        memory = replace(memory, origins=moved(memory.origins, Motion(before, after, GRID)))
    (found,) = laid_out(memory, GRID)
    shown, given = (each.labels.view(-1, *GRID) for each in (found, anchor))
    assert torch.equal(shown[:, 2:-2, 8:-1], given[:, 2:-2, 2:-7])
    assert torch.equal(found.keys.view(1, *GRID, 4)[:, 2:-2, 8:-1], anchor.keys.view(1, *GRID, 4)[:, 2:-2, 2:-7])
    # Its own tokens came with it, and so did what is known of them.
    torch.testing.assert_close(found.origins[0], memory.origins[0].round().clamp(min=0), atol=0, rtol=0)


def reference_settled(affinity, tables, expected):
    """What `settled` says, one token at a time."""
    origins = expected.clone()
    for token, (indices, weights) in enumerate(zip(affinity.indices.tolist(), affinity.weights.tolist(), strict=True)):
        matches = []
        for index, weight in zip(indices, weights, strict=True):
            table = tables[index // TOKENS]
            if table is not None and weight > 0:
                matches.append((weight, table[:, index % TOKENS]))
        if matches:
            _, best = max(matches, key=lambda match: match[0])
            agreeing = [(weight, place) for weight, place in matches if float((place - best).abs().max()) <= 2]
            total = sum(weight for weight, _ in agreeing)
            origins[:, token] = sum(weight * place for weight, place in agreeing) / total
    return origins


def test_matches_set_origins_right():
    draw = torch.Generator().manual_seed(0)
    memory = with_followed_anchor(Memory(limit=2), reference(0), GRID)
    memory = replace(memory, origins={0: itself() + 0.3})
    near = itself() + 3 * torch.rand(2, TOKENS, generator=draw)
    references = [replace(reference(1), origins={0: near}), replace(reference(2), origins={}), reference(3)]
    references[2] = replace(references[2], origins={0: itself().flip(1), 9: itself()})
    weights = torch.rand(TOKENS, 5, generator=draw)
    weights[::7] = 0.0
    indices = torch.randint(3 * TOKENS, (TOKENS, 5), generator=draw)
    indices[1::7] = indices[1::7] % TOKENS + TOKENS
    affinity = Affinity(indices, weights, torch.ones(TOKENS))
    found = settled(affinity, references, memory)
    assert list(found) == [0]
    torch.testing.assert_close(found[0], reference_settled(affinity, [near, None, itself().flip(1)], itself() + 0.3))
    # Where nothing matches, or only what knows of no origin, they stay as expected.
    assert torch.equal(found[0][:, ::7], memory.origins[0][:, ::7])
    assert torch.equal(found[0][:, 1::7], memory.origins[0][:, 1::7])


def test_a_few_frames_stay_and_are_laid_out_once_they_are_not_recent():
    memory, present = with_followed_anchor(Memory(limit=3), reference(0), GRID), []
    for index in range(1, 8 * EVERY):
        memory = with_followed_frame(memory, reference(index), GRID)
        memory = replace(memory, origins={each.index: itself() for each in far(memory)})
        present.append([each.index for each in laid_out(memory, GRID)])
        assert len(memory.distant) <= KEPT and len(memory.recent) <= 3
        assert not set(present[-1]) & {each.index for each in memory.recent}
    assert present[EVERY + 1] == [0] and present[EVERY + 2] == [0, EVERY]
    assert present[-1] == [0, *range((8 - KEPT) * EVERY, 8 * EVERY, EVERY)]


def test_of_many_given_masks_the_last_ones_are_laid_out():
    memory = Memory(limit=3)
    for index in range(4):
        memory = with_followed_anchor(memory, reference(index), GRID)
    assert [each.index for each in laid_out(memory, GRID)] == [0, 1, 2, 3][-GIVEN:]


def test_a_frame_on_which_an_object_was_lost_does_not_know_it_for_long():
    memory = with_followed_anchor(Memory(limit=2), reference(0, objects=2), GRID)
    for index in range(1, EVERY + 1):
        memory = with_followed_frame(memory, reference(index, objects=2), GRID, lost=[2])
    assert memory.distant[0].known.tolist() == [True, True, False]
    assert all(each.known.all() for each in memory.recent)


def test_a_run_goes_on_exactly_with_frames_of_long_ago(tiny_like):
    frames = [Frame(i, Fraction(i), colour(CLOTH[:80, 120 - 3 * i : 232 - 3 * i]), f"{i:05d}") for i in range(20)]
    mask = np.zeros((80, 112), np.uint16)
    mask[20:50, 10:40] = 1
    settings = TrackSettings(preset="flow", tokens=TOKENS, lost="keep")

    def tracked(tracker, some):
        return [tracker.advance(f, tracker.observe([f])[0], mask if f.index == 0 else None).labels for f in some]

    whole = MaskTracker(tiny_like, settings)
    expected = tracked(whole, frames)
    assert [each.index for each in far(whole._state.memory)] == [0, EVERY, 2 * EVERY]
    begun = MaskTracker(tiny_like, settings)
    tracked(begun, frames[: EVERY + 2])
    resumed = MaskTracker(tiny_like, settings)
    resumed.restore(begun.state())
    for found, wanted in zip(tracked(resumed, frames[EVERY + 2 :]), expected[EVERY + 2 :], strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_where_objects_have_kernels_of_their_own_no_more_is_kept(tiny_like):
    kernel = ObjectKernel(tiny_like.condition(""), torch.ones(1))
    settings = TrackSettings(preset="flow", tokens=60, recent=2)
    tracker = MaskTracker(tiny_like, settings, TunedKernels({1: kernel, 2: replace(kernel)}))
    mask = np.zeros((80, 112), np.uint16)
    mask[20:50, 10:40], mask[20:50, 60:90] = 1, 2
    for index in range((KEPT + 4) * EVERY):
        tracker.step(colour(CLOTH[:80, 120 - 2 * index : 232 - 2 * index]), mask if index == 0 else None)
        memory = tracker._state.memory
        for each in (memory, *memory.anchors, *memory.recent, *memory.distant):
            assert len(each.origins) <= 1 + KEPT + 1


def test_an_object_that_a_run_shows_nowhere_is_not_held_against_it_for_long(tiny_like):
    settings = TrackSettings(preset="flow", tokens=60, recent=EVERY, lost="empty")
    tracker, mask = MaskTracker(tiny_like, settings), np.zeros((80, 112), np.uint16)
    mask[20:50, 10:40], mask[20:50, 60:90] = 1, 2
    picture = colour(CLOTH[:80, :112])
    tracker.step(picture, mask)
    for index in range(1, EVERY + 1):
        frame = Frame(index, Fraction(index), picture, f"{index:05d}")
        tracker.remember(frame, tracker.observe([frame])[0], np.where(mask == 1, mask, 0).astype(np.uint16))
    memory = tracker._state.memory
    assert memory.distant[0].known.tolist() == [True, True, False]
    assert all(each.known.all() for each in memory.recent)


def test_after_a_leap_only_what_came_later_is_laid_out(tiny_like):
    pictures = [colour(CLOTH[:80, 360 - 8 * i : 472 - 8 * i]) for i in range(44)]
    frames = [Frame(i, Fraction(i), picture, f"{i:05d}") for i, picture in enumerate(pictures)]
    mask = np.zeros((80, 112), np.uint16)
    mask[20:50, 10:40] = 1
    tracker = MaskTracker(tiny_like, TrackSettings(preset="flow", tokens=60))
    tracker.advance(frames[0], tracker.observe([frames[0]])[0], mask)
    for frame in frames[22:25]:
        tracker.remember(frame, tracker.observe([frame])[0], mask)
    # The first frame is no longer known place by place, and flow cannot tell over so many frames.
    assert not far(tracker._state.memory)
    for frame in frames[25:]:
        tracker.advance(frame, tracker.observe([frame])[0])
    later = [each.index for each in far(tracker._state.memory)]
    assert len(later) == KEPT and min(later) >= 25
