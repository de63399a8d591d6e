"""Pictures of what layers know."""

import numpy as np
import pytest

from undertow.drawing.layers import curves, heat_table

pytest.importorskip("matplotlib")


def test_heat_table_is_light_where_values_are_high_and_white_where_there_are_none():
    values = np.array([[0.0, 100.0], [np.nan, 50.0]])
    names = {"title": "t", "axes": ("layer", "head"), "unit": "%"}
    picture = heat_table(values, ["a", "b"], ["0", "1"], **names)
    assert picture.dtype == np.uint8 and picture.shape[2] == 3
    colours = {tuple(colour) for colour in picture.reshape(-1, 3)[::7].tolist()}
    assert len(colours) > 20
    # A table of nothing is still a picture.
    assert heat_table(np.full((2, 2), np.nan), ["a", "b"], ["0", "1"], **names).size
    # Framing a cell changes the picture.
    assert not np.array_equal(picture, heat_table(values, ["a", "b"], ["0", "1"], marked=(0, 1), **names))


def test_curves():
    series = {"query-key": ([1, 2], [3.0, 4.0]), "features": ([1, 2], [2.0, 1.0])}
    plain = curves(series, title="t", axes=("x", "y"))
    level = curves(series, title="t", axes=("x", "y"), level=("still", 2.5))
    assert plain.shape == level.shape and not np.array_equal(plain, level)
