"""The schedules of video models, held against diffusers' own schedulers."""

import pytest
import torch
from diffusers import CogVideoXDDIMScheduler, DDIMScheduler, FlowMatchEulerDiscreteScheduler, UniPCMultistepScheduler

from families import small_backbone
from undertow.backbones import FlowSchedule, Noising, Schedule, get_card
from undertow.backbones.published import ARCHITECTURES
from undertow.backbones.reading.noising import add_noise, ddim_inversion
from undertow.backbones.sampling.schedule import read_schedule
from undertow.base import SettingsError


def pair():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, 4, 6, 6, generator=generator), torch.randn(2, 4, 6, 6, generator=generator)


@pytest.mark.parametrize("name", ["cogvideox-2b", "cogvideox-5b"])
def test_cogvideox_levels(name):
    config = dict(ARCHITECTURES[name].scheduler)
    schedule = read_schedule(config)
    scheduler = CogVideoXDDIMScheduler.from_config(config)
    # diffusers works in float64 here, as we do.
    torch.testing.assert_close(torch.tensor(schedule.signal, dtype=torch.float64), scheduler.alphas_cumprod)
    assert schedule.signal[-1] == 0 and schedule.clean == 1 and schedule.prediction == "v_prediction"
    # The last of 50 steps is the timestep of the cards.
    scheduler.set_timesteps(50)
    assert scheduler.timesteps[-1] == 19 == get_card(name).noising.timestep


def test_cogvideox_defaults_are_its_schedulers():
    schedule = read_schedule({"_class_name": "CogVideoXDDIMScheduler", "prediction_type": "v_prediction"})
    expected = CogVideoXDDIMScheduler(prediction_type="v_prediction").alphas_cumprod
    torch.testing.assert_close(torch.tensor(schedule.signal, dtype=torch.float64), expected)


def test_other_schedulers_that_end_in_noise():
    config = {"beta_schedule": "scaled_linear", "rescale_betas_zero_snr": True, "prediction_type": "v_prediction"}
    expected = DDIMScheduler(**config).alphas_cumprod
    torch.testing.assert_close(torch.tensor(Schedule.from_config(config).signal), expected, rtol=1e-3, atol=1e-5)


def test_a_velocity_is_read_back_even_from_pure_noise():
    config = dict(ARCHITECTURES["cogvideox-2b"].scheduler)
    schedule, scheduler, (clean, noise) = read_schedule(config), CogVideoXDDIMScheduler.from_config(config), pair()
    for timestep in (19, 500, 999):
        at = torch.tensor([timestep] * 2)
        noisy = scheduler.add_noise(clean, noise, at)
        torch.testing.assert_close(schedule.mix(clean, noise, schedule.level(timestep)), noisy, rtol=1e-4, atol=1e-5)
        velocity = scheduler.get_velocity(clean, noise, at)
        found_clean, found_noise = schedule.split(velocity, noisy, schedule.level(timestep))
        torch.testing.assert_close(found_clean, clean, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(found_noise, noise, rtol=1e-4, atol=1e-5)


def test_cogvideox_inversion_is_the_reverse_of_its_sampler():
    """With a network whose prediction does not depend on its input, sampling undoes inversion exactly."""
    config = dict(ARCHITECTURES["cogvideox-5b"].scheduler)
    scheduler, (latents, velocity) = CogVideoXDDIMScheduler.from_config(config), pair()
    scheduler.set_timesteps(50)
    noising = Noising("invert", 99, (19, 39, 59, 79, 99))
    inverted = ddim_inversion(latents, lambda x, t: 0.1 * velocity, read_schedule(config), noising)
    schedule, expected = read_schedule(config), latents
    for here, there in zip((None, 19, 39, 59, 79), (19, 39, 59, 79, 99), strict=True):
        level = schedule.clean if here is None else schedule.level(here)
        clean, noise = schedule.split(0.1 * velocity, expected, level)
        expected = schedule.mix(clean, noise, schedule.level(there))
    torch.testing.assert_close(inverted, expected)
    # One step of diffusers' sampler from the last level is the same algebra.
    stepped = scheduler.step(0.1 * velocity, 99, inverted).prev_sample
    clean, noise = schedule.split(0.1 * velocity, inverted, schedule.level(99))
    torch.testing.assert_close(schedule.mix(clean, noise, schedule.level(79)), stepped, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["hunyuan-video", "wan2.1-1.3b"])
def test_flow_levels(name):
    schedule = read_schedule(ARCHITECTURES[name].scheduler)
    assert schedule == FlowSchedule(1000) and schedule.prediction == "flow"
    scheduler, (clean, noise) = FlowMatchEulerDiscreteScheduler(shift=7.0), pair()
    scheduler.set_timesteps(sigmas=[1 - i / 30 for i in range(30)])
    # Timesteps that a sampler visits are fractions here; levels and what is told to the network stay s and 1000 s.
    assert round(float(scheduler.timesteps[-1])) == 194 == get_card("hunyuan-video").noising.timestep
    for index in (0, 10, 29):
        at = scheduler.timesteps[index : index + 1]
        level = float(at) / 1000
        noisy = scheduler.scale_noise(clean, at, noise)
        torch.testing.assert_close(schedule.mix(clean, noise, level), noisy, rtol=1e-5, atol=1e-5)
        found_clean, found_noise = schedule.split(noise - clean, noisy, level)
        torch.testing.assert_close(found_clean, clean, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(found_noise, noise, rtol=1e-4, atol=1e-5)
    with pytest.raises(SettingsError, match="timestep 1001 is outside 0 to 1000"):
        schedule.level(1001)


def test_a_flow_step_is_eulers():
    scheduler, (clean, noise) = FlowMatchEulerDiscreteScheduler(shift=3.0), pair()
    scheduler.set_timesteps(sigmas=[1 - i / 10 for i in range(10)])
    schedule, flow = FlowSchedule(), noise - clean + 0.1
    here, there = (float(each) for each in scheduler.sigmas[:2])
    stepped = scheduler.step(flow, scheduler.timesteps[0], noise).prev_sample
    found_clean, found_noise = schedule.split(flow, noise, here)
    torch.testing.assert_close(schedule.mix(found_clean, found_noise, there), stepped, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["wan2.1-1.3b", "wan2.1-14b"])
def test_wan_visits_the_timestep_of_its_card_last(name):
    facts = {"prediction_type": "flow_prediction", "use_flow_sigmas": True, "flow_shift": 3.0}
    scheduler = UniPCMultistepScheduler(num_train_timesteps=1000, **facts)
    scheduler.set_timesteps(50)
    assert scheduler.timesteps[-1] == get_card(name).noising.timestep
    assert isinstance(read_schedule(dict(scheduler.config)), FlowSchedule)


def test_noise_of_a_flow_model_is_a_function_of_the_frame():
    backbone, (clean, _) = small_backbone("wan2.1-1.3b"), pair()
    noising = Noising("noise", 250, (250,), seed=3)
    found = backbone.noise(clean, noising, [4, 9])
    assert torch.equal(found[1:], add_noise(clean[1:], FlowSchedule(), noising, [9]))
    noise = (found - 0.75 * clean) / 0.25
    assert abs(noise.mean()) < 0.2 and abs(noise.std() - 1) < 0.1
