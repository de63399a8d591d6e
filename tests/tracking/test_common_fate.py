"""Objects are told apart by how they move: what moves with an object gets more of it, whatever it looks like."""

from fractions import Fraction

import cv2
import numpy as np
import pytest
import torch

from undertow.tracking import MaskTracker, TrackSettings
from undertow.tracking.common_fate import ALIKE, FEATURES, LEAST, POWER, WIDTH, moving_together
from undertow.tracking.memory import Reference
from undertow.tracking.motion import Motion, TokenMotion
from undertow.tracking.regression import RIDGE, _mixtures, near_objects

GRID, RADIUS = (16, 24), 4
TOKENS = GRID[0] * GRID[1]


def disc(row, column, objects=1, which=1):
    """Soft labels of a disc of one object, background elsewhere."""
    rows, columns = torch.meshgrid(torch.arange(GRID[0]), torch.arange(GRID[1]), indexing="ij")
    inside = ((rows - row) ** 2 + (columns - column) ** 2 < 14).float().flatten() * 0.9
    labels = torch.zeros(objects + 1, TOKENS)
    labels[which], labels[0] = inside, 1 - inside
    return labels


def frame(index, labels, known=None):
    known = torch.ones(len(labels)).bool() if known is None else known
    return Reference(index, torch.zeros(1, TOKENS, 2), labels, known)


class Moved(Motion):
    """A motion that is known, instead of searched for."""

    def __init__(self, ahead, back, believed=None):
        trust = torch.ones(TOKENS) if believed is None else believed
        self._known = TokenMotion(ahead, trust), TokenMotion(back, trust)

    def of_tokens(self):
        return self._known


def going(labels, at, ground=(0.0, 0.0)):
    """The motion of tokens of which an object has the most, and of all others."""
    inside = (labels[1] > 0.5)[:, None]
    return torch.where(inside, torch.tensor(at), torch.tensor(ground))


def reference_moving_together(frame, before, motion):
    """A weighted least-squares problem for each channel, token by token, in double precision."""
    (ahead, trust), (back, trust_back) = motion.of_tokens()
    taught = near_objects(before.labels, GRID, RADIUS).tolist()
    middle = ahead[taught].median(0).values
    scale = max(ALIKE, float((ahead[taught] - middle).abs().mean()))
    mixtures, phases = (each.double() for each in _mixtures(2, FEATURES))

    def features(moved):
        waves = torch.cos(moved.double() / scale @ mixtures / WIDTH + phases) * (2 / FEATURES) ** 0.5
        return torch.cat([waves, torch.ones(1).double()])

    objects = [float(before.labels[1:, token].sum()) for token in taught]
    inside, outside = max(1, sum(objects)), max(1, sum(1 - each for each in objects))
    weights = torch.tensor(
        [
            (share / inside + (1 - share) / outside) * max(0.01, float(trust[token]))
            for token, share in zip(taught, objects, strict=True)
        ]
    ).double()
    design = torch.stack([features(ahead[token]) for token in taught])
    gram = design.T @ (design * weights[:, None])
    gram += RIDGE * gram.diagonal().mean() * torch.eye(len(gram)).double()
    found = frame.labels.double().clone()
    for channel in range(len(found)):
        target = before.labels[channel, taught].double()
        solved = torch.linalg.solve(gram, design.T @ (weights * target))
        usual = max(LEAST, float((weights * target).sum() / weights.sum()))
        for token in near_objects(frame.labels, GRID, RADIUS).tolist():
            share = min(max(float(features(-back[token]) @ solved), LEAST), 1 - LEAST)
            found[channel, token] *= (share / usual) ** (POWER * float(trust_back[token]))
    return found / found.sum(0)


def test_it_is_a_weighted_ridge_regression_on_motion():
    random = torch.Generator().manual_seed(0)
    before = frame(4, (disc(6, 6, 2, 1) + disc(8, 12, 2, 2)) / 2)
    present = frame(5, (disc(7, 8, 2, 1) + disc(8, 11, 2, 2)) / 2)
    ahead, back = (torch.randn(TOKENS, 2, generator=random) for _ in range(2))
    motion = Moved(ahead, back, torch.rand(TOKENS, generator=random))
    found = moving_together(present, before, motion, GRID, RADIUS)
    # Normal equations in single precision.
    torch.testing.assert_close(found.double(), reference_moving_together(present, before, motion), atol=5e-3, rtol=0)
    assert not torch.allclose(found, present.labels, atol=0.02)


def test_what_moves_as_the_object_does_gets_more_of_it():
    before, now = disc(8, 8), disc(8, 10)
    # What was carried lags behind; the object has gone two tokens to the right.
    motion = Moved(going(before, (2.0, 0.0)), going(now, (-2.0, 0.0)))
    found = moving_together(frame(1, before), frame(0, before), motion, GRID, RADIUS)
    left, new = (before[1] > 0.5) & (now[1] < 0.5), (before[1] < 0.5) & (now[1] > 0.5)
    assert (found[1, left] < before[1, left] - 0.05).all()
    half = torch.full((2, TOKENS), 0.5)
    doubted = moving_together(frame(1, half), frame(0, before), motion, GRID, RADIUS)
    assert (doubted[1, new] > 0.55).all() and (doubted[1, left] < 0.45).all()
    torch.testing.assert_close(found.sum(0), torch.ones(TOKENS))


@pytest.mark.parametrize("moved", [(0.0, 0.0), (3.0, -1.0)])
def test_where_all_moves_alike_nothing_changes(moved):
    # However many objects there are, and however small one of them is.
    before = torch.cat([disc(8, 6), disc(8, 16)[1:] * 0.2])
    before[0] = 1 - before[1:].sum(0)
    same = torch.tensor(moved).expand(TOKENS, 2)
    found = moving_together(frame(1, before), frame(0, before), Moved(same, -same), GRID, RADIUS)
    torch.testing.assert_close(found, before, atol=0.01, rtol=0)


