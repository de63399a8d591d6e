"""The embedded segmenter: what ships, and that it does what it is for on held-out worlds."""

import json
from dataclasses import replace

import pytest

from undertow.backbones.weights.locating import embedded_folder
from undertow.refinement import get_segmenter_card, load_segmenter
from undertow.training.segmenter_validation import SegmenterValidation, validate_segmenter


@pytest.fixture(scope="module")
def scores():
    settings = replace(SegmenterValidation(), scenes=10)
    return validate_segmenter(load_segmenter("tiny-sam", device="cpu"), settings)


def test_what_ships_is_small_and_safe():
    folder = embedded_folder(get_segmenter_card("tiny-sam"))
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 6.2e6
    assert {path.suffix for path in files} <= {".json", ".safetensors", ".md"}
    assert json.loads((folder / "training.json").read_text())["step"] > 0


def test_it_betters_masks_as_a_tracker_gives_them(scores):
    assert scores["refined"] > scores["damaged"]


def test_clicks_find_objects_and_more_clicks_find_more(scores):
    assert scores["click"] > 0.4 and scores["clicks3"] > scores["click"] + 0.03
