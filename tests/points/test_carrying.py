"""Paths that flow carries, against the same rules written out for one point at a time."""

import numpy as np
import pytest
import torch

from undertow.points import PointSettings, track_points
from undertow.points.carrying import KEPT, SAME, SLIP, Odds, advance, begin, best_of
from undertow.points.matching import Evidence

PLAIN = Odds((1.0, 0.0, 0.0, -2.0), (0.5, 1.0, 0.0, 0.0))


def one_point(start, frames):
    """Returns the places of a point; frames are (moves of flow, misses, matches, their misses, mass) by place."""
    hypotheses = [{"place": start, "drift": 0.0, "earned": 0.0, "path": []}]
    for move, miss, matches, unfit, mass in frames:
        new = []
        for each in hypotheses:
            place, drift = each["place"] + move(each["place"]), each["drift"] + miss
            odds = PLAIN.carried[0] + PLAIN.carried[3] * np.log(drift + 0.1)
            new.append(("stay", each, place, drift, odds, each["earned"]))
        for place, wrong, share in zip(matches, unfit, mass, strict=True):
            carried = new[: len(hypotheses)]
            prices = [float(((place - at) ** 2).sum()) / (2 * (SLIP + drift) ** 2) for _, _, at, drift, _, _ in carried]
            reached = [each["earned"] - price for each, price in zip(hypotheses, prices, strict=True)]
            best = int(np.argmax(reached))
            odds = PLAIN.matched[0] + PLAIN.matched[1] * np.log(share)
            new.append(("jump", hypotheses[best], place, wrong, odds, reached[best]))
        found = [
            {"place": place, "drift": drift, "earned": earned + max(odds, 0.0), "path": [*parent["path"], place]}
            for _, parent, place, drift, odds, earned in new
        ]
        found.sort(key=lambda each: -each["earned"])
        again = [
            any(np.linalg.norm(each["place"] - other["place"]) < SAME for other in found[:number])
            for number, each in enumerate(found)
        ]
        hypotheses = [found[number] for number in np.argsort(again, kind="stable")[:KEPT]]
    return np.array(max(hypotheses, key=lambda each: each["earned"])["path"])


def many_points(starts, frames):
    here, steps = begin(starts), []
    for move, miss, matches, unfit, mass in frames:
        count = here.places.shape[1]
        places = torch.cat([here.places + move, matches], 1)
        misses = torch.cat([torch.full((len(starts), count), miss), unfit], 1)
        mass = torch.cat([torch.ones(len(starts), count), mass], 1)
        inside = torch.ones_like(mass).bool()
        here = advance(here, places, misses, Evidence(mass, torch.zeros_like(mass)), inside, PLAIN)
        steps.append(here)
    rows = torch.arange(len(starts))
    return torch.stack([each.places[rows, which] for each, which in zip(steps, best_of(steps), strict=True)], 1)


@pytest.mark.parametrize("miss", [0.02, 0.4])
def test_many_points_take_the_paths_that_each_takes_alone(miss):
    random = torch.Generator().manual_seed(3)
    starts = torch.rand(6, 2, generator=random) * 20
    frames = []
    for _ in range(7):
        matches, unfit = torch.rand(6, 5, 2, generator=random) * 20, torch.rand(6, 5, generator=random)
        frames.append((torch.rand(2, generator=random), miss, matches, unfit, torch.rand(6, 5, generator=random)))
    found = many_points(starts, frames).double().numpy()
    for number, start in enumerate(starts.double().numpy()):
        alone = [
            (lambda _, move=move: move.double().numpy(), miss, *(each[number].double().numpy() for each in rest))
            for move, miss, *rest in frames
        ]
        np.testing.assert_allclose(found[number], one_point(start, alone), atol=1e-4)


def test_flow_that_comes_back_is_believed_and_flow_that_does_not_is_left():
    """A good match ten cells away does not move a point whose flow is exact, and takes one whose flow has slipped."""
    match = torch.tensor([[[12.0, 2.0]]])
    frames = [(torch.zeros(2), 0.0, match, torch.full((1, 1), 0.05), torch.ones(1, 1))] * 8
    still = many_points(torch.tensor([[2.0, 2.0]]), frames)
    assert (still == torch.tensor([2.0, 2.0])).all()
    slipped = [(move, 3.0 if number == 0 else miss, *rest) for number, (move, miss, *rest) in enumerate(frames)]
    assert (many_points(torch.tensor([[2.0, 2.0]]), slipped)[0, -1] == match[0, 0]).all()


def picture(seed=0):
    """Blurred noise, which has detail for flow everywhere."""
    noise = torch.from_numpy(np.random.default_rng(seed).random((1, 3, 96, 128)))
    smooth = torch.nn.functional.interpolate(noise[:, :, ::6, ::6], (96, 128), mode="bicubic").clamp(0, 1)
    return (smooth[0].permute(1, 2, 0) * 255).to(torch.uint8).numpy()


SMALL = PointSettings(preset="flow", size=(128, 96), temperature=0.1)
POINTS = np.array([[0, 40.3, 41.9], [0, 90.0, 30.5], [5, 62.0, 66.0]])


def test_still_points_stay_for_48_frames(tiny_like):
    """With the noise of a camera; the matches of a network that is not trained would be anywhere."""
    random = np.random.default_rng(1)
    frames = np.stack(
        [(picture() + random.normal(0, 3, (96, 128, 3))).clip(0, 255).astype(np.uint8) for _ in range(48)]
    )
    found = track_points(frames, POINTS, model=tiny_like, settings=SMALL)
    assert np.linalg.norm(found.tracks - POINTS[:, None, 1:], axis=-1).max() < 2
    assert found.visibility.all()


def test_points_go_with_the_picture_in_both_directions_of_time(tiny_like):
    frames = np.stack([np.roll(picture(), (t, 2 * t), (0, 1)) for t in range(6)])
    found = track_points(frames, POINTS, model=tiny_like, settings=SMALL)
    wanted = POINTS[:, None, 1:] + (np.arange(6)[:, None] - POINTS[:, None, :1]) * [2, 1]
    assert np.linalg.norm(found.tracks - wanted, axis=-1).max() < 0.5


def test_what_left_the_picture_is_not_seen(tiny_like):
    wide = np.concatenate([picture(), picture(1)], 1)
    frames = np.stack([wide[:, 8 * t : 8 * t + 128] for t in range(6)])
    found = track_points(frames, [[20.0, 50.0]], model=tiny_like, settings=SMALL)
    assert found.visibility[0].tolist() == [True, True, True, False, False, False]
