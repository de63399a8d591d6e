import numpy as np
import pytest

from undertow.metrics import region_similarity


def mask(*pixels: tuple[int, int]) -> np.ndarray:
    result = np.zeros((4, 5), bool)
    for row, column in pixels:
        result[row, column] = True
    return result


def test_counts_common_over_joint_pixels() -> None:
    assert region_similarity(mask((0, 0), (0, 1), (0, 2)), mask((0, 1), (0, 2), (0, 3), (1, 1))) == 2 / 5


def test_both_empty_is_perfect_and_one_empty_is_zero() -> None:
    assert region_similarity(mask(), mask()) == 1.0
    assert region_similarity(mask((1, 1)), mask()) == 0.0
    assert region_similarity(mask(), mask((1, 1))) == 0.0


def test_void_leaves_both_masks() -> None:
    pred, true = mask((0, 0), (0, 1)), mask((0, 1), (0, 2))
    assert region_similarity(pred, true) == 1 / 3
    assert region_similarity(pred, true, void=mask((0, 0))) == 1 / 2
    assert region_similarity(pred, true, void=mask((0, 0), (0, 1), (0, 2))) == 1.0


def test_any_nonzero_value_counts() -> None:
    pred = np.array([[0, 255, 3]], np.uint8)
    assert region_similarity(pred, np.array([[0, 1, 0]], np.uint8)) == 1 / 2


def test_sizes_must_agree() -> None:
    with pytest.raises(ValueError, match=r"\(4, 5\), \(4, 4\)"):
        region_similarity(mask(), np.zeros((4, 4), bool))
    with pytest.raises(ValueError, match="one size"):
        region_similarity(mask(), mask(), void=np.zeros((5, 4), bool))
