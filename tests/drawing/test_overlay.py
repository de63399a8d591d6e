import numpy as np
import pytest

from undertow.base import MaskError
from undertow.drawing import overlay
from undertow.masks import VOID, object_colour

RNG = np.random.default_rng(0)


def scene() -> tuple[np.ndarray, np.ndarray]:
    image = RNG.integers(0, 256, (40, 50, 3)).astype(np.uint8)
    labels = np.zeros((40, 50), np.uint16)
    labels[5:25, 5:25], labels[10:30, 25:45] = 1, 300
    return image, labels


def test_background_is_left_and_inputs_are_not_changed():
    image, labels = scene()
    before = image.copy()
    drawn = overlay(image, labels)
    assert np.array_equal(image, before)
    assert np.array_equal(drawn[labels == 0], image[labels == 0])
    assert drawn.dtype == np.uint8


@pytest.mark.parametrize("object_id", [1, 300])
@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_the_tint_is_a_blend(object_id, alpha):
    image, labels = scene()
    drawn = overlay(image, labels, alpha=alpha, outline=False)
    inside = labels == object_id
    blend = (1 - alpha) * image[inside].astype(float) + alpha * np.array(object_colour(object_id))
    assert np.abs(drawn[inside] - blend).max() <= 0.5


def test_the_outline_is_two_pixels_inside_the_object_dark_then_light():
    image, labels = scene()
    labels[labels == 300] = 0
    drawn, plain = overlay(image, labels), overlay(image, labels, outline=False)
    changed = (drawn != plain).any(-1)
    ring = np.zeros_like(changed)
    ring[5:25, 5:25], ring[7:23, 7:23] = True, False
    assert not changed[~ring].any()
    red = np.array(object_colour(1))
    assert np.abs(drawn[5, 15] - 0.3 * red).max() <= 0.5
    assert np.abs(drawn[6, 15] - (0.4 * red + 0.6 * 255)).max() <= 0.5


def test_objects_that_touch_both_get_an_outline_and_the_image_border_none():
    image, labels = scene()
    labels[:] = 1
    labels[:, 25:] = 2
    changed = (overlay(image, labels) != overlay(image, labels, outline=False)).any((0, 2))
    assert np.flatnonzero(changed).tolist() == [23, 24, 25, 26]


def test_void_is_hatched_and_not_an_object():
    image, labels = scene()
    labels[:] = VOID
    drawn = overlay(image, labels)
    changed = (drawn != image).any(-1).mean()
    assert 0.15 < changed < 0.35


def test_sizes_must_agree():
    image, labels = scene()
    with pytest.raises(MaskError, match=r"\(40, 49\) do not fit"):
        overlay(image, labels[:, 1:])
