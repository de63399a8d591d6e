"""Objects are told apart by what they look like: a regression over the tokens near them."""

import dataclasses
from fractions import Fraction

import numpy as np
import pytest
import torch

from undertow.affinity import get_preset
from undertow.base import SettingsError
from undertow.tracking import MaskTracker, TrackSettings
from undertow.tracking.appearance import (
    COLOUR,
    FEATURES,
    LEAST,
    MOST,
    POWER,
    WIDTH,
    Lesson,
    Looks,
    _learned,
    colours_of,
    told_apart,
)
from undertow.tracking.learned import Learned, distinguished
from undertow.tracking.memory import Memory, Reference
from undertow.tracking.regression import REACH, RIDGE, SOME, _mixtures
from undertow.video import Frame

GRID, RADIUS = (12, 16), 3
TOKENS = GRID[0] * GRID[1]


def blob(row, column, objects, which):
    """Soft labels of a disc of one object, background elsewhere."""
    rows, columns = torch.meshgrid(torch.arange(GRID[0]), torch.arange(GRID[1]), indexing="ij")
    inside = ((rows - row) ** 2 + (columns - column) ** 2 < 7).float().flatten() * 0.9
    labels = torch.zeros(objects + 1, TOKENS)
    labels[which], labels[0] = inside, 1 - inside
    return labels


def frame(index, labels, given=False, known=None, colours=None, seed=None):
    random = torch.Generator().manual_seed(index if seed is None else seed)
    keys = torch.randn(2, TOKENS, 3, generator=random)
    colours = torch.rand(TOKENS, 3, generator=random) if colours is None else colours
    own = torch.zeros(2, len(labels)) if given else None
    known = torch.ones(len(labels)).bool() if known is None else torch.tensor(known)
    return Reference(index, keys, labels, known, own, colours=colours)


def reference_near(labels, reach):
    objects = labels[1:].sum(0).view(GRID)
    return [
        row * GRID[1] + column
        for row in range(GRID[0])
        for column in range(GRID[1])
        if bool(
            (objects[max(0, row - reach) : row + reach + 1, max(0, column - reach) : column + reach + 1] > SOME).any()
        )
    ]


def reference_told_apart(present, references):
    """The regression as one weighted least-squares problem for each channel, one token at a time."""
    reach = round(REACH * RADIUS)
    first = torch.cat([references[0].keys[0], references[0].keys[1], references[0].colours], 1).double()
    mean, spread = first.mean(0), first.std(0)
    keys, colours = slice(0, 6), slice(6, 9)
    scale = torch.cat(
        [
            1 / spread[keys].clamp(min=0.1 * float(spread[keys].max())),
            COLOUR / spread[colours].clamp(min=0.1 * float(spread[colours].max())),
        ]
    )
    typical = ((first - mean) * scale).square().sum(1).mean().sqrt()
    mixtures, phases = (each.double() for each in _mixtures(9, FEATURES))

    def features(each, token):
        x = torch.cat([each.keys[0, token], each.keys[1, token], each.colours[token]]).double()
        waves = torch.cos((x - mean) * scale @ mixtures / (WIDTH * typical) + phases)
        return torch.cat([waves * (2 / len(waves)) ** 0.5, torch.ones(1).double()])

    found = present.labels.double().clone()
    asked = reference_near(present.labels, reach)
    shares = {}
    for channel in range(len(found)):
        knowing = [each for each in references if each.known[channel]]
        rows, targets, weights = [], [], []
        for each in knowing:
            like = [other for other in knowing if (other.own is None) == (each.own is None)]
            tokens = reference_near(each.labels, reach)
            objects = [float(each.labels[1:, token].sum()) for token in tokens]
            inside, outside = max(1, sum(objects)), max(1, sum(1 - share for share in objects))
            for token, share in zip(tokens, objects, strict=True):
                rows.append(features(each, token))
                targets.append(float(each.labels[channel, token]))
                weights.append((share / inside + (1 - share) / outside) / len(like))
        design, weight = torch.stack(rows), torch.tensor(weights).double()
        gram = design.T @ (design * weight[:, None])
        ridge = RIDGE * gram.diagonal().mean() * torch.eye(len(gram))
        solved = torch.linalg.solve(gram + ridge, design.T @ (weight * torch.tensor(targets).double()))
        for token in asked:
            shares[channel, token] = min(max(float(features(present, token) @ solved), LEAST), 1 - LEAST)
    for (channel, token), share in shares.items():
        found[channel, token] *= share**POWER
    return found / found.sum(0)


