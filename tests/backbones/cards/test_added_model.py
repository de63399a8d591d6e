"""docs/add-a-model.md: the cards that it adds are cards of models."""

import numpy as np

from pages import blocks_of, files_of
from undertow.backbones import load
from undertow.backbones.cards import known


def test_the_card_file_of_the_page(tmp_path):
    ((name, content),) = files_of("add-a-model.md").items()
    (tmp_path / name).write_text(content)
    backbone = load(tmp_path / name, device="cpu", sites="track")
    sites = backbone.card.places("track")
    assert backbone.card.name == "tiny-late" and set(sites) <= set(backbone.sites("self"))
    latents = backbone.encode(np.zeros((1, 64, 64, 3), np.uint8))
    assert backbone.observe(latents, 101, sites, backbone.condition()).keys[sites[0].path].shape[-2:] == (64, 128)


def test_the_card_of_the_page():
    scope = {**vars(known)}
    exec(blocks_of("add-a-model.md")[0], scope)
    card = scope["SD_2_1_TURBO"]
    assert card.name not in {each.name for each in known.__dict__.values() if isinstance(each, known.Card)}
    assert card.sites == known.SD_2_1_BASE.sites and card.noising.timestep == 41
