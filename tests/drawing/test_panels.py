import numpy as np
import pytest

from undertow.base import SettingsError
from undertow.drawing import contact_sheet, labelled_panel, legend, panel_grid, text_strip
from undertow.masks import object_colour


def flat(height: int, width: int, value: int) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


def ink(picture: np.ndarray) -> np.ndarray:
    return (picture < 128).all(-1)


def has_colour(picture: np.ndarray, colour: tuple[int, int, int]) -> bool:
    return bool((picture == np.array(colour)).all(-1).any())


def test_text_is_written_and_cut_to_the_width():
    short, long = text_strip("head 3", 200), text_strip("up_blocks.2.attentions.0 " * 9, 200)
    assert short.shape[1] == long.shape[1] == 200
    assert 0 < ink(short).sum() < ink(long).sum()
    assert not ink(long)[:, -5:].any()
    assert not ink(text_strip("", 50)).any()
    assert text_strip("narrow", 3).shape[1] == 3


def test_a_panel_is_its_title_above_its_image():
    image = flat(30, 90, 200)
    panel = labelled_panel("q", image)
    assert np.array_equal(panel[-30:], image)
    assert ink(panel[:-30]).any()
    assert len(labelled_panel("q", image, text_size=30)) > len(panel)


def test_panels_stand_in_rows():
    panels = [flat(10, 20, 1), flat(12, 16, 2), flat(5, 8, 3)]
    grid = panel_grid(panels, 2)
    assert grid.shape == (12 + 5 + 3 * 6, 20 + 16 + 3 * 6, 3)
    assert (grid[6:16, 6:26] == 1).all()
    assert (grid[6:18, 32:48] == 2).all()
    assert (grid[24:29, 6:14] == 3).all()
    assert (grid == 255).all(-1).sum() == grid.shape[0] * grid.shape[1] - 200 - 192 - 40
    assert panel_grid(panels[:1], 9).shape == (22, 32, 3)
    for panels, columns in (([], 2), ([flat(2, 2, 0)], 0)):
        with pytest.raises(SettingsError, match="at least one of each"):
            panel_grid(panels, columns)


def test_a_contact_sheet_scales_and_captions():
    images = [flat(40, 80, 10), flat(80, 40, 20), flat(40, 80, 30)]
    bare, captioned = contact_sheet(images, 3, width=40), contact_sheet(images, 3, ["a", "b", "c"], width=40)
    assert bare.shape == (80 + 12, 3 * 40 + 4 * 6, 3)
    assert (bare[6:26, 6:46] == 10).all()
    assert captioned.shape[0] > bare.shape[0]
    with pytest.raises(SettingsError, match="2 captions were given for 3 images"):
        contact_sheet(images, 3, ["a", "b"])


def test_a_legend_shows_every_colour_and_wraps():
    wide, narrow = legend([1, 2, 300], 400, names={1: "dog"}), legend([1, 2, 300], 70)
    assert wide.shape[1] == 400
    assert narrow.shape == (3 * wide.shape[0], 70, 3)
    for strip in (wide, narrow):
        assert all(has_colour(strip, object_colour(index)) for index in (1, 2, 300))
    assert not ink(legend([], 50)).any()
