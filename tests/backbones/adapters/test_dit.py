"""Video transformers as backbones: frames in and out, forwards as the stock pipelines do them, what is refused."""

import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from diffusers import CogVideoXPipeline, LTXPipeline
from diffusers.models.embeddings import get_3d_rotary_pos_embed
from diffusers.pipelines.cogvideo.pipeline_cogvideox import get_resize_crop_region_for_grid

from families import small_backbone
from undertow.backbones import Noising, get_card, list_cards, random_backbone
from undertow.backbones.adapters.dit_models import rotary_tables
from undertow.backbones.published import ARCHITECTURES
from undertow.backbones.sampling.guidance import sample
from undertow.base import SettingsError

SMALL = ("tiny-video", "cogvideox-2b", "cogvideox-1.5-5b", "hunyuan-video", "mochi-1", "wan2.1-1.3b", "ltx-video")
PER_LATENT = {"mochi-1": 6, "ltx-video": 8}
# Heads, head dimension, blocks; parameters of the whole transformer in millions.
PUBLISHED = {
    "cogvideox-2b": (30, 64, 30, 1694),
    "cogvideox-5b": (48, 64, 42, 5570),
    "cogvideox-5b-i2v": (48, 64, 42, 5570),
    "cogvideox-1.5-5b": (48, 64, 42, 5571),
    "mochi-1": (24, 128, 48, 10028),
    "hunyuan-video": (24, 128, 60, 12821),
    "wan2.1-1.3b": (12, 128, 30, 1419),
    "wan2.1-14b": (40, 128, 40, 14288),
}


@pytest.fixture(scope="module", params=SMALL)
def backbone(request):
    return small_backbone(request.param, seed=2)


@pytest.fixture(scope="module")
def frames(backbone):
    height, width = backbone.multiple, 2 * backbone.multiple
    return np.random.default_rng(0).integers(0, 256, (3, height, width, 3), dtype=np.uint8)


def clip_of(backbone, frames=3, seed=0):
    return torch.randn(frames, backbone.autoencoder.channels, 6, 8, generator=torch.Generator().manual_seed(seed))


def test_each_frame_is_encoded_alone(backbone, frames, monkeypatch):
    together = backbone.encode(frames)
    cells = backbone.multiple // backbone.stride
    assert together.shape == (3, 4, cells, 2 * cells) and together.dtype == torch.float32
    one = torch.cat([backbone.encode(frame[None]) for frame in frames])
    torch.testing.assert_close(together, one, rtol=1e-4, atol=1e-5)
    monkeypatch.setattr("undertow.backbones.adapters.autoencoder.BATCH", 2)
    torch.testing.assert_close(backbone.encode(frames[::-1]), one.flip(0), rtol=1e-4, atol=1e-5)


def test_encoding_is_the_scaled_posterior_mode(backbone, frames):
    pixels = torch.from_numpy(frames[:1]).permute(0, 3, 1, 2) / 127.5 - 1
    config = backbone.autoencoder.module.config
    with torch.no_grad():
        if type(backbone.autoencoder.module).__name__ == "AutoencoderKL":
            mode = backbone.autoencoder.module.encode(pixels).latent_dist.mode()
        else:
            mode = backbone.autoencoder.module.encode(pixels[:, :, None]).latent_dist.mode()[:, :, 0]
    stored = dict(backbone.autoencoder.module.named_buffers()) | config
    if stored.get("latents_mean") is not None:
        mean, std = (torch.as_tensor(each).view(1, 4, 1, 1) for each in (stored["latents_mean"], stored["latents_std"]))
        expected = (mode - mean) / std
    else:
        expected = mode * config.scaling_factor
    torch.testing.assert_close(backbone.encode(frames[:1]), expected)


def test_decoding_undoes_the_scale_of_encoding(backbone, frames):
    latents = backbone.encode(frames)
    images = backbone.decode(latents)
    assert images.shape == frames.shape and images.dtype == np.uint8
    assert np.abs(backbone.decode(latents[1:2])[0].astype(int) - images[1]).max() <= 1
    clip = backbone.decode_clip(latents)
    video = type(backbone.autoencoder.module).__name__ != "AutoencoderKL"
    assert len(clip) == 2 * backbone.autoencoder.frames_per_latent + 1
    assert backbone.autoencoder.frames_per_latent == PER_LATENT.get(backbone.card.name, 4 if video else 1)
    mean, std = backbone.autoencoder._statistics(latents.device)
    unscaled = latents * std + mean
    with torch.no_grad():
        if video:
            pixels = backbone.autoencoder.module.decode(unscaled.movedim(0, 1)[None]).sample[0].movedim(0, 1)
        else:
            pixels = backbone.autoencoder.module.decode(unscaled).sample
    expected = ((pixels + 1) * 127.5).clamp(0, 255).permute(0, 2, 3, 1).numpy()
    assert np.abs(clip - expected).max() <= 0.5 + 1e-3


