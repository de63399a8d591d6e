"""Tests of dense optical flow."""

import cv2
import numpy as np

from undertow.observing.flow import dense_flow, grey_picture, search_flow


def texture(height, width, seed, smooth=1.0):
    random = np.random.default_rng(seed).integers(0, 256, (height, width)).astype(np.float32)
    return np.clip(cv2.GaussianBlur(random, (0, 0), smooth) * 2 - 128, 0, 255).astype(np.uint8)


def test_a_shift_is_found():
    whole = texture(100, 140, 0, 2.0)
    here, there = whole[:, 10:130], whole[4:, 7:127]
    flow = dense_flow(here[:96].copy(), there.copy())
    assert np.abs(np.median(flow[10:-10, 10:-10], (0, 1)) - (3, -4)).max() < 0.1


def test_small_things_move_on_their_own_where_the_search_goes_down_to_the_pixels():
    ground, thing = texture(96, 128, 1), texture(8, 8, 2)
    here, there = ground.copy(), ground.copy()
    here[40:48, 60:68], there[40:48, 62:70] = thing, thing
    missed = [
        np.linalg.norm(search_flow(here, there, finest)[41:47, 61:67] - (2, 0), axis=-1).mean() for finest in (0, 1)
    ]
    assert missed[0] < 0.5 * missed[1]
    assert np.array_equal(dense_flow(here, there)[41:47, 61:67], search_flow(here, there, 0)[41:47, 61:67])


def test_a_blank_wall_stands_still_where_the_camera_does():
    here = np.full((96, 128), 128, np.uint8)
    here[:, :40] = texture(96, 40, 3)
    there = np.clip(here.astype(int) + np.random.default_rng(4).integers(-1, 2, here.shape), 0, 255).astype(np.uint8)
    assert not dense_flow(here, there)[10:-10, 60:-10].any()


def test_a_picture_is_made_grey_and_smaller():
    image = np.zeros((8, 12, 3), np.uint8)
    image[:, :6] = 255
    assert grey_picture(image, (4, 6)).tolist() == [[255, 255, 255, 0, 0, 0]] * 4
