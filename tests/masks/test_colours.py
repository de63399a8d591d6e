import numpy as np
import pytest

from undertow.masks import object_colour, palette


def test_the_first_colours_are_the_published_ones():
    expected = [
        (0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0), (0, 0, 128), (128, 0, 128), (0, 128, 128),
        (128, 128, 128), (64, 0, 0), (192, 0, 0),
    ]  # fmt: skip
    assert [tuple(colour) for colour in palette()[:10].tolist()] == expected
    assert tuple(palette()[255].tolist()) == (224, 224, 192)


def test_all_colours_differ_and_cannot_be_changed():
    assert len(np.unique(palette(), axis=0)) == 256
    with pytest.raises(ValueError, match="read-only"):
        palette()[0] = 1


def test_no_object_is_drawn_in_a_grey():
    every = [object_colour(index) for index in range(1, 255)]
    assert all(len(set(colour)) > 1 for colour in every) and len(set(every)) == 254


def test_every_object_has_a_colour_that_is_not_backgrounds():
    assert object_colour(3) == (128, 128, 0)
    assert object_colour(255) == object_colour(1)
    assert all(object_colour(index) != (0, 0, 0) for index in (1, 254, 255, 256, 512, 65534))
