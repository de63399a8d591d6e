"""Image transformers as backbones: what they show is what plain forwards compare, and texts are the pipelines'."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from diffusers import Flux2KleinPipeline, FluxPipeline, StableDiffusion3Pipeline
from transformers import (
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizerFast,
    T5EncoderModel,
    T5TokenizerFast,
)

from families import FAMILIES, small_backbone, write_flux_texts, write_sd3_texts
from undertow.backbones import get_card, load, random_backbone
from undertow.backbones.adapters.dit_kinds import require_kind
from undertow.backbones.adapters.dit_text import text_reader
from undertow.base import SettingsError, WeightsUnavailable

KINDS = ("flux.1-schnell", "flux.1-dev", "flux.2-klein-4b", "sd-3-medium", "sd-3.5-medium", "cosmos-predict2-2b")
TWO = ("text_encoder", "text_encoder_2")
# Heads, head dimension, blocks; parameters of the whole transformer in millions.
PUBLISHED = {
    "flux.1-schnell": (24, 128, 57, 11891),
    "flux.1-dev": (24, 128, 57, 11901),
    "flux.2-klein-4b": (24, 128, 25, 3876),
    "cosmos-predict2-2b": (16, 128, 28, 1956),
    "sd-3-medium": (24, 64, 24, 2028),
    "sd-3.5-medium": (24, 64, 24, 2243),
    "sd-3.5-large": (38, 64, 38, 8057),
}


@pytest.fixture(scope="module", params=KINDS)
def backbone(request):
    return small_backbone(request.param, seed=2)


@pytest.fixture(scope="module")
def latents(backbone):
    return torch.randn(2, backbone.channels, 8, 12, generator=torch.Generator().manual_seed(0))


def plain(backbone, latents, timestep, states):
    """The prediction of one frame as the stock pipelines call the network."""
    transformer, name = backbone.denoiser, type(backbone.denoiser).__name__
    if name == "CosmosTransformer3DModel":
        # Latents are noised as noise/σ + clean by its sampler, and given times 1/(1 + σ); nothing is padded.
        transformer.register_to_config(concat_padding_mask=False)
        inputs = torch.cat([latents, torch.zeros_like(latents[:, :1])], dim=1)[:, :, None]
        level = torch.tensor([timestep / 1000])
        output = transformer(inputs, timestep=level, encoder_hidden_states=states.tensor[None]).sample[:, :, 0]
        transformer.register_to_config(concat_padding_mask=True)
        return output
    if name == "Flux2Transformer2DModel":
        output = transformer(
            hidden_states=Flux2KleinPipeline._pack_latents(latents),
            encoder_hidden_states=states.tensor[None],
            timestep=torch.tensor([timestep]) / 1000,
            img_ids=Flux2KleinPipeline._prepare_latent_ids(latents),
            txt_ids=Flux2KleinPipeline._prepare_text_ids(states.tensor[None]),
        ).sample
        return output.mT.reshape(latents.shape)
    common = {
        "encoder_hidden_states": states.tensor[None],
        "pooled_projections": states.pooled[None],
        "return_dict": False,
    }
    if name == "SD3Transformer2DModel":
        return transformer(hidden_states=latents, timestep=torch.tensor([timestep]), **common)[0]
    _, channels, height, width = latents.shape
    output = transformer(
        hidden_states=FluxPipeline._pack_latents(latents, 1, channels, height, width),
        timestep=torch.tensor([timestep]) / 1000,
        guidance=torch.tensor([3.5]) if transformer.config.guidance_embeds else None,
        img_ids=FluxPipeline._prepare_latent_image_ids(1, height // 2, width // 2, "cpu", torch.float32),
        txt_ids=torch.zeros(len(states.tensor), 3),
        **common,
    )[0]
    # The pipeline counts in pixels of an autoencoder with a stride of 8.
    return FluxPipeline._unpack_latents(output, height * 8, width * 8, 8)


@torch.no_grad()
def test_predictions_are_those_of_stock_forwards(backbone, latents):
    states = backbone.condition("a red kite")
    found = backbone.denoise(latents, 500, states)
    expected = torch.cat([plain(backbone, frame, 500, states) for frame in latents.split(1)])
    assert found.std() > 0.01
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    shorter = replace(states, tensor=states.tensor[:3])
    expected = plain(backbone, latents[:1], 500, shorter)
    torch.testing.assert_close(backbone.denoise(latents[:1], 500, shorter), expected, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_queries_and_keys_are_those_that_the_attention_compares(backbone, latents, monkeypatch):
    states, frame = backbone.condition("a red kite"), latents[1:]
    compared, current, handles = {}, [], []
    real = torch.nn.functional.scaled_dot_product_attention

    def recording(query, key, value, *args, **kwargs):
        output = real(query, key, value, *args, **kwargs)
        if current:
            compared[current[0]] = tuple(each[0].clone() for each in (query, key, output))
        return output

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", recording)
    for site in backbone.sites():
        attention = backbone.denoiser.get_submodule(site.path)
        handles += [
            attention.register_forward_pre_hook(lambda *_, path=site.path: current.append(path)),
            attention.register_forward_hook(lambda *_: current.clear()),
        ]
    plain(backbone, frame, 500, states)
    for handle in handles:
        handle.remove()
    seen = backbone.observe(frame, 500, backbone.sites(), states, features=True)
    count, first = len(states.tensor), type(backbone.denoiser).__name__.startswith("Flux")
    text, picture = (slice(0, count), slice(count, None)) if first else (slice(-count, None), slice(0, -count))
    patch = 16 // backbone.stride
    assert seen.grid == (8 // patch, 12 // patch) and seen.stride == 16 and len(compared) == len(backbone.sites())
    if not seen.text_keys:
        text, picture = slice(0), slice(None)
    for site in backbone.sites():
        queries, keys, output = compared[site.path]
        for found, expected in (
            (seen.queries[site.path][0], queries[:, picture]),
            (seen.keys[site.path][0], keys[:, picture]),
            (seen.text_queries.get(site.path, queries[:, text]), queries[:, text]),
            (seen.text_keys.get(site.path, keys[:, text]), keys[:, text]),
            (seen.features[site.path][0], output[:, picture].transpose(0, 1).flatten(1)),
        ):
            torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_frames_do_not_see_each_other(backbone, latents):
    sites = backbone.sites()
    both = backbone.observe(latents, 500, sites, features=True)
    for number, frame in enumerate(latents.split(1)):
        one = backbone.observe(frame, 500, sites, features=True)
        for name in ("queries", "keys", "features"):
            for site in sites:
                assert torch.equal(getattr(both, name)[site.path][number], getattr(one, name)[site.path][0])
    joint = {site.path for site in sites if site.kind == "joint"}
    assert not both.text_keys and set(one.text_keys) == joint


def test_latents_are_shifted_and_scaled(backbone):
    images = np.random.default_rng(0).integers(0, 256, (2, 16, 32, 3), dtype=np.uint8)
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2) / 127.5 - 1
    with torch.no_grad():
        if backbone.card.name == "flux.2-klein-4b":
            vae = SimpleNamespace(
                vae=backbone.autoencoder.module, _patchify_latents=Flux2KleinPipeline._patchify_latents
            )
            expected = Flux2KleinPipeline._encode_vae_image(vae, pixels, None)
        elif backbone.card.name == "cosmos-predict2-2b":
            mode = backbone.autoencoder.module.encode(pixels[:, :, None]).latent_dist.mode()[:, :, 0]
            config = backbone.autoencoder.config
            mean, std = (torch.tensor(each)[:, None, None] for each in (config.latents_mean, config.latents_std))
            expected = (mode - mean) / std
        else:
            expected = (backbone.autoencoder.module.encode(pixels).latent_dist.mode() - 0.12) * 0.36
    torch.testing.assert_close(backbone.encode(images), expected)
    assert backbone.decode(backbone.encode(images)).shape == images.shape


@torch.no_grad()
def test_flux_reads_t5_without_padding_and_clips_pooled_state(tmp_path):
    write_flux_texts(tmp_path)
    text = "a red kite"
    found = text_reader(tmp_path, "m", 512, TWO)(text)
    ids = T5TokenizerFast.from_pretrained(tmp_path / "tokenizer_2")(text, return_tensors="pt").input_ids
    encoder = T5EncoderModel.from_pretrained(tmp_path / "text_encoder_2", dtype=torch.bfloat16)
    torch.testing.assert_close(found.tensor, encoder(ids).last_hidden_state[0].float())
    pipeline = FluxPipeline(
        None, None,
        CLIPTextModel.from_pretrained(tmp_path / "text_encoder"),
        CLIPTokenizerFast.from_pretrained(tmp_path / "tokenizer"),
        None, None, None,
    )  # fmt: skip
    torch.testing.assert_close(found.pooled, pipeline._get_clip_prompt_embeds(text, device="cpu")[0])
    with pytest.raises(WeightsUnavailable, match="has no text encoder 2 and the states"):
        (tmp_path / "text_encoder_2" / "config.json").unlink()
        text_reader(tmp_path, "m", 512, TWO)(text)


@torch.no_grad()
def test_stable_diffusion_3_reads_two_clips_and_t5_without_padding(tmp_path):
    write_sd3_texts(tmp_path)
    text = "a red kite"
    found = text_reader(tmp_path, "m", 256, TWO)(text)
    pipeline = StableDiffusion3Pipeline(
        None, None, None,
        CLIPTextModelWithProjection.from_pretrained(tmp_path / "text_encoder"),
        CLIPTokenizerFast.from_pretrained(tmp_path / "tokenizer"),
        CLIPTextModelWithProjection.from_pretrained(tmp_path / "text_encoder_2"),
        CLIPTokenizerFast.from_pretrained(tmp_path / "tokenizer_2"),
        None, None,
    )  # fmt: skip
    states, pooled = zip(
        *(pipeline._get_clip_prompt_embeds(text, device="cpu", clip_model_index=number) for number in (0, 1)),
        strict=True,
    )
    # The words' letters, with a token before and behind.
    count = len(text.replace(" ", "")) + 2
    expected = torch.cat(states, dim=-1)[0, :count]
    torch.testing.assert_close(found.tensor[:count, :24], expected, rtol=1e-5, atol=1e-5)
    assert (found.tensor[:count, 24:] == 0).all()
    torch.testing.assert_close(found.pooled, torch.cat(pooled, dim=-1)[0], rtol=1e-5, atol=1e-5)
    ids = T5TokenizerFast.from_pretrained(tmp_path / "tokenizer_3")(text, return_tensors="pt").input_ids
    encoder = T5EncoderModel.from_pretrained(tmp_path / "text_encoder_3", dtype=torch.bfloat16)
    torch.testing.assert_close(found.tensor[count:], encoder(ids).last_hidden_state[0].float())
    # T5, the largest by far, may be left out.
    (tmp_path / "text_encoder_3" / "config.json").unlink()
    torch.testing.assert_close(text_reader(tmp_path, "m", 256, TWO)(text).tensor, found.tensor[:count, :24])


def test_states_of_clip_alone_are_padded_to_the_networks_width():
    backbone, latents = small_backbone("sd-3-medium", seed=2), torch.randn(2, 4, 8, 12)
    states = backbone.condition("a red kite")
    narrow, wide = (replace(states, tensor=each) for each in (states.tensor[:, :24], states.tensor.clone()))
    wide.tensor[:, 24:] = 0
    assert torch.equal(backbone.denoise(latents, 500, narrow), backbone.denoise(latents, 500, wide))


def test_folders_without_a_card_are_models_of_images(family_folder):
    for name in KINDS:
        loaded = load(family_folder(name), device="cpu", dtype="float32")
        assert loaded.card.chunk == 1 and type(loaded).__name__ == "ImageDiT" and len(loaded.sites()) > 2


def test_what_is_not_read_is_refused():
    config = dict(FAMILIES["flux.1-dev"].architecture.denoiser[1]) | {"patch_size": 1}
    with pytest.raises(SettingsError, match=r"given a picture to fill or to follow \(FLUX.1 Fill"):
        require_kind("FluxTransformer2DModel", "'m'", config | {"in_channels": 32, "out_channels": 16})
    with pytest.raises(SettingsError, match="'m' has no positions of its own"):
        require_kind("SD3Transformer2DModel", "'m'", {"pos_embed_max_size": None})
    backbone = small_backbone("sd-3-medium")
    with pytest.raises(SettingsError, match="size 208x32 is too large for 'sd-3-medium'; give 192x192 or less"):
        backbone.denoise(torch.zeros(1, 4, 4, 26), 500)


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_shapes(name):
    card = get_card(name)
    backbone = random_backbone(card, device="meta", dtype=torch.bfloat16)
    heads, head_dim, blocks, millions = PUBLISHED[name]
    assert len(backbone.sites()) == blocks
    assert {(site.heads, site.head_dim) for site in backbone.sites()} == {(heads, head_dim)}
    parameters = sum(each.numel() for each in backbone.denoiser.parameters())
    assert round(parameters / 1e6) == millions
    assert card.gated == (name not in ("flux.1-schnell", "flux.2-klein-4b")) and card.levels["refer"].timestep == 500
    assert backbone.parts(card.places("refer"))["denoiser"] <= backbone.parts()["denoiser"]