def test_motion_that_is_not_believed_says_nothing():
    before, now = disc(8, 8), disc(8, 10)
    motion = Moved(going(before, (2.0, 0.0)), going(now, (-2.0, 0.0)), torch.zeros(TOKENS))
    found = moving_together(frame(1, before), frame(0, before), motion, GRID, RADIUS)
    torch.testing.assert_close(found, before)


def test_an_object_that_was_not_there_is_neither_more_nor_less_likely():
    before, now = disc(8, 8, 2, 1), disc(8, 8, 2, 1)
    now[2], now[0] = now[1] / 2, 1 - now[1]
    now[1] = now[1] / 2
    motion = Moved(going(before, (2.0, 0.0)), going(before, (-2.0, 0.0)))
    found = moving_together(frame(1, now), frame(0, before), motion, GRID, RADIUS)
    inside = before[1] > 0.5
    # The first object gains on the ground, the second, of which nothing is known, does not.
    assert (found[1, inside] > found[2, inside]).all() and (found[2, inside] > 0.2).all()
    unknown = frame(0, before, torch.tensor([True, True, False]))
    torch.testing.assert_close(moving_together(frame(1, now), unknown, motion, GRID, RADIUS), found)


def test_without_objects_labels_stay():
    nothing, some = disc(40, 40), disc(8, 8)
    still = torch.zeros(TOKENS, 2)
    for before, present in ((nothing, some), (some, nothing), (nothing, nothing)):
        found = moving_together(frame(1, present), frame(0, before), Moved(still, still), GRID, RADIUS)
        assert torch.equal(found, present)


def test_motion_of_tokens_is_their_mean_both_ways():
    rng = np.random.default_rng(0)
    scene = cv2.GaussianBlur(rng.integers(0, 255, (64, 120), np.uint8).astype(np.float32), (0, 0), 2)
    scene = ((scene - scene.min()) / np.ptp(scene) * 255).astype(np.uint8)
    before, after = np.ascontiguousarray(scene[:, 4:100]), np.ascontiguousarray(scene[:, :96])
    (ahead, believed), (back, back_believed) = Motion(before, after, GRID).of_tokens()
    assert ahead.shape == back.shape == (TOKENS, 2) and believed.shape == back_believed.shape == (TOKENS,)
    inner = torch.zeros(GRID).bool()
    inner[3:-3, 4:-4] = True
    inner = inner.flatten()
    # Four pixels to the right are one token.
    torch.testing.assert_close(ahead[inner], torch.tensor([1.0, 0.0]).expand(int(inner.sum()), 2), atol=0.1, rtol=0)
    torch.testing.assert_close(back[inner], -ahead[inner], atol=0.15, rtol=0)
    # What leaves the picture on the right cannot come back, what came in on the left was not there.
    assert believed[inner].min() > 0.9 and back_believed[inner].min() > 0.9
    assert believed.view(GRID)[:, -1].max() < 0.6 and back_believed.view(GRID)[:, 0].max() < 0.6


def sliding(count):
    """A textured square that slides over ground of the same texture, and its masks."""
    rng = np.random.default_rng(1)
    texture = [cv2.GaussianBlur(rng.normal(size=(96, 144, 3)), (0, 0), 1.2) for _ in range(2)]
    ground, thing = (((each - each.min()) / np.ptp(each) * 255).astype(np.uint8) for each in texture)
    images, masks = [], []
    for number in range(count):
        image, mask, at = ground.copy(), np.zeros((96, 144), np.uint16), 16 + 4 * number
        image[32:64, at : at + 32] = thing[32:64, 40:72]
        mask[32:64, at : at + 32] = 1
        images.append(image)
        masks.append(mask)
    return images, masks


def test_a_tracker_compares_with_the_frame_before_whatever_it_was(monkeypatch):
    from undertow.tracking import learned

    seen = []

    def noted(frame, before, *rest):
        seen.append((before.index, before.own is not None, frame.index))
        return moving_together(frame, before, *rest)

    monkeypatch.setattr(learned, "moving_together", noted)
    images, masks = sliding(6)
    tracker = MaskTracker("tiny", TrackSettings(preset="flow", tokens=600))
    for number in range(5):
        tracker.step(images[number], masks[number] if number in (0, 3) else None)
    # The second frame before, the corrected one, is a recent frame too: its given mask counts.
    assert seen == [(0, True, 1), (1, False, 2), (3, True, 4)]
    again = MaskTracker("tiny", TrackSettings(preset="flow", tokens=600))
    again.restore(tracker.state())
    assert np.array_equal(again.step(images[5]).labels, tracker.step(images[5]).labels)
    assert seen[3:] == [(4, False, 5)] * 2


def test_frames_may_be_left_out(monkeypatch):
    from undertow.tracking import learned
    from undertow.video import Frame

    seen = []
    monkeypatch.setattr(learned, "moving_together", lambda *given: seen.append(given[:3]) or given[0].labels)
    images, masks = sliding(3)
    tracker = MaskTracker("tiny", TrackSettings(preset="flow", tokens=600))
    tracker.step(images[0], masks[0])
    later = Frame(5, Fraction(5), images[2], "5")
    tracker.advance(later, tracker.observe([later])[0])
    (present, before, motion), rows = seen[0], tracker.resolved.grid[0]
    assert (before.index, present.index) == (0, 5)
    # Eight pixels, which the picture has 96 of from top to bottom.
    inside = before.labels[1] > 0.9
    assert abs(float(motion.of_tokens()[0].moved[inside, 0].median()) - 8 * rows / 96) < 0.3
