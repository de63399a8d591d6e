import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from undertow.base import MaskError
from undertow.masks import VOID, check_label_map, object_ids, resize_nearest
from undertow.masks.labels import SLOPE_REACH, labels_from_grey, listed, on_slope

MAPS = arrays(
    np.uint16, array_shapes(min_dims=2, max_dims=2, max_side=12), elements=st.sampled_from([0, 1, 2, 7, VOID])
)


def disc(size: int = 40, radius: float = 12, supersample: int = 1) -> np.ndarray:
    """A disc from 0 to 255, with soft edges if supersampled."""
    side = size * supersample
    y, x = (np.indices((side, side)) + 0.5) / supersample - size / 2
    hard = np.where(x**2 + y**2 < radius**2, 255.0, 0.0)
    return np.rint(hard.reshape(size, supersample, size, supersample).mean((1, 3))).astype(np.uint8)


def test_black_and_white_is_one_object():
    labels = labels_from_grey(disc(), "mask")
    assert labels.dtype == np.uint16
    assert np.array_equal(labels, disc() // 255)


def test_grey_values_are_ids_and_white_beside_small_ids_is_void():
    values = disc(radius=15)
    values[values > 0] = 3
    values[:4] = 255
    labels = labels_from_grey(values, "mask")
    assert object_ids(labels) == [3]
    assert (labels[:4] == VOID).all()


def test_a_single_other_grey_is_its_own_id():
    assert object_ids(labels_from_grey(disc() // 255 * 128, "mask")) == [128]


@pytest.mark.parametrize("supersample", [2, 3, 4, 8])
def test_soft_edges_are_refused_with_the_stray_values(supersample):
    soft = disc(supersample=supersample)
    stray = [int(value) for value in np.unique(soft) if 0 < value < 255]
    with pytest.raises(MaskError, match=f"dog.png.*soft edges.* {stray[0]}, {stray[1]}"):
        labels_from_grey(soft, "mask 'dog.png'")


def test_soft_edges_enlarged_with_nearest_are_still_refused():
    with pytest.raises(MaskError, match="soft edges"):
        labels_from_grey(disc(supersample=4).repeat(2, 0).repeat(2, 1), "mask")


def test_a_wide_feather_is_refused():
    ramp = np.clip(np.arange(200) * 3 - 150, 0, 255).astype(np.uint8)[None].repeat(50, 0)
    with pytest.raises(MaskError, match="soft edges"):
        labels_from_grey(ramp, "mask")


def test_nested_ids_are_not_soft_edges():
    values = np.zeros((60, 60), np.uint8)
    for index in range(1, 6):
        values[5 * index : -5 * index or None, 5 * index : -5 * index or None] = index
    assert object_ids(labels_from_grey(values, "mask")) == [1, 2, 3, 4, 5]


def test_a_thin_object_between_others_is_not_a_soft_edge():
    values = np.zeros((40, 60), np.uint8)
    values[:, 30:], values[:, 29:31], values[30:] = 11, 7, 3
    assert object_ids(labels_from_grey(values, "mask")) == [3, 7, 11]


def test_small_objects_on_background_are_not_soft_edges():
    values = np.zeros((20, 20), np.uint8)
    values[3:5, 3:5], values[10, 10], values[14, 2:18] = 1, 2, 9
    assert object_ids(labels_from_grey(values, "mask")) == [1, 2, 9]


def test_white_beside_large_ids_is_ambiguous_unless_ids_are_known():
    values = np.zeros((40, 40), np.uint8)
    values[:10], values[20:30], values[30:] = 255, 128, 85
    with pytest.raises(MaskError, match="255 beside 85, 128"):
        labels_from_grey(values, "mask")
    labels = labels_from_grey(values, "mask", known_ids=[85, 128])
    assert (labels[:10] == VOID).all()


def test_unknown_ids_are_named():
    with pytest.raises(MaskError, match=r"m.png has unknown ids 128; the objects are 1, 2"):
        labels_from_grey(disc() // 255 * 128, "m.png", known_ids={1, 2})
    with pytest.raises(MaskError, match="unknown ids 1; the objects are 2"):
        labels_from_grey(disc(), "m.png", known_ids={2})


def test_sixteen_bit_grey_keeps_ids_and_void():
    values = disc().astype(np.uint16) // 255 * 300
    values[:3] = VOID
    assert np.array_equal(labels_from_grey(values, "mask"), values)


@settings(deadline=None)
@given(arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 3)), elements=st.integers(0, 4)))
def test_on_slope_is_the_definition_pixel_by_pixel(values):
    height, width, channels = values.shape
    for y in range(height):
        for x in range(width):
            rows = slice(max(0, y - SLOPE_REACH), y + SLOPE_REACH + 1)
            columns = slice(max(0, x - SLOPE_REACH), x + SLOPE_REACH + 1)
            around = values[rows, columns].reshape(-1, channels)
            low, high, here = around.min(0), around.max(0), values[y, x]
            varied = [c for c in range(channels) if low[c] < high[c]]
            expected = bool(varied) and all(low[c] < here[c] < high[c] for c in varied)
            assert on_slope(values)[y, x] == expected


def test_arrays_are_checked():
    good = np.array([[0, 1], [VOID, 2]])
    assert check_label_map(good, size=(2, 2), source="mask").dtype == np.uint16
    assert object_ids(check_label_map(np.eye(3, dtype=bool), size=None, source="mask")) == [1]
    same = good.astype(np.uint16)
    assert check_label_map(same, size=(2, 2), source="mask") is same
    with pytest.raises(MaskError, match=r"shape \(2, 2, 3\)"):
        check_label_map(np.zeros((2, 2, 3), int), size=None, source="mask")
    with pytest.raises(MaskError, match="mask is 2x3 but the video is 5x4"):
        check_label_map(np.zeros((3, 2), int), size=(4, 5), source="mask")
    with pytest.raises(MaskError, match="float64"):
        check_label_map(np.zeros((2, 2)), size=None, source="mask")
    with pytest.raises(MaskError, match="holds -1, 70000"):
        check_label_map(np.array([[-1, 70000, 3]]), size=None, source="mask")
    with pytest.raises(MaskError, match="soft edges"):
        check_label_map(disc(supersample=4), size=None, source="mask")


@settings(deadline=None)
@given(MAPS, st.integers(1, 30), st.integers(1, 30))
def test_resize_takes_the_label_under_each_centre(labels, height, width):
    resized = resize_nearest(labels, (height, width))
    assert resized.shape == (height, width)
    for y in range(height):
        for x in range(width):
            # Exact for these sizes: the centre in old pixels, cut to the pixel it lies in.
            row = int((y + 0.5) * labels.shape[0] / height + 1e-9)
            column = int((x + 0.5) * labels.shape[1] / width + 1e-9)
            assert resized[y, x] == labels[row, column]


@settings(deadline=None)
@given(MAPS)
def test_resize_to_the_same_size_changes_nothing(labels):
    assert np.array_equal(resize_nearest(labels, labels.shape), labels)


@settings(deadline=None)
@given(MAPS)
def test_object_ids_leave_out_background_and_void(labels):
    assert object_ids(labels) == sorted(set(labels.ravel().tolist()) - {0, VOID})


def test_listed_shortens():
    assert listed(range(3)) == "0, 1, 2"
    assert listed(range(10)) == "0, 1, 2, 3, 4, 5, 6, 7 and 2 more"