def test_sizes(backbone):
    if backbone.card.name == "ltx-video":
        assert backbone.stride == backbone.multiple == 32
    else:
        assert backbone.stride == (4 if type(backbone.autoencoder.module).__name__ == "AutoencoderKL" else 8)
        assert backbone.multiple == 2 * backbone.stride
    assert backbone.input_size(480, 854, size=(32, 64)) == (32, 64)
    height, width = backbone.input_size(480, 854, tokens=2 * 15)
    assert height * width == 4 * 7 * backbone.multiple**2
    with pytest.raises(SettingsError, match=f"33x32 is not divisible by {backbone.multiple}"):
        backbone.encode(np.zeros((1, 32, 33, 3), np.uint8))
    with pytest.raises(SettingsError, match="float32"):
        backbone.encode(np.zeros((1, 32, 32, 3), np.float32))


def test_clips_that_are_too_long_are_refused(backbone):
    site = backbone.sites()[0]
    assert backbone.observe(clip_of(backbone, 13), 19, [site]).queries[site.path].shape[0] == 13
    for frames in (0, 14):
        with pytest.raises(SettingsError, match=f"{frames} frames are given, and .* sees 1 to 13 together"):
            backbone.observe(clip_of(backbone, frames), 19, [site])
    if backbone.multiple > backbone.stride:
        with pytest.raises(SettingsError, match=r"is not divisible by"):
            backbone.observe(clip_of(backbone)[:, :, :5], 19, [site])


def test_weights_decide_the_fingerprint(backbone):
    same = small_backbone(SMALL[0], seed=2)
    if backbone.card.name == SMALL[0]:
        assert backbone.fingerprint() == same.fingerprint()
    assert backbone.fingerprint() != small_backbone(SMALL[0], seed=3).fingerprint()


