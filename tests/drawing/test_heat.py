"""Pictures of what layers know."""

import numpy as np
import pytest

from undertow.drawing import heat
from undertow.drawing.heat import curves, heat_colours, heat_table


def cie_lightness(colours: np.ndarray) -> np.ndarray:
    """CIE L* of sRGB, which OKLab knows nothing of."""
    srgb = colours / 255
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    luminance = linear @ np.array([0.2126, 0.7152, 0.0722])
    return np.where(luminance > 216 / 24389, 116 * np.cbrt(luminance) - 16, luminance * 24389 / 27)


def test_lightness_rises_evenly():
    lightness = cie_lightness(heat_colours())
    assert lightness[0] < 5
    assert lightness[-1] > 90
    steps = lightness[8::8] - lightness[:-8:8]
    assert (steps > 0).all()
    assert steps[2:].max() / steps[2:].min() < 2


def test_no_colour_is_cut_off_at_what_a_screen_shows():
    jumps = np.abs(np.diff(heat_colours().astype(int), axis=0)).max()
    assert jumps <= 6


def test_extremes_and_clipping():
    colours = heat_colours()
    picture = heat(np.array([[-3.0, 1.0], [5.0, 1.0]]))
    assert np.array_equal(picture[[0, 1], [0, 0]], colours[[0, 255]])
    assert np.array_equal(picture[0, 1], colours[128])
    clipped = heat(np.array([[-3.0, 0.0, 1.0, 9.0]]), low=0.0, high=1.0)
    assert np.array_equal(clipped[0], colours[[0, 0, 255, 255]])


def test_what_is_not_finite_is_grey():
    values = np.array([[np.nan, np.inf, 0.0, 1.0]])
    picture = heat(values)
    assert (picture[0, :2] == 128).all()
    assert np.array_equal(picture[0, 2:], heat_colours()[[0, 255]])
    assert (heat(np.full((2, 2), np.nan)) == 128).all()


def test_constants_and_integers_have_a_picture():
    assert np.array_equal(heat(np.full((2, 3), 7)), np.broadcast_to(heat_colours()[0], (2, 3, 3)))
    assert heat(np.arange(6).reshape(2, 3)).shape == (2, 3, 3)


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
