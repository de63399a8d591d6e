import math

import numpy as np
import pytest

from undertow.metrics import contour_accuracy, contour_radius, outline


def reference_outline(mask: np.ndarray) -> np.ndarray:
    """The definition, pixel by pixel."""
    height, width = mask.shape
    edge = np.zeros(mask.shape, bool)
    for y in range(height):
        for x in range(width):
            neighbours = [(y + dy, x + dx) for dy, dx in [(0, 1), (1, 0), (1, 1)] if y + dy < height and x + dx < width]
            edge[y, x] = any(mask[y, x] != mask[place] for place in neighbours)
    return edge


def reference_score(pred: np.ndarray, true: np.ndarray, radius: int) -> float:
    """Dilates the outlines with an explicit disc and applies the evaluator's case distinction."""
    edges = reference_outline(pred), reference_outline(true)
    wide = []
    for edge in edges:
        grown = np.zeros(edge.shape, bool)
        for y, x in np.argwhere(edge):
            for row in range(edge.shape[0]):
                for column in range(edge.shape[1]):
                    grown[row, column] |= (row - y) ** 2 + (column - x) ** 2 <= radius**2
        wide.append(grown)
    count_pred, count_true = (int(edge.sum()) for edge in edges)
    if count_pred == 0 and count_true > 0:
        precision, recall = 1.0, 0.0
    elif count_pred > 0 and count_true == 0:
        precision, recall = 0.0, 1.0
    elif count_pred == 0 and count_true == 0:
        precision, recall = 1.0, 1.0
    else:
        precision = (edges[0] & wide[1]).sum() / count_pred
        recall = (edges[1] & wide[0]).sum() / count_true
    return 0.0 if precision + recall == 0 else 2 * precision * recall / (precision + recall)


def square(top: int, left: int, side: int = 6, size: tuple[int, int] = (24, 30)) -> np.ndarray:
    mask = np.zeros(size, bool)
    mask[top : top + side, left : left + side] = True
    return mask


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("density", [0.02, 0.5, 0.98])
def test_outline_equals_its_definition(seed: int, density: float) -> None:
    mask = np.random.default_rng(seed).random((7, 9)) < density
    np.testing.assert_array_equal(outline(mask), reference_outline(mask))


def test_outline_lies_up_and_left_of_the_edge_and_skips_the_top_left_border() -> None:
    inside = outline(square(5, 5))
    assert inside[4, 4] and inside[4, 10] and inside[10, 4] and inside[10, 10]
    assert not inside[11].any() and not inside[:, 11].any()
    assert np.argwhere(inside).min() == 4
    corner = outline(square(0, 0))
    assert not corner[0, :5].any() and not corner[:5, 0].any() and corner[5, :6].all() and corner[:6, 5].all()


def test_bottom_right_pixel_is_never_outline() -> None:
    mask = np.zeros((3, 3), bool)
    mask[2, 2] = True
    np.testing.assert_array_equal(outline(mask), [[0, 0, 0], [0, 1, 1], [0, 1, 0]])


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("radius", [1, 2, 3, 5, 30])
def test_score_equals_explicit_disc_dilation(seed: int, radius: int) -> None:
    generator = np.random.default_rng(seed)
    pred = square(*generator.integers(0, 16, 2), side=int(generator.integers(1, 9)), size=(16, 20))
    true = square(*generator.integers(0, 16, 2), side=int(generator.integers(1, 9)), size=(16, 20))
    pred ^= generator.random(pred.shape) < 0.02
    expected = reference_score(pred, true, radius)
    assert contour_accuracy(pred, true, bound=radius) == pytest.approx(expected, abs=1e-12)


def test_score_equals_opencv_dilation_at_full_size() -> None:
    cv2 = pytest.importorskip("cv2")
    y, x = np.mgrid[:480, :854]
    pred = (x - 400) ** 2 + (y - 240) ** 2 < 130**2 + 3000 * np.sin(x / 9)
    true = (x - 412) ** 2 + (y - 236) ** 2 < 126**2
    radius = contour_radius(480, 854)
    steps = np.arange(-radius, radius + 1)
    disc = (steps[:, None] ** 2 + steps**2 <= radius**2).astype(np.uint8)
    edges = [outline(mask).astype(np.uint8) for mask in (pred, true)]
    wide = [cv2.dilate(edge, disc) for edge in edges]
    precision, recall = (edges[0] * wide[1]).sum() / edges[0].sum(), (edges[1] * wide[0]).sum() / edges[1].sum()
    assert 0.1 < precision < 0.95
    assert contour_accuracy(pred, true) == pytest.approx(2 * precision * recall / (precision + recall), abs=1e-12)


def test_radius_of_known_sizes() -> None:
    assert [contour_radius(480, width) for width in (854, 910, 1152)] == [8, 9, 10]
    assert contour_radius(300, 400) == math.ceil(4.0) == 4
    assert contour_radius(480, 854, bound=3) == 3


def test_outlines_match_up_to_the_radius_and_not_beyond() -> None:
    true = np.zeros((40, 60), bool)
    true[:, :20] = True
    for shift, expected in [(4, 1.0), (5, 0.0)]:
        pred = np.zeros_like(true)
        pred[:, : 20 + shift] = True
        assert contour_accuracy(pred, true, bound=4) == expected


def test_empty_cases() -> None:
    nothing, something, everything = np.zeros((24, 30), bool), square(5, 5), np.ones((24, 30), bool)
    assert contour_accuracy(nothing, nothing) == 1.0
    assert contour_accuracy(something, nothing) == 0.0
    assert contour_accuracy(nothing, something) == 0.0
    # A full image has no outline either.
    assert contour_accuracy(everything, nothing) == 1.0
    assert contour_accuracy(square(0, 0), square(18, 24)) == 0.0


def test_void_is_cleared_before_the_outlines() -> None:
    pred, true = square(5, 5) | square(15, 20), square(5, 5)
    assert contour_accuracy(pred, true) < 1
    assert contour_accuracy(pred, true, void=square(14, 19, side=8)) == 1.0


def test_sizes_must_agree() -> None:
    with pytest.raises(ValueError, match="one size"):
        contour_accuracy(np.zeros((4, 5), bool), np.zeros((5, 4), bool))