def test_joint_forward_is_the_pipelines():
    """With the pipeline's own fitting of the grid, for grids of other aspects than the trained one."""
    backbone = small_backbone("cogvideox-5b")
    config = backbone.denoiser.config
    for height, width in ((12, 16), (8, 6), (4, 12)):
        latents = torch.randn(3, 4, height, width, generator=torch.Generator().manual_seed(0))
        grid, base = (height // 2, width // 2), (config.sample_height // 2, config.sample_width // 2)
        crop = get_resize_crop_region_for_grid(grid, base[1], base[0])
        rotary = get_3d_rotary_pos_embed(config.attention_head_dim, crop, grid, 3)
        with torch.no_grad():
            expected = backbone.denoiser(
                hidden_states=latents[None],
                encoder_hidden_states=backbone.condition("a kite").tensor[None],
                timestep=torch.tensor([19]),
                image_rotary_emb=rotary,
            ).sample[0]
        torch.testing.assert_close(backbone.denoise(latents, 19, backbone.condition("a kite")), expected)


def test_cells_are_whole_numbers_whatever_the_size(tiny_video_like):
    head_dim = tiny_video_like.denoiser.config.attention_head_dim
    assert tiny_video_like.card.positions == "cells"
    small, large = (rotary_tables(2, grid, grid, head_dim) for grid in ((3, 4), (6, 9)))
    for one, other in zip(small, large, strict=True):
        part = other.view(2, 6, 9, head_dim)[:, :3, :4].flatten(0, 2)
        torch.testing.assert_close(one, part, rtol=1e-5, atol=1e-6)
    # Cell (1, 2) of frame 1 is turned by the angles 1, 1 and 2 in the first pair of each axis.
    angles = torch.atan2(small[1], small[0])[12 + 4 + 2]
    assert [round(float(angles[at]), 3) for at in (0, head_dim // 4, head_dim // 8 * 5)] == [1, 1, 2]


def test_an_image_to_video_model_is_given_the_clean_first_frame():
    backbone = small_backbone("cogvideox-5b-i2v")
    latents = torch.randn(3, 4, 12, 16, generator=torch.Generator().manual_seed(0))
    first = latents.flip(0)[0] + 1
    condition = torch.cat([latents[:1], torch.zeros_like(latents[1:])])
    rotary = rotary_tables(3, (6, 8), (6, 8), 16)

    def stock(condition):
        # Three latents: the first three frames of the learned positions, as diffusers itself only does for thirteen.
        embed = backbone.denoiser.patch_embed
        whole, embed.pos_embedding, embed.sample_frames = embed.pos_embedding, embed.pos_embedding[:, : 16 + 3 * 48], 9
        try:
            with torch.no_grad():
                return backbone.denoiser(
                    hidden_states=torch.cat([latents, condition], dim=1)[None],
                    encoder_hidden_states=backbone.condition("").tensor[None],
                    timestep=torch.tensor([19]),
                    image_rotary_emb=rotary,
                ).sample[0]
        finally:
            embed.pos_embedding, embed.sample_frames = whole, 49

    assert backbone.image_to_video
    torch.testing.assert_close(backbone.denoise(latents, 19), stock(condition))
    given = replace(backbone.condition(""), first_frame=first)
    condition[0] = first
    torch.testing.assert_close(backbone.denoise(latents, 19, given), stock(condition))
    assert backbone.denoiser.patch_embed.sample_frames == 49


def test_learned_positions_are_for_one_size():
    backbone = small_backbone("cogvideox-5b-i2v")
    assert backbone.fixed_size == (96, 128) == backbone.input_size(480, 854)
    with pytest.raises(SettingsError, match=r"128x64 cannot be read .* learned for 128x96 only"):
        backbone.encode(np.zeros((1, 64, 128, 3), np.uint8))
    with pytest.raises(SettingsError, match="learned for 128x96 only"):
        backbone.input_size(480, 854, size=(64, 128))


def test_text_without_padding_is_text_with_its_padding_masked():
    """HunyuanVideo's pipeline pads texts to 256 tokens and masks them; leaving them away changes nothing."""
    backbone = small_backbone("hunyuan-video")
    latents, text = clip_of(backbone), backbone.condition("a kite")
    padded = torch.cat([text.tensor, torch.randn(4, 32)])[None]
    mask = torch.tensor([[1] * 5 + [0] * 4])
    with torch.no_grad():
        expected = backbone.denoiser(
            hidden_states=latents.movedim(0, 1)[None],
            timestep=torch.tensor([194.0]),
            encoder_hidden_states=padded,
            encoder_attention_mask=mask,
            pooled_projections=text.pooled[None],
            guidance=torch.tensor([6000.0]),
        ).sample[0]
    found = backbone.denoise(latents, 194, text)
    torch.testing.assert_close(found, expected.movedim(1, 0), rtol=1e-4, atol=1e-5)


def test_a_frame_that_is_given_twice_has_tokens_of_its_own():
    """CogVideoX 1.5: rotated as its pipeline does it, for as many pairs of latent frames as there are frames."""
    backbone = small_backbone("cogvideox-1.5-5b")
    latents, text = clip_of(backbone), backbone.condition("a kite")
    vae, network = SimpleNamespace(vae_scale_factor_spatial=8), backbone.denoiser
    pipeline = SimpleNamespace(**vars(vae), transformer=network)
    rotary = CogVideoXPipeline._prepare_rotary_positional_embeddings(pipeline, 48, 64, 6, torch.device("cpu"))
    twice = latents[[0, 0, 1, 1, 2, 2]]
    with torch.no_grad():
        expected = network(
            twice[None], text.tensor[None], torch.tensor([19]), image_rotary_emb=rotary, return_dict=False
        )[0][0]
    found = backbone.denoise(latents, 19, text)
    torch.testing.assert_close(found, expected.view(3, 2, 4, 6, 8).mean(1), rtol=1e-5, atol=1e-5)
    site = backbone.sites()[0]
    assert backbone.observe(latents, 19, [site], text).queries[site.path].shape == (3, 2, 12, 16)
    with pytest.raises(SettingsError, match="given each frame 2 times and makes no clips here"):
        sample(backbone, "a kite", frames=3, size=(48, 64))


@pytest.mark.filterwarnings("ignore:In CPU autocast")
def test_mochi_counts_time_from_noise_to_the_picture():
    """Its sampler steps from 0 to 1000 and adds what the network returns; padding of texts is masked."""
    backbone = small_backbone("mochi-1")
    latents, text = clip_of(backbone), backbone.condition("a kite")
    padded = torch.cat([text.tensor, torch.randn(4, 32)])[None]
    mask = torch.tensor([[True] * 5 + [False] * 4])
    with torch.no_grad():
        expected = -backbone.denoiser(latents.movedim(0, 1)[None], padded, torch.tensor([940.0]), mask).sample[0]
    found = backbone.denoise(latents, 60, text)
    torch.testing.assert_close(found, expected.movedim(1, 0), rtol=1e-5, atol=1e-5)


def test_ltx_forward_is_the_pipelines():
    backbone = small_backbone("ltx-video")
    latents, text = clip_of(backbone), backbone.condition("a kite")
    padded = torch.cat([text.tensor, torch.randn(4, 32)])[None]
    mask = torch.tensor([[1] * 5 + [0] * 4])
    packed = LTXPipeline._pack_latents(latents.movedim(0, 1)[None])
    with torch.no_grad():
        output = backbone.denoiser(
            packed, padded, torch.tensor([60]), mask, 3, 6, 8, rope_interpolation_scale=(8 / 25, 32, 32)
        ).sample
    expected = LTXPipeline._unpack_latents(output, 3, 6, 8)[0].movedim(1, 0)
    torch.testing.assert_close(backbone.denoise(latents, 60, text), expected, rtol=1e-5, atol=1e-5)


def test_self_forward_is_the_pipelines():
    backbone = small_backbone("wan2.1-1.3b")
    latents, text = clip_of(backbone), backbone.condition("a kite")
    with torch.no_grad():
        expected = backbone.denoiser(
            hidden_states=latents.movedim(0, 1)[None],
            timestep=torch.tensor([58]),
            encoder_hidden_states=text.tensor[None],
        ).sample[0]
    torch.testing.assert_close(backbone.denoise(latents, 58, text), expected.movedim(1, 0))


def test_ways_to_the_observed_level(backbone):
    latents = clip_of(backbone)
    clean, noisy = Noising("clean", 100, (100,)), Noising("noise", 100, (100,))
    assert torch.equal(backbone.prepare(latents, clean, [0, 1, 2]), latents)
    noised = backbone.prepare(latents, noisy, [0, 1, 2])
    assert torch.equal(backbone.prepare(latents[1:], noisy, [1, 2]), noised[1:])
    # Inverting and sampling back along the same levels returns to the start, up to the error of the steps.
    inverted = backbone.prepare(latents, Noising("invert", 100, tuple(range(20, 101, 20))), [0, 1, 2])
    level, back = backbone.schedule.level, inverted
    for here in range(100, 0, -20):
        there = here - 20
        x0, noise = backbone.to_x0_eps(backbone.denoise(back, here), back, here)
        back = backbone.schedule.mix(x0, noise, backbone.schedule.clean if there == 0 else level(there))
    assert (inverted - latents).abs().mean() > 0.03
    assert (back - latents).abs().mean() < 0.3 * (inverted - latents).abs().mean()


def test_half_precision_keeps_what_the_class_wants_whole():
    backbone = small_backbone("wan2.1-1.3b", dtype=torch.bfloat16)
    kinds = {name: weight.dtype for name, weight in backbone.denoiser.named_parameters()}
    assert (
        kinds["blocks.0.scale_shift_table"] == torch.float32 and kinds["blocks.0.attn1.to_q.weight"] == torch.bfloat16
    )
    site = backbone.sites()[1]
    half = backbone.observe(clip_of(backbone), 58, [site]).queries[site.path]
    whole = small_backbone("wan2.1-1.3b").observe(clip_of(backbone), 58, [site]).queries[site.path]
    assert half.dtype == torch.bfloat16
    assert torch.nn.functional.cosine_similarity(half.float(), whole, dim=-1).min() > 0.99


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_shapes(name):
    """On the meta device the whole path runs, at full size, without numbers."""
    heads, head_dim, blocks, millions = PUBLISHED[name]
    card = get_card(name)
    backbone = random_backbone(card, device="meta")
    assert card.family == "dit" and card.chunk == 13
    assert round(sum(weight.numel() for weight in backbone.denoiser.parameters()) / 1e6) == millions
    assert len(backbone.sites()) == blocks
    assert backbone.input_size(480, 720) == (480, 720) and backbone.multiple == 16
    latents = torch.empty(13, backbone.channels, 60, 90, device="meta")
    seen = backbone.observe(latents, card.noising.timestep, card.sites["points"])
    (site,) = card.sites["points"]
    assert site in backbone.sites()
    assert seen.grid == (30, 45)
    assert seen.queries[site.path].shape == seen.keys[site.path].shape == (13, heads, 1350, head_dim)
    length = ARCHITECTURES[name].text[0]
    if site.kind == "joint":
        assert seen.text_keys[site.path].shape == (heads, length, head_dim)
    assert backbone.encode(np.zeros((1, 480, 720, 3), np.uint8)).shape == latents[:1].shape
    # What the notes say of how much tracking reads.
    count, whole = (int(number) for number in re.search(r"reads (\d+) of (\d+) blocks", card.notes).groups())
    assert (backbone.sites().index(site) + 1, blocks) == (count, whole)
    backbone = random_backbone(card, device="meta", dtype=torch.bfloat16)
    assert f"{backbone.parts([site])['denoiser'] / 1e9:.1f} GB" in card.notes


def test_every_published_card_names_a_real_site():
    for card in list_cards():
        if card.family == "dit" and card.chunk > 1 and not card.embedded:
            (site,) = card.sites["points"]
            assert (site.stride, card.chunk, card.token_budget) == (max(16, card.latent_stride), 13, 1350)
            assert card.noising.kind == "clean" and not card.gated
