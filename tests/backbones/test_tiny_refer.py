"""The embedded model that answers words with masks: what ships, and that it finds things in held-out pictures."""

import json

import numpy as np
import pytest
import torch

from undertow.backbones import get_card, load
from undertow.backbones.weights.locating import embedded_folder, locate, weights_state
from undertow.grounding import Asker
from undertow.training.rem.datasets import read_sources
from undertow.training.rem.settings import RemSettings


@pytest.fixture(scope="module")
def model():
    return load("tiny-refer", device="cpu", dtype="float32")


def test_what_ships_is_small_and_safe():
    folder = embedded_folder(get_card("tiny-refer"))
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 12e6
    assert {path.name for path in files} == {
        "README.md",
        "training.json",
        "fine_tuning.json",
        "fine_tuning.safetensors",
    }
    assert json.loads((folder / "training.json").read_text())["steps"] > 0


def test_it_is_what_was_learned_on_top_of_another_embedded_model(model):
    located = locate("tiny-refer")
    assert located.path == embedded_folder(get_card("tiny-words")) and located.card.name == "tiny-refer"
    assert weights_state(get_card("tiny-refer")) == "embedded" and model.card.name == "tiny-refer"
    base = load("tiny-words", device="cpu", dtype="float32")
    assert model.fingerprint() != base.fingerprint() and model.fine_tuning.backbone == "tiny-words"


@torch.no_grad()
def test_it_finds_what_is_named_more_often_than_chance_would(model):
    """On held-out calm scenes: the highest place of an answer is on the object that a text names."""
    [calm] = read_sources(["calm:25"], RemSettings(size=(160, 96)), training=False)
    hits, chances = [], []
    for number in range(len(calm)):
        (scene, _), item = calm.scene(number), calm.item(number)
        shown = [place for place, mask in enumerate(item.masks) if mask.any()]
        if len(scene.things) < 2 or not shown:
            continue
        sights = Asker(model, (96, 160)).look(item.images[0], *(item.texts[place] for place in shown))
        for place, sight in zip(shown, sights, strict=True):
            row, column = (int(each) for each in (sight.peaks[0].y, sight.peaks[0].x))
            hits.append(bool(item.masks[place, 0, row, column]))
            chances.append(1 / len(scene.things))
    assert len(hits) > 40 and np.mean(hits) > np.mean(chances) + 0.15