@pytest.mark.parametrize("known", [None, (True, True, False)])
def test_it_is_a_weighted_ridge_regression(known):
    references = [
        frame(0, blob(5, 5, 2, 1), given=True, known=known),
        frame(3, (blob(4, 9, 2, 2) + blob(5, 5, 2, 1)) / 2, given=True),
        frame(5, blob(6, 6, 2, 1)),
        frame(6, blob(6, 9, 2, 2)),
    ]
    present = frame(7, (blob(6, 7, 2, 1) + blob(4, 9, 2, 2)) / 2)
    told = told_apart(present, references, GRID, RADIUS)
    # Normal equations in single precision.
    torch.testing.assert_close(told.double(), reference_told_apart(present, references), atol=2e-3, rtol=0)
    assert not torch.allclose(told, present.labels, atol=0.02)


def painted(labels, random):
    """Red objects on green ground."""
    colours = torch.rand(TOKENS, 3, generator=random) * 0.1
    inside = labels[1] > 0.5
    colours[inside, 0] += 0.8
    colours[~inside, 1] += 0.8
    return colours


def test_what_looks_like_the_object_gets_more_of_it():
    random = torch.Generator().manual_seed(1)
    before, now = blob(5, 5, 1, 1), blob(5, 7, 1, 1)
    anchor = frame(0, before, given=True, colours=painted(before, random))
    # What was carried lags behind.
    present = frame(1, before, colours=painted(now, random))
    told = told_apart(present, [anchor], GRID, RADIUS)
    wrong, missed = (before[1] > 0.5) & (now[1] < 0.5), (before[1] < 0.5) & (now[1] > 0.5)
    assert (told[1, wrong] < before[1, wrong] - 0.05).all()
    assert (told[1, missed] >= before[1, missed]).all()
    torch.testing.assert_close(told.sum(0), torch.ones(TOKENS))


def test_what_is_far_from_objects_stays_as_it_was():
    present = frame(1, blob(3, 3, 1, 1))
    told = told_apart(present, [frame(0, blob(3, 3, 1, 1), given=True)], GRID, RADIUS)
    far = torch.ones(TOKENS).bool()
    far[reference_near(present.labels, round(REACH * RADIUS))] = False
    assert far.any()
    assert torch.equal(told[:, far], present.labels[:, far])


def test_an_object_without_pixels_gets_none():
    present = frame(1, blob(4, 4, 2, 1))
    told = told_apart(present, [frame(0, blob(4, 4, 2, 1), given=True)], GRID, RADIUS)
    assert not told[2].any()
    nothing = frame(2, blob(40, 40, 2, 1))
    assert torch.equal(told_apart(nothing, [frame(0, blob(4, 4, 2, 1), given=True)], GRID, RADIUS), nothing.labels)


@pytest.mark.parametrize("flat", ["keys", "colours", "both"])
def test_a_frame_of_one_colour_teaches_nothing_and_breaks_nothing(flat):
    labels = blob(5, 5, 1, 1)
    anchor = frame(0, labels, given=True)
    if flat in ("keys", "both"):
        anchor = dataclasses.replace(anchor, keys=torch.zeros(2, TOKENS, 3))
    if flat in ("colours", "both"):
        anchor = dataclasses.replace(anchor, colours=torch.full((TOKENS, 3), 0.5))
    told = told_apart(dataclasses.replace(anchor, index=1, own=None), [anchor], GRID, RADIUS)
    assert told.isfinite().all()
    if flat == "both":
        # All tokens look alike, so both sides are as likely everywhere, up to the balance of labels that are no ones.
        torch.testing.assert_close(told, labels, atol=0.1, rtol=0)


@pytest.mark.parametrize("flat", ["keys", "colours"])
def test_what_does_not_differ_in_the_first_frame_is_not_looked_at(flat):
    labels = blob(5, 5, 1, 1)
    random = torch.Generator().manual_seed(7)
    plain = {"keys": torch.full((2, TOKENS, 3), 0.1), "colours": torch.full((TOKENS, 3), 0.1)}[flat]
    # Rounding may leave a little.
    anchor = dataclasses.replace(frame(0, labels, given=True), **{flat: plain + 1e-8})
    present = frame(1, blob(6, 6, 1, 1))
    other = dataclasses.replace(present, **{flat: torch.rand(plain.shape, generator=random)})
    assert torch.equal(told_apart(present, [anchor], GRID, RADIUS), told_apart(other, [anchor], GRID, RADIUS))


