"""The embedded model that reads words: what ships, and that it finds plain colours in calm scenes."""

import json

import numpy as np
import pytest

from undertow.backbones import get_card, load
from undertow.backbones.weights.locating import embedded_folder
from undertow.grounding import Grounder, reader_of
from undertow.training.word_validation import FIRST_SCENE
from undertow.world.calm import calm_scene
from undertow.world.truth import looks_of


@pytest.fixture(scope="module")
def folder():
    return embedded_folder(get_card("tiny-words"))


def test_what_ships_is_small_and_safe(folder):
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 12e6
    assert {path.suffix for path in files} <= {".json", ".safetensors", ".md"}
    assert {"README.md", "training.json", "model_index.json"} <= {path.name for path in files}
    assert json.loads((folder / "training.json").read_text())["step"] > 0


def test_embedded_models_leave_words_to_what_answers():
    tiny, words = load("tiny"), load("tiny-words")
    assert reader_of(tiny).card.name == "tiny-refer" and reader_of(words) is words


def test_it_finds_colours_in_calm_scenes_more_often_than_chance_would():
    """On held-out scenes, each colour that only one object has: "the red object"."""
    grounder = Grounder(load("tiny-words", device="cpu", dtype="float32"), (96, 160))
    hits, chances = [], []
    for seed in range(FIRST_SCENE, FIRST_SCENE + 20):
        scene = calm_scene(seed, (96, 160))
        colours = [looks_of(thing).colour for thing in scene.things]
        picture = scene.picture(0.0)
        alone = [(label, colour) for label, colour in enumerate(colours, 1) if colour and colours.count(colour) == 1]
        if len(colours) < 2 or not alone:
            continue
        sights = grounder.look(picture.image, *(f"the {colour} object" for _, colour in alone))
        for (label, _), sight in zip(alone, sights, strict=True):
            row, column = divmod(int(sight.heat.argmax()), sight.heat.shape[1])
            hits.append(picture.labels[8 * row + 4, 8 * column + 4] == label)
            chances.append(1 / len(colours))
    assert len(hits) > 20 and np.mean(hits) > np.mean(chances) + 0.15
