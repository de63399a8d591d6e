import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

import undertow.masks.soft as soft_module
from undertow.base import MaskError
from undertow.masks import VOID, resize_nearest, soft_one_hot, too_small, upsample_argmax

MAPS = arrays(np.uint16, array_shapes(min_dims=2, max_dims=2, max_side=11), elements=st.sampled_from([0, 1, 5, VOID]))
SIDES = st.integers(1, 14)


def cell_average(inside: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """The average over each cell by repeating pixels until cells and pixels share borders."""
    height, width = inside.shape
    fine = inside.repeat(grid[0], 0).repeat(grid[1], 1).astype(float)
    return fine.reshape(grid[0], height, grid[1], width).mean((1, 3))


@settings(deadline=None)
@given(MAPS, SIDES, SIDES)
def test_area_averages_are_exact_for_any_ratio(labels, height, width):
    soft = soft_one_hot(labels, [5, 1], (height, width))
    for channel, inside in enumerate([(labels == 0) | (labels == VOID), labels == 5, labels == 1]):
        np.testing.assert_allclose(soft[channel].numpy(), cell_average(inside, (height, width)), atol=1e-6)
    np.testing.assert_allclose(soft.sum(0).numpy(), 1, atol=1e-6)


def test_ids_not_asked_for_are_background():
    soft = soft_one_hot(np.array([[1, 5]], np.uint16), [5], (1, 2))
    assert soft.tolist() == [[[1, 0]], [[0, 1]]]


def test_nearest_is_the_one_hot_of_the_resized_map():
    labels = np.random.default_rng(0).integers(0, 4, (31, 17)).astype(np.uint16)
    soft = soft_one_hot(labels, [1, 2, 3], (5, 6), mode="nearest")
    assert np.array_equal(soft.argmax(0).numpy(), resize_nearest(labels, (5, 6)))
    assert set(soft.unique().tolist()) == {0.0, 1.0}


def test_an_object_smaller_than_a_cell_survives_area_but_not_nearest():
    labels = np.zeros((64, 64), np.uint16)
    labels[1, 1] = 1
    assert soft_one_hot(labels, [1], (4, 4))[1].sum() == pytest.approx(1 / 256)
    assert soft_one_hot(labels, [1], (4, 4), mode="nearest")[1].sum() == 0


def test_too_small_objects_are_those_that_are_lost_when_made_a_map_again():
    labels = np.zeros((64, 64), np.uint16)
    labels[1, 1], labels[16:48, 16:48], labels[48:60, 48:60] = 3, 7, 9
    assert too_small(labels, (4, 4)) == [3]
    assert too_small(labels, (64, 64)) == []
    ids = [3, 7, 9]
    lost = upsample_argmax(soft_one_hot(labels, ids, (4, 4)), ids, (4, 4)).area
    assert lost[3] == 0 and lost[7] == 4 and lost[9] == 1


@pytest.mark.parametrize("grid_size", [(5, 7), (1, 1), (20, 3), (40, 50)])
@pytest.mark.parametrize("band_values", [1, 1000, 1 << 22])
def test_upsampling_equals_interpolate_and_argmax(monkeypatch, grid_size, band_values):
    monkeypatch.setattr(soft_module, "BAND_VALUES", band_values)
    soft = torch.rand(4, *grid_size, generator=torch.Generator().manual_seed(0))
    ids, size = [3, 1, 700], (33, 29)
    result = upsample_argmax(soft, ids, size)
    dense = torch.nn.functional.interpolate(soft[None], size, mode="bilinear", align_corners=False)[0]
    best, second = dense.topk(2, 0).values
    winner = np.array([0, *ids])[dense.argmax(0).numpy()]
    assert np.array_equal(result.labels, winner)
    assert result.labels.dtype == np.uint16
    for object_id in ids:
        inside = torch.from_numpy(winner == object_id)
        assert result.area[object_id] == inside.sum()
        expected = (best - second)[inside].mean() if inside.any() else 0.0
        assert result.margin[object_id] == pytest.approx(float(expected), abs=1e-6)


def test_a_map_survives_the_way_down_and_up_when_the_grid_is_the_image():
    labels = np.random.default_rng(1).integers(0, 3, (9, 8)).astype(np.uint16)
    assert np.array_equal(upsample_argmax(soft_one_hot(labels, [1, 2], (9, 8)), [1, 2], (9, 8)).labels, labels)


def test_minmax_lifts_a_thin_object_but_not_a_vanished_one():
    soft = torch.zeros(3, 6, 6)
    soft[1, :, 1] = 0.4
    soft[2, 4, 4] = 0.1
    soft[0] = 1 - soft[1:].sum(0)
    assert upsample_argmax(soft, [1, 2], (6, 6)).area == {1: 0, 2: 0}
    stretched = upsample_argmax(soft, [1, 2], (6, 6), channel_norm="minmax")
    assert stretched.area == {1: 6, 2: 0}
    assert (stretched.labels[:, 1] == 1).all()


def test_minmax_of_nothing_but_residue_is_background():
    soft = torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(0)) * 0.1
    soft[0] = 1 - soft[1:].sum(0)
    assert upsample_argmax(soft, [1, 2], (20, 20), channel_norm="minmax").area == {1: 0, 2: 0}


def test_no_objects_is_all_background():
    result = upsample_argmax(soft_one_hot(np.zeros((4, 4), np.uint16), [], (2, 2)), [], (4, 4))
    assert not result.labels.any()
    assert result.area == result.margin == {}


def test_wrong_ids_are_refused():
    labels = np.zeros((4, 4), np.uint16)
    for ids in ([1, 1], [0], [VOID]):
        with pytest.raises(MaskError, match="must differ"):
            soft_one_hot(labels, ids, (2, 2))
    with pytest.raises(MaskError, match="3 soft labels were given for background and 1 objects"):
        upsample_argmax(torch.zeros(3, 2, 2), [1], (4, 4))
