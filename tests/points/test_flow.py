"""Optical flow between frames: where it knows, and where there is nothing to know it by."""

import numpy as np
import torch

from undertow.observing.store import TensorStore
from undertow.points.camera import steady_flow
from undertow.points.flow import COARSE, SIDE, Flow

HEIGHT, WIDTH = 96, 128
GRID = (12, 16)


def scene(shift=0):
    """A blank wall above a still floor with detail; a square that moves by `shift` pixels is in front of the wall."""
    random = np.random.default_rng(0)
    picture = np.full((HEIGHT, WIDTH), 180, np.uint8)
    picture[60:] = np.kron(random.integers(0, 255, (9, 32), np.uint8), np.ones((4, 4), np.uint8))
    picture[20:36, 20 + shift : 36 + shift] = np.kron(random.integers(0, 120, (4, 4), np.uint8), np.ones((4, 4)))
    return picture


def shown(*pictures):
    flow = Flow(TensorStore(), (HEIGHT, WIDTH), GRID)
    for place, picture in enumerate(pictures):
        flow.show(np.repeat(picture[..., None], 3, -1), place)
    return flow


def test_a_blank_wall_does_not_go_with_what_moves_in_front_of_it():
    found = steady_flow(scene(), scene(3))
    assert np.abs(found[20:36, 52:]).max() == 0, "beside the square, whose motion spreads"
    np.testing.assert_allclose(np.median(found[24:32, 24:32], (0, 1)), [3, 0], atol=0.5)
    # A camera that moves takes the wall along.
    panned = steady_flow(*(np.ascontiguousarray(each) for each in (scene()[:, 2:], scene()[:, :-2])))
    assert np.median(panned[40:58, :, 0]) > 1


def test_places_are_carried_both_ways_and_checked():
    flow = shown(scene(), scene(3))
    places = torch.tensor([[[3.0, 3.0], [14.0, 3.0]]])  # cells of 8 pixels: on the square, on the wall
    moved, missed = flow.carry(places, 0, 1)
    torch.testing.assert_close(moved[0, 0], places[0, 0] + torch.tensor([3 / 8, 0.0]), atol=0.1, rtol=0)
    assert (moved[0, 1] == places[0, 1]).all() and missed.max() < 0.1
    back, _ = flow.carry(moved, 1, 0)
    torch.testing.assert_close(back, places, atol=0.1, rtol=0)


def test_a_picture_is_found_near_a_guess_and_nothing_is_found_on_a_blank_wall():
    flow = shown(scene(), scene(24))
    places, wrong = torch.tensor([[3.0, 3.0], [12.0, 5.5]]), torch.tensor([0.4, -0.3])
    guesses = (places + torch.tensor([[3.0, 0.0], [0.0, 0.0]]) + wrong)[:, None]
    found, missed = flow.register(places, guesses, 0, 1)
    torch.testing.assert_close(found[0, 0], places[0] + torch.tensor([3.0, 0.0]), atol=0.05, rtol=0)
    assert missed[0, 0] < 0.05
    assert (found[1] == guesses[1]).all() and missed[1, 0] == COARSE


def test_frames_may_be_of_any_size():
    for height, width in ((1, 1), (17, 300), (5, 9)):
        flow = Flow(TensorStore(), (height, width), (2, 4))
        for place in (0, 1):
            flow.show(np.full((height, width, 3), 90 + place, np.uint8), place)
        moved, missed = flow.carry(torch.tensor([[[1.0, 1.0]]]), 0, 1)
        assert torch.isfinite(moved).all() and torch.isfinite(missed).all()
    assert SIDE >= 32
