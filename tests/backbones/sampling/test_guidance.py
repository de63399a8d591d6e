"""Sampling: the formula of guidance, what scale 0 means, and stock schedulers made of a model's own schedule."""

import pytest
import torch
from diffusers import CogVideoXDDIMScheduler, DDIMScheduler

from families import small_backbone
from undertow.backbones import get_card
from undertow.backbones.sampling.guidance import (
    SamplingSettings,
    guided_sites,
    make_sampler,
    sample,
    sampling_timesteps,
)
from undertow.backbones.sampling.schedule import Schedule
from undertow.backbones.sampling.temporal import frames_apart
from undertow.base import SettingsError

SIZE = (48, 64)


def run(backbone, **changes):
    settings = SamplingSettings(**{"steps": 2, "seed": 5, **changes})
    return sample(backbone, "a red disc", frames=3, size=SIZE, settings=settings)


def test_scale_0_is_no_guidance_bit_for_bit(tiny_video_like):
    plain = run(tiny_video_like)
    zero = run(tiny_video_like, guidance="temporal", scale=0.0)
    assert torch.equal(plain.latents, zero.latents) and plain.calls == zero.calls == 4
    guided = run(tiny_video_like, guidance="temporal", scale=0.4)
    assert guided.calls == 6 and (guided.latents - plain.latents).abs().max() > 1e-4
    # The same seed again is the same sample, and another one is not.
    assert torch.equal(run(tiny_video_like, guidance="temporal", scale=0.4).latents, guided.latents)
    assert not torch.equal(run(tiny_video_like, seed=6).latents, plain.latents)


def test_one_step_is_the_formula(tiny_video_like):
    settings = SamplingSettings(steps=1, text_scale=3.0, guidance="temporal", scale=0.7, seed=2)
    made = sample(tiny_video_like, "a red disc", frames=3, size=SIZE, settings=settings, keep=[999])
    noisy = made.noisy[999]
    text, null = tiny_video_like.condition("a red disc"), tiny_video_like.condition("")
    towards, without = (tiny_video_like.denoise(noisy, 999, states) for states in (text, null))
    with frames_apart(tiny_video_like.denoiser, guided_sites(tiny_video_like.card), 3):
        apart = tiny_video_like.denoise(noisy, 999, text)
    guided = without + 3.0 * (towards - without) + 0.7 * (towards - apart)
    clean, _ = tiny_video_like.to_x0_eps(guided, noisy, 999)
    torch.testing.assert_close(made.latents, clean, rtol=1e-4, atol=1e-4)


def test_one_frame_has_nothing_to_lose(tiny_video_like):
    """With a single frame the perturbed branch is the plain one, so that guidance of any strength changes nothing."""
    plain, guided = (
        sample(
            tiny_video_like, "a disc", frames=1, size=SIZE,
            settings=SamplingSettings(steps=2, guidance="temporal", scale=scale),
        )
        for scale in (0.0, 5.0)
    )  # fmt: skip
    torch.testing.assert_close(plain.latents, guided.latents, rtol=1e-4, atol=1e-4)


def test_sites_are_those_asked_for(tiny_video_like):
    one = run(tiny_video_like, guidance="temporal", scale=1.0, sites=("transformer_blocks.0.attn1",))
    other = run(tiny_video_like, guidance="temporal", scale=1.0, sites=("transformer_blocks.2.attn1",))
    assert not torch.equal(one.latents, other.latents)


@pytest.mark.parametrize("kind", ["hunyuan-video", "wan2.1-1.3b"])
def test_flow_models_are_sampled_at_whole_timesteps(kind):
    backbone = small_backbone(kind)
    settings = SamplingSettings(steps=4, guidance="temporal", scale=1.0)
    timesteps = sampling_timesteps(backbone, settings)
    shift = 7 if kind == "hunyuan-video" else 3
    assert timesteps == [round(1000 * shift * s / (1 + (shift - 1) * s)) for s in (1, 0.75, 0.5, 0.25)]
    made = sample(backbone, "a disc", frames=2, size=SIZE, settings=settings, keep=timesteps[:1])
    # HunyuanVideo is distilled: no branch for the empty text.
    assert made.calls == (8 if kind == "hunyuan-video" else 12)
    assert made.latents.isfinite().all()
    images = backbone.decode_clip(made.latents)
    assert images.shape == (5, *SIZE, 3)


def test_euler_steps_follow_the_flow():
    """With a network that always returns noise − clean of one clean latent, Euler's method ends at that latent."""
    backbone = small_backbone("wan2.1-1.3b")
    clean = torch.randn(2, 4, 6, 8, generator=torch.Generator().manual_seed(1))
    backbone.denoise = lambda latents, timestep, conditioning: (latents - clean) / (timestep / 1000)
    made = sample(backbone, "", frames=2, size=SIZE, settings=SamplingSettings(steps=5))
    torch.testing.assert_close(made.latents, clean, rtol=1e-4, atol=1e-4)


