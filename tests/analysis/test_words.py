"""Where words are grounded: the measure, and a card that reads there."""

import json

import numpy as np
import pytest

from undertow.analysis import words as analysis
from undertow.analysis.word_writing import word_card, write_word_analysis
from undertow.analysis.words import ALL, WordRow, analyze_words, text_sites, word_pictures
from undertow.backbones import load
from undertow.base import SettingsError
from undertow.observing.settings import FrameSettings


@pytest.fixture(scope="module")
def backbone(family_folder):
    return load(family_folder("sd-3-medium") / "card.json", device="cpu", dtype="float32")


def test_pictures_have_true_expressions_and_strange_ones(monkeypatch):
    monkeypatch.setattr(analysis, "SIZE", (64, 96))
    pictures = word_pictures(5)
    assert len(pictures) >= 3 and any(each.absent for each in pictures)
    for each in pictures:
        shown = {text for text, _ in each.expressions}
        assert not shown & set(each.absent) and all(mask.any() and not mask.all() for _, mask in each.expressions)
        assert 0 < each.chance <= 1
    with pytest.raises(SettingsError, match="--worlds is 0"):
        word_pictures(0)


def test_every_site_level_and_reading_is_scored(backbone, monkeypatch, tmp_path):
    monkeypatch.setattr(analysis, "SIZE", (64, 96))
    pictures = word_pictures(3)
    found = analyze_words(backbone, pictures, [300, 700], frames=FrameSettings(tokens=24))
    sites = [site.path for site in text_sites(backbone)]
    assert {(row.site, row.timestep, row.reading) for row in found.rows} == {
        (site, level, reading) for site in (ALL, *sites) for level in (300, 700) for reading in "ABC"
    }
    accuracies = [row.accuracy for row in found.rows]
    assert accuracies == sorted(accuracies, reverse=True) and found.best.site in sites
    files = write_word_analysis(found, backbone, tmp_path, name="mine")
    assert all(file.is_file() for file in files)
    card = json.loads((tmp_path / "card.json").read_text())
    assert card["name"] == "mine" and card["sites"]["refer"][0]["path"] == found.best.site
    assert card["levels"]["refer"]["timestep"] == found.best.timestep
    assert len((tmp_path / "table.csv").read_text().splitlines()) == 1 + len(found.rows)


def test_the_threshold_parts_what_is_shown_from_what_is_not():
    area, least = analysis._presence([(3.0, True), (2.5, True), (1.0, False), (1.5, False)])
    assert (area, least) == (1.0, 2.5)
    assert np.isnan(analysis._presence([(3.0, True)])[0])


def test_the_card_reads_what_was_best(backbone):
    row = WordRow(text_sites(backbone)[0].path, 700, "A", 50.0, 0.7, 2.512)
    card = word_card(row, backbone)
    assert card.word_reading == "A" and card.word_contrast == 2.51
    assert card.sites["refer"] == text_sites(backbone)[:1] and card.levels["refer"].timestep == 700
