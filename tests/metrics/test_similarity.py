"""J and F against their definitions, written out pixel by pixel; those of a whole frame against those of one object."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from undertow.metrics import contour_accuracy, contour_radius, outline, region_similarity, score_objects, score_pairs


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


def test_sizes_must_agree_for_regions() -> None:
    with pytest.raises(ValueError, match=r"\(4, 5\), \(4, 4\)"):
        region_similarity(mask(), np.zeros((4, 4), bool))
    with pytest.raises(ValueError, match="one size"):
        region_similarity(mask(), mask(), void=np.zeros((5, 4), bool))


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


def test_sizes_must_agree_for_contours() -> None:
    with pytest.raises(ValueError, match="one size"):
        contour_accuracy(np.zeros((4, 5), bool), np.zeros((5, 4), bool))


VOID = 65535
LABELS = (0, 1, 2, 7, 300, VOID)
SIZES = st.tuples(st.integers(1, 34), st.integers(1, 41))
BOUNDS = st.sampled_from([0.008, 0.05, 1, 2, 3, 9, 60])


def each_by_itself(pred: np.ndarray, true: np.ndarray, ids: list[int], bound: float) -> dict[int, tuple[float, float]]:
    pairs = {number: (pred == number, true == number) for number in ids}
    return {number: (region_similarity(*pair), contour_accuracy(*pair, bound=bound)) for number, pair in pairs.items()}


@st.composite
def noisy_maps(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Two maps of any pixels whatever: the smallest objects in every place."""
    values = arrays.arrays(np.uint16, draw(SIZES), elements=st.sampled_from(LABELS))
    first = draw(values)
    return first, draw(arrays.arrays(np.uint16, first.shape, elements=st.sampled_from(LABELS)))


