"""Names in any script are written, as far as there is a font for them."""

import numpy as np
import pytest

import undertow.drawing.lettering as lettering
from undertow.drawing import text_strip
from undertow.drawing.lettering import lettering as lettered


def same(one, other):
    return np.array_equal(text_strip(one, 200), text_strip(other, 200))


@pytest.mark.parametrize("name", ["Bäume", "été", "Straße", "Gdańsk", "niño"])
@pytest.mark.parametrize("fonts", [lettering.OTHERS, ()])
def test_letters_beyond_ascii_are_not_boxes(name, fonts, monkeypatch):
    monkeypatch.setattr(lettering, "OTHERS", fonts)
    boxes = "".join(letter if letter.isascii() else "\uffff" for letter in name)
    assert not same(name, boxes)


def test_without_another_font_accents_are_left_out(monkeypatch):
    monkeypatch.setattr(lettering, "OTHERS", ("no such font.ttf",))
    assert lettered("Bäume, Straße", 14)[1] == "Baume, Strasse" and same("été", "ete")


def test_plain_names_look_the_same_everywhere(monkeypatch):
    for text in ("object 7", "a long name…", "3 · 4°"):
        before = text_strip(text, 200)
        with monkeypatch.context() as patched:
            patched.setattr(lettering, "OTHERS", ())
            assert np.array_equal(before, text_strip(text, 200)) and lettered(text, 14)[1] == text