def test_one_token_is_a_frame_too():
    labels = torch.tensor([[0.4], [0.6]])
    keys, colours = torch.rand(2, 1, 3), torch.rand(1, 3)
    anchor = Reference(0, keys, labels, torch.ones(2).bool(), torch.zeros(2, 2), colours=colours)
    assert told_apart(dataclasses.replace(anchor, index=1, own=None), [anchor], (1, 1), 1).isfinite().all()


def test_a_huge_object_gives_no_more_examples_than_others():
    grid = (60, 80)
    labels = torch.zeros(2, 60 * 80)
    labels[1], labels[0] = 0.9, 0.1
    random = torch.Generator().manual_seed(0)
    seen = []

    class Counting(Looks):
        def __call__(self, frame, tokens):
            seen.append(len(tokens))
            return super().__call__(frame, tokens)

    anchor = Reference(
        0,
        torch.randn(1, 4800, 3, generator=random),
        labels,
        torch.ones(2).bool(),
        torch.zeros(2, 2),
        colours=torch.rand(4800, 3, generator=random),
    )
    from undertow.tracking import appearance

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(appearance, "Looks", Counting)
        told_apart(dataclasses.replace(anchor, index=1, own=None), [anchor], grid, 5)
    assert seen[0] == 4800 or seen[1] == 4800
    assert min(seen) <= MOST


def test_colours_are_means_of_tokens():
    image = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)
    means = image.reshape(12, 2, 16, 2, 3).mean((1, 3)).reshape(-1, 3) / 255
    np.testing.assert_allclose(colours_of(image, GRID).numpy(), means, atol=0.6 / 255)


def test_flow_remembers_colours_and_published_presets_do_not():
    random = np.random.default_rng(0)
    images = random.integers(0, 255, (3, 64, 96, 3), np.uint8)
    mask = np.zeros((64, 96), np.uint16)
    mask[16:48, 24:64] = 1
    for preset in ("flow", "dift"):
        tracker = MaskTracker("tiny", TrackSettings(preset=preset, tokens=96))
        for number, image in enumerate(images):
            tracker.step(image, mask=mask if number == 0 else None)
        held = [name for name in tracker.state() if name.endswith("colours")]
        assert bool(held) is get_preset(preset).appearance
        if held:
            again = MaskTracker("tiny", TrackSettings(preset=preset, tokens=96))
            again.restore(tracker.state())
            assert torch.equal(again.state()[held[0]], tracker.state()[held[0]])


def test_a_state_without_colours_is_refused():
    image, mask = np.zeros((64, 96, 3), np.uint8), np.zeros((64, 96), np.uint16)
    mask[16:48, 24:64] = 1
    tracker = MaskTracker("tiny", TrackSettings(preset="flow", tokens=96))
    tracker.step(image, mask=mask)
    tracker.step(image)
    old = {name: each for name, each in tracker.state().items() if not name.endswith("colours")}
    with pytest.raises(SettingsError, match="kept no colours, which preset 'flow' compares; start the run anew"):
        MaskTracker("tiny", TrackSettings(preset="flow", tokens=96)).restore(old)


def test_a_given_frame_that_is_also_a_recent_one_teaches_once():
    labels, resolved = blob(5, 5, 1, 1), MaskTracker("tiny", TrackSettings(preset="flow", tokens=TOKENS))
    resolved.observe([Frame(0, Fraction(0), np.zeros((96, 128, 3), np.uint8), "0")])
    assert resolved.resolved.grid == GRID
    anchor = frame(0, labels, given=True)
    copy = dataclasses.replace(anchor, own=None, labels=blob(5, 6, 1, 1))
    present, memory = frame(1, blob(6, 6, 1, 1)), Memory(5).with_anchor(anchor)
    state = Learned(resolved.resolved, (96, 128), memory)
    once = distinguished(state, present).labels
    twice = dataclasses.replace(state, memory=memory.with_recent(copy).with_recent(copy))
    assert torch.equal(distinguished(twice, present).labels, once)
    assert not torch.equal(once, present.labels)


def test_given_frames_count_as_much_as_all_others():
    random, known = torch.Generator().manual_seed(0), torch.ones(2).bool()

    def lesson(given):
        features = torch.rand(6, 3, generator=random)
        return Lesson(given, known, features.T @ features, features.T @ torch.rand(6, 2, generator=random))

    one, others = lesson(True), [lesson(False), lesson(False), lesson(False)]
    mean = Lesson(False, known, *(sum(each) / 3 for each in zip(*(o[2:] for o in others), strict=True)))
    torch.testing.assert_close(_learned([one, *others]), _learned([one, mean]))
    nothing = Lesson(True, known, torch.zeros(3, 3), torch.zeros(3, 2))
    assert _learned([nothing]) is None
