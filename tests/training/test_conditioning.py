from dataclasses import replace

import pytest
import torch

from undertow.backbones import Site
from undertow.base import SettingsError
from undertow.tracking.tuning import read_facts, read_kernel
from undertow.training.conditioning import StartRecipe, fit_starting_tensor
from undertow.world import WorldSettings

SMALL = StartRecipe(
    worlds=2,
    held_out=1,
    steps=10,
    every=2,
    tokens=60,
    world=WorldSettings(height=96, width=160, leaves=30, objects=(1, 2)),
)


def test_a_start_is_fitted_and_kept_with_its_facts(tiny_like, tmp_path):
    card = tiny_like.card
    site = Site("up_blocks.1.attentions.0.transformer_blocks.0.attn1", "self", 1, 128, 8)
    temperatures = {**card.temperatures, "drift, tuned": 0.5}
    try:
        tiny_like.card = replace(card, sites={"track": card.sites["track"]})
        with pytest.raises(SettingsError, match="no text reaches"):
            fit_starting_tensor(tiny_like, tmp_path / "start.safetensors", SMALL)
        tiny_like.card = replace(card, sites={**card.sites, "tuning": (site,)}, temperatures=temperatures)
        learned = fit_starting_tensor(tiny_like, tmp_path / "start.safetensors", SMALL)
    finally:
        tiny_like.card = card
    facts = read_facts(tmp_path / "start.safetensors")
    before, after = facts["loss"]
    assert after < before and facts["best_step"] > 0 and facts["recipe"]["worlds"] == 2
    kept = read_kernel(tmp_path / "start.safetensors", tiny_like)
    assert torch.equal(kept.conditioning.tensor, learned.tensor)
    assert learned.tensor.shape == tiny_like.condition("").tensor.shape