@st.composite
def painted_maps(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Two maps of rectangles that overlap and reach over the edges; the second is the first moved and painted on."""
    height, width = draw(SIZES)
    corner = st.tuples(st.integers(-6, height), st.integers(-6, width))
    rectangle = st.tuples(corner, corner, st.sampled_from(LABELS))

    def paint(labels: np.ndarray, most: int) -> np.ndarray:
        for one, other, label in draw(st.lists(rectangle, max_size=most)):
            rows, columns = (sorted(max(0, end) for end in ends) for ends in zip(one, other, strict=True))
            labels[rows[0] : rows[1], columns[0] : columns[1]] = label
        return labels

    first = paint(np.zeros((height, width), np.uint16), 6)
    moved = np.roll(first, draw(st.tuples(st.integers(-4, 4), st.integers(-4, 4))), (0, 1))
    return first, paint(moved, 2)


@settings(max_examples=150, deadline=None)
@given(noisy_maps() | painted_maps(), BOUNDS)
def test_one_pass_equals_the_functions_for_one_object(maps: tuple[np.ndarray, np.ndarray], bound: float) -> None:
    ids = [2, 1, 300, 7, 9, VOID]
    scores = score_objects(*maps, ids, bound)
    assert scores == each_by_itself(*maps, ids, bound)
    assert list(scores) == ids
    assert all(0 <= value <= 1 for pair in scores.values() for value in pair)


@settings(max_examples=60, deadline=None)
@given(noisy_maps() | painted_maps(), BOUNDS)
def test_all_pairs_equal_the_functions_for_one_object(maps: tuple[np.ndarray, np.ndarray], bound: float) -> None:
    pred, true = maps
    scores = score_pairs(pred, true, [1, 2, 3, 7], [300, 7, 2], bound)
    for row, proposal in enumerate([1, 2, 3, 7]):
        for column, number in enumerate([300, 7, 2]):
            masks = pred == proposal, true == number
            assert scores[row, column].tolist() == [region_similarity(*masks), contour_accuracy(*masks, bound=bound)]


@settings(max_examples=40, deadline=None)
@given(painted_maps(), st.permutations([1, 2, 7, 300]))
def test_names_do_not_matter(maps: tuple[np.ndarray, np.ndarray], names: list[int]) -> None:
    table = np.arange(VOID + 1).astype(np.uint16)
    table[[1, 2, 7, 300]] = names
    before = score_objects(*maps, [1, 2, 7, 300])
    after = score_objects(*(table[labels] for labels in maps), names)
    assert list(after.values()) == list(before.values())


@settings(max_examples=40, deadline=None)
@given(noisy_maps() | painted_maps())
def test_a_map_agrees_with_itself(maps: tuple[np.ndarray, np.ndarray]) -> None:
    assert set(score_objects(maps[0], maps[0], [1, 2, 7, 300, 4]).values()) == {(1.0, 1.0)}


def test_full_size_with_several_objects_at_every_edge() -> None:
    y, x = np.mgrid[:480, :854]

    def draw(dy: int, dx: int) -> np.ndarray:
        labels = np.zeros((480, 854), np.uint16)
        labels[(x - dx - 400) ** 2 + (y - dy - 240) ** 2 < 130**2 + 3000 * np.sin(x / 9)] = 1
        for number, (row, column) in enumerate([(0, 0), (0, 854), (480, 0), (480, 854)], start=2):
            labels[(abs(x - dx - column) < 90) & (abs(y - dy - row) < 70)] = number
        return labels

    ids = [1, 2, 3, 4, 5, 6]
    maps = draw(9, -7), draw(0, 0)
    scores = score_objects(*maps, ids)
    assert scores == each_by_itself(*maps, ids, 0.008)
    assert scores[6] == (1.0, 1.0)
    assert all(0.2 < scores[number][1] < 1 for number in (1, 2, 3, 4, 5))


def disc(centre: int, radius: int = 15) -> np.ndarray:
    y, x = np.mgrid[:60, :90]
    return ((x - centre) ** 2 + (y - 30) ** 2 <= radius**2).astype(np.uint16)


def test_discs_shifted_by_the_radius_match_and_by_one_more_do_not() -> None:
    radius = contour_radius(60, 90, 0.04)
    assert radius == 5
    shifted = {shift: score_objects(disc(40 + shift), disc(40), [1], 0.04)[1] for shift in (0, radius, radius + 1)}
    assert shifted[0] == (1.0, 1.0)
    assert shifted[radius][1] == 1.0
    assert 0 < shifted[radius + 1][1] < 1
    for shift in (radius, radius + 1):
        common = int(np.count_nonzero(disc(40) & disc(40 + shift)))
        assert shifted[shift][0] == common / (2 * int(disc(40).sum()) - common)


def test_squares_at_the_edge_by_hand() -> None:
    true, pred = np.zeros((20, 20), np.uint16), np.zeros((20, 20), np.uint16)
    true[:4, :4] = 1
    pred[:4, :6] = 1
    # In the upper left corner only the right and lower sides are outline. Predicted: row 3 up to column 5 and column 5
    # above it, 9 pixels; annotated: row 3 up to column 3 and column 3 above it, 7. Within 1 pixel of the other are, of
    # the 9, the five of row 3 up to column 4; of the 7, the four of row 3 and the one above the corner.
    assert score_objects(pred, true, [1], bound=1)[1] == (16 / 24, 2 * (5 / 9) * (5 / 7) / (5 / 9 + 5 / 7))
    # In the lower right corner the outlines are above and left of the objects, two columns apart.
    assert score_objects(pred[::-1, ::-1], true[::-1, ::-1], [1], bound=2)[1] == (16 / 24, 1.0)


@pytest.mark.parametrize("value", [0, 1])
def test_constant_predictions(value: int) -> None:
    pred, true = np.full((24, 30), value, np.uint16), np.zeros((24, 30), np.uint16)
    # Neither a full nor an empty map has an outline.
    assert score_objects(pred, true, [1])[1] == (1.0 - value, 1.0)
    true[5:11, 5:11] = 1
    assert score_objects(pred, true, [1])[1] == (value * 36 / 720, 0.0)


def test_empty_against_something_is_zero() -> None:
    labels = np.zeros((24, 30), np.uint16)
    labels[3:9, 4:9] = 1
    assert score_objects(np.zeros_like(labels), labels, [1, 2]) == {1: (0.0, 0.0), 2: (1.0, 1.0)}
    assert score_objects(labels, np.zeros_like(labels), [1, 2]) == {1: (0.0, 0.0), 2: (1.0, 1.0)}


def test_maps_of_bytes_will_do() -> None:
    pred, true = disc(40).astype(np.uint8), disc(43).astype(np.uint8)
    assert score_objects(pred, true, [1]) == score_objects(disc(40), disc(43), [1])


def test_sizes_must_agree_for_frames() -> None:
    for scored in (score_objects, score_pairs):
        with pytest.raises(ValueError, match="one size"):
            scored(np.zeros((4, 5), np.uint16), np.zeros((4, 4), np.uint16), [1], *([[1]] * (scored is score_pairs)))
