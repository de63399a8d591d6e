"""Stable Video Diffusion in miniature: clips, what they continue, and what is shown of them."""

import numpy as np
import pytest
import torch
from diffusers import EulerDiscreteScheduler

from undertow.backbones import VideoUNet, load
from undertow.backbones.adapters.unet_video import CONDITIONS, sigma_at
from undertow.backbones.cards.known import SVD_STEPS, clip_steps
from undertow.backbones.reading.edits import AddMap
from undertow.base import SettingsError, WeightsUnavailable


@pytest.fixture(scope="module")
def clip():
    return np.random.default_rng(1).integers(0, 256, (3, 16, 24, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def latents():
    return torch.randn(3, 4, 8, 12, generator=torch.Generator().manual_seed(2))


@pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")  # of diffusers with this numpy
def test_levels_are_those_of_the_sampler_it_is_used_with(small_svd, latents):
    scheduler = EulerDiscreteScheduler(
        prediction_type="v_prediction",
        use_karras_sigmas=True,
        timestep_type="continuous",
        timestep_spacing="leading",
        sigma_min=0.002,
        sigma_max=700.0,
    )
    scheduler.set_timesteps(25)
    steps = clip_steps(0)
    ours = torch.tensor([sigma_at(step) for step in steps])
    torch.testing.assert_close(ours, scheduler.sigmas[:25], rtol=1e-4, atol=0)
    assert [round(sigma_at(clip_steps()[place]), 3) for place in (0, 3, -1)] == [1.273, 0.157, 0.002]
    assert len(clip_steps()) == 8
    # One Euler step, in sigmas, is one step of ours between levels of constant variance.
    here, later = steps[17], steps[18]
    scheduler._step_index = 17
    prediction = torch.randn(latents.shape, generator=torch.Generator().manual_seed(3))
    sigma, after = sigma_at(here), sigma_at(later)
    theirs = scheduler.step(prediction, scheduler.timesteps[17], latents * (1 + sigma**2) ** 0.5).prev_sample
    clean, noise = small_svd.to_x0_eps(prediction, latents, here)
    stepped = small_svd.schedule.mix(clean, noise, small_svd.schedule.level(later))
    torch.testing.assert_close(stepped, theirs / (1 + after**2) ** 0.5, rtol=1e-3, atol=1e-4)


def test_a_prediction_is_that_of_the_stock_network(small_svd, clip, latents):
    given = small_svd.condition(images=clip, size=(16, 24))
    assert given.tensor.shape == (1, 32) and given.first_frame.shape == (4, 8, 12)
    found = small_svd.denoise(latents, 294, given)
    sample = torch.cat([latents, given.first_frame.expand_as(latents)], 1)[None]
    told = torch.tensor(0.25 * np.log(sigma_at(294)))
    stock = small_svd.denoiser(sample, told, given.tensor[None], torch.tensor([CONDITIONS])).sample[0]
    torch.testing.assert_close(found, stock, rtol=0, atol=1e-6)
    assert not torch.allclose(small_svd.denoise(latents, 294), found, atol=1e-4), "without an image it is another"
    assert not torch.allclose(small_svd.denoise(latents.flip(0), 294, given).flip(0), found, atol=1e-4)


def test_images_come_and_go(small_svd, clip):
    latents = small_svd.encode(clip)
    assert latents.shape == (3, 4, 8, 12)
    assert small_svd.decode(latents).shape == clip.shape
    assert small_svd.input_size(32, 48, tokens=96) == (16, 24)
    with pytest.raises(SettingsError, match="no text"):
        small_svd.condition("a dog")
    with pytest.raises(SettingsError, match="outside"):
        sigma_at(SVD_STEPS)


def test_temporal_sites_show_frames_first(small_svd, latents):
    spatial, temporal = small_svd.card.sites["modulate"]
    seen = small_svd.observe(latents, 294, [spatial, temporal])
    assert seen.grid == (4, 6)
    for site in (spatial, temporal):
        assert seen.queries[site.path].shape == seen.keys[site.path].shape == (3, 2, 24, 32)
    kept = {}
    module = small_svd.denoiser.get_submodule(temporal.path).to_q
    handle = module.register_forward_hook(lambda _, __, output: kept.update(q=output))
    small_svd.denoise(latents, 294)
    handle.remove()
    # The attention has a row per token, and its sequence is the frames.
    assert torch.equal(seen.queries[temporal.path][1, 0, 5], kept["q"][5, 1, :32])


@pytest.mark.parametrize("block", ["up_blocks.0.attentions.1", "up_blocks.1.attentions.0"])
def test_the_rest_of_several_clips_equals_whole_forwards(small_svd, clip, latents, block):
    given = small_svd.condition(images=clip, size=(16, 24))
    sites = (*small_svd.card.sites["parse"], *small_svd.card.sites["modulate"])
    trace = small_svd.trace(latents, 294, given, sites=sites, block=block)
    assert torch.equal(trace.prediction, small_svd.denoise(latents, 294, given))
    rows = torch.arange(3).repeat(2)
    torch.testing.assert_close(trace.rest(rows), trace.prediction[rows], rtol=0, atol=2e-6)
    size = trace.output.shape[2] * trace.output.shape[3]
    added = AddMap(block, torch.linspace(-9, 9, 6 * size).view(6, size))
    whole = torch.cat(
        [small_svd.denoise(latents, 294, given, edits=[AddMap(block, part)]) for part in added.map.split(3)]
    )
    torch.testing.assert_close(trace.rest(rows, added, inject=False), whole, rtol=0, atol=2e-6)
    assert (trace.rest(rows, added) - whole).abs().max() > 1e-4, "injection matters"
    torch.testing.assert_close(trace.whole(latents[rows], rows), trace.prediction[rows], rtol=0, atol=2e-6)


def test_a_folder_is_loaded_and_told_from_other_models(small_svd, clip, latents, tmp_path):
    folder = tmp_path / "clips"
    small_svd.denoiser.save_pretrained(folder / "unet")
    small_svd.autoencoder.module.save_pretrained(folder / "vae")
    small_svd._load_image_encoder().save_pretrained(folder / "image_encoder")
    loaded = load(folder, device="cpu", dtype="float32")
    assert isinstance(loaded, VideoUNet) and loaded.fingerprint() == small_svd.fingerprint()
    # The card of the published size does not fit this small one, so that the last attention of the decoder is read.
    assert loaded.card.sites == {"track": (small_svd.card.sites["track"])} and loaded.card.chunk == 14
    given = loaded.condition(images=clip, size=(16, 24))
    torch.testing.assert_close(
        loaded.denoise(latents, 294, given), small_svd.denoise(latents, 294, given), rtol=0, atol=1e-5
    )
    (folder / "image_encoder" / "model.safetensors").unlink()
    with pytest.raises(WeightsUnavailable, match="image_encoder"):
        load(folder)
