"""Masks through an autoencoder."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from undertow.metrics.reconstruction import MaskReconstruction, mask_reconstruction


def masks(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).random((count, 4, 5)) < 0.4


def as_channels(values: np.ndarray, channels: int = 3) -> np.ndarray:
    return np.repeat(values[:, None].astype(np.float32), channels, axis=1)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 4), st.integers(0, 2**32 - 1), st.integers(1, 3))
def test_a_faithful_round_trip_is_perfect(count: int, seed: int, channels: int) -> None:
    given_masks = masks(count, seed)
    assert mask_reconstruction(as_channels(given_masks, channels), given_masks) == MaskReconstruction(0.0, 1.0, count)


def test_reconstruction_by_hand() -> None:
    mask = np.array([[[True, True, False, False]]])
    # Channel means 0.75, 0.5, 0.25 and 0.75: the second is not above the threshold, the fourth wrongly is.
    decoded = np.array([[[[0.5, 0.5, 0.25, 1.0]], [[1.0, 0.5, 0.25, 0.5]]]])
    result = mask_reconstruction(decoded, mask)
    assert result.error == pytest.approx((0.25 + 0.5 + 0.25 + 0.75) / 4)
    assert result.mean_iou == pytest.approx(1 / 3)
    assert mask_reconstruction(decoded, mask, threshold=0.25).mean_iou == pytest.approx(2 / 3)


def test_channels_are_averaged_before_the_error() -> None:
    mask = np.ones((1, 1, 1), bool)
    # 0.5 too much and 0.5 too little: no error of the mean.
    assert mask_reconstruction(np.array([[[[1.5]], [[0.5]]]]), mask).error == 0.0


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_equals_the_definition(count: int, seed: int) -> None:
    given_masks = masks(count, seed)
    decoded = np.random.default_rng(seed + 1).normal(0.5, 0.4, (count, 2, 4, 5))
    errors, ious = [], []
    for number in range(count):
        common = joint = 0
        for y, x in np.ndindex(4, 5):
            value, true = decoded[number, :, y, x].mean(), given_masks[number, y, x]
            errors.append(abs(value - true))
            common += (value > 0.5) and true
            joint += (value > 0.5) or true
        ious.append(common / joint if joint else 1.0)
    result = mask_reconstruction(decoded, given_masks)
    assert (result.error, result.mean_iou) == pytest.approx((np.mean(errors), np.mean(ious)))


def test_an_empty_mask_that_stays_empty_is_perfect() -> None:
    result = mask_reconstruction(np.full((1, 3, 2, 2), 0.1), np.zeros((1, 2, 2), bool))
    assert result.mean_iou == 1.0 and result.error == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("decoded", "mask"),
    [((0, 3, 2, 2), (0, 2, 2)), ((1, 3, 2, 2), (1, 2, 3)), ((2, 3, 2, 2), (1, 2, 2)), ((3, 2, 2), (3, 2, 2))],
)
def test_shapes_must_fit(decoded: tuple, mask: tuple) -> None:
    with pytest.raises(ValueError, match="do not fit"):
        mask_reconstruction(np.zeros(decoded), np.zeros(mask, bool))


def test_overflow_is_refused() -> None:
    with pytest.raises(ValueError, match="not finite"):
        mask_reconstruction(np.full((1, 3, 2, 2), np.inf), np.zeros((1, 2, 2), bool))