def test_ddim_is_that_of_the_published_configuration(tiny_like):
    config = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012, "prediction_type": "epsilon"}

    class Like:
        schedule = Schedule.from_config({**config, "set_alpha_to_one": False})

    stock = DDIMScheduler(**config, set_alpha_to_one=False, clip_sample=False, timestep_spacing="trailing")
    stock.set_timesteps(7)
    mine = make_sampler(Like, SamplingSettings(steps=7))
    assert mine.timesteps.tolist() == stock.timesteps.tolist()
    torch.testing.assert_close(mine.alphas_cumprod, stock.alphas_cumprod, rtol=1e-4, atol=1e-6)
    assert float(mine.final_alpha_cumprod) == pytest.approx(float(stock.final_alpha_cumprod), rel=1e-4)


def test_cogvideox_is_sampled_as_its_own_scheduler_does():
    backbone = small_backbone("cogvideox-5b")
    stock = CogVideoXDDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", prediction_type="v_prediction",
        rescale_betas_zero_snr=True, snr_shift_scale=1.0, timestep_spacing="trailing", clip_sample=False,
    )  # fmt: skip
    stock.set_timesteps(4)
    mine = make_sampler(backbone, SamplingSettings(steps=4))
    assert mine.timesteps.tolist() == stock.timesteps.tolist()
    latents = torch.randn(2, 4, 6, 8, generator=torch.Generator().manual_seed(1))
    theirs = latents
    for moment in stock.timesteps:
        prediction = torch.sin(3 * latents)
        latents = mine.step(prediction, moment, latents, return_dict=False)[0]
        theirs = stock.step(prediction, moment, theirs, return_dict=False)[0]
    torch.testing.assert_close(latents, theirs, rtol=1e-3, atol=1e-3)


def test_image_models_make_pictures(tiny_like):
    made = sample(tiny_like, "a red disc", frames=1, size=SIZE, settings=SamplingSettings(steps=1))
    assert tiny_like.decode_clip(made.latents).shape == (1, *SIZE, 3)
    with pytest.raises(SettingsError, match=r"single pictures, not 2 frames.*give"):
        sample(tiny_like, "", frames=2, size=SIZE)
    with pytest.raises(SettingsError, match=r"no other frames; leave --guidance out"):
        sample(tiny_like, "", frames=1, size=SIZE, settings=SamplingSettings(guidance="temporal", scale=1.0))


def test_image_to_video_models_need_a_picture(tiny_video_like):
    backbone = small_backbone("cogvideox-5b-i2v")
    size = backbone.fixed_size
    with pytest.raises(SettingsError, match="give --image"):
        sample(backbone, "", frames=2, size=size)
    first = torch.randn(4, size[0] // backbone.stride, size[1] // backbone.stride)
    settings = SamplingSettings(steps=2, text_scale=1.0)
    one = sample(backbone, "", frames=2, size=size, settings=settings, first=first)
    other = sample(backbone, "", frames=2, size=size, settings=settings, first=-first)
    assert not torch.equal(one.latents, other.latents)
    with pytest.raises(SettingsError, match="leave --image out"):
        sample(tiny_video_like, "", frames=2, size=SIZE, first=torch.zeros(4, 12, 16))


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"steps": 0}, "--steps is 0"),
        ({"steps": 1001}, "--steps is 1001"),
        ({"scale": float("nan"), "guidance": "temporal"}, "--scale is nan"),
        ({"scale": -1.0, "guidance": "temporal"}, "--scale is -1"),
        ({"scale": 1.0}, "without --guidance temporal"),
        ({"text_scale": 101.0}, "--text-scale is 101"),
        ({"shift": 0.0}, "--shift is 0"),
        ({"guidance": "spatial"}, "'spatial' is not one of"),
        ({"seed": -1}, "--seed is -1"),
    ],
)
def test_settings_out_of_range(settings, says):
    with pytest.raises(SettingsError, match=says):
        SamplingSettings(**settings)


def test_sizes_and_lengths_that_do_not_suit(tiny_video_like):
    with pytest.raises(SettingsError, match="66x48"):
        sample(tiny_video_like, "", frames=2, size=(48, 66))
    with pytest.raises(SettingsError, match="--frames is 0"):
        sample(tiny_video_like, "", frames=0, size=SIZE)
    with pytest.raises(SettingsError, match=r"at most 13 latent frames, not 14"):
        sample(tiny_video_like, "", frames=14, size=SIZE)


def test_cards_say_what_is_guided():
    card = get_card("cogvideox-2b")
    assert guided_sites(card) == ("transformer_blocks.17.attn1",)
