"""Noise levels: algebra, Gaussian noise, and inversion held against diffusers' own scheduler."""

from dataclasses import replace

import pytest
import torch
from diffusers import (
    CogVideoXDDIMScheduler,
    DDIMInverseScheduler,
    DDIMScheduler,
    FlowMatchEulerDiscreteScheduler,
    UniPCMultistepScheduler,
)

from families import small_backbone
from undertow.backbones import FlowSchedule, Noising, Schedule, get_card, inversion_steps
from undertow.backbones.published import ARCHITECTURES
from undertow.backbones.sampling.schedule import add_noise, ddim_inversion, read_schedule
from undertow.base import SettingsError

SCHEDULER = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "num_train_timesteps": 1000,
    "steps_offset": 1,
    "set_alpha_to_one": False,
    "clip_sample": False,
}


@pytest.fixture(params=["v_prediction", "epsilon"])
def backbone(request, model, epsilon_model):
    return model if request.param == "v_prediction" else epsilon_model


def test_signal_levels_are_those_of_the_paper():
    schedule = Schedule.from_config(SCHEDULER)
    found = [round(schedule.level(timestep), 4) for timestep in (1, 21, 41)]
    assert found == [0.9983, 0.9804, 0.9609]
    assert round(schedule.clean, 5) == 0.99915
    reference = DDIMScheduler(**SCHEDULER).alphas_cumprod
    torch.testing.assert_close(torch.tensor(schedule.signal), reference, rtol=1e-4, atol=1e-6)


def test_clean_level_follows_the_scheduler_class():
    facts = {name: value for name, value in SCHEDULER.items() if name != "set_alpha_to_one"}
    assert Schedule.from_config({**facts, "_class_name": "DDIMScheduler"}).clean == 1
    assert Schedule.from_config({**facts, "_class_name": "PNDMScheduler"}).clean < 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prediction_type": "sample"}, "prediction_type is 'sample'"),
        ({"beta_schedule": "squaredcos_cap_v2"}, "beta_schedule is 'squaredcos_cap_v2'"),
        ({"rescale_betas_zero_snr": True}, "ends in pure noise"),
        ({"trained_betas": [0.1, 0.2]}, "trained betas"),
    ],
)
def test_unknown_schedules_are_refused(change, message):
    with pytest.raises(SettingsError, match=message):
        Schedule.from_config({**SCHEDULER, **change})


def test_timesteps_outside_training_are_refused(model, latents):
    with pytest.raises(SettingsError, match="timestep 1000 is outside 0 to 999"):
        model.noise(latents, Noising("noise", 1000), [0, 1, 2])


def test_predictions_are_read_back_exactly(backbone):
    generator = torch.Generator().manual_seed(0)
    clean, noise = torch.randn(2, 4, 8, 8, generator=generator), torch.randn(2, 4, 8, 8, generator=generator)
    scheduler = DDIMScheduler(**SCHEDULER)
    at = torch.tensor([261, 261])
    noisy = scheduler.add_noise(clean, noise, at)
    perfect = noise if backbone.card.prediction == "epsilon" else scheduler.get_velocity(clean, noise, at)
    found_clean, found_noise = backbone.to_x0_eps(perfect, noisy, 261)
    torch.testing.assert_close(found_clean, clean, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found_noise, noise, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("timestep", [41, 81])
def test_inversion_agrees_with_diffusers(backbone, latents, timestep):
    scheduler = DDIMInverseScheduler(**SCHEDULER, prediction_type=backbone.card.prediction)
    scheduler.set_timesteps(50)
    expected = latents
    states = backbone.condition("").tensor.expand(len(latents), -1, -1)
    for step in scheduler.timesteps:
        if step > timestep:
            break
        with torch.no_grad():
            prediction = backbone.denoiser(expected, step, states).sample
        expected = scheduler.step(prediction, int(step), expected).prev_sample
    found = backbone.invert(latents, Noising("invert", timestep, inversion_steps(timestep)))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(found, latents, atol=1e-2)


def test_inversion_then_sampling_comes_back(backbone, latents):
    """Labelled with the level they come from, many small steps up are undone by DDIM steps down."""
    grid = tuple(range(1, 42, 2))
    up = backbone.invert(latents, Noising("invert", 41, grid, label="source"))
    schedule, here = backbone.schedule, grid[-1]
    for there in (*reversed(grid[:-1]), 0):
        clean, noise = backbone.to_x0_eps(backbone.denoise(up, here), up, here)
        up, here = schedule.mix(clean, noise, schedule.level(there)), there
    moved = (backbone.invert(latents, Noising("invert", 41, grid, label="source")) - latents).norm()
    assert (up - latents).norm() < 0.05 * moved


def test_source_and_destination_labels_tell_the_network_different_timesteps(backbone, latents):
    told = []
    handle = backbone.denoiser.register_forward_pre_hook(lambda _, args: told.append(int(args[1])))
    try:
        ends = [backbone.invert(latents, Noising(label=label)) for label in ("destination", "source")]
    finally:
        handle.remove()
    assert told == [1, 21, 41, 0, 1, 21]
    assert not torch.allclose(*ends, atol=1e-6)


def test_inversion_takes_a_conditioning(model, latents):
    assert not torch.allclose(
        model.invert(latents, Noising(), model.condition("a dog")), model.invert(latents, Noising())
    )


def test_noise_does_not_depend_on_the_batch(model, latents):
    noising = Noising("noise", 41, seed=5)
    together = model.noise(latents, noising, [7, 8, 9])
    for frame in range(3):
        alone = model.noise(latents[frame : frame + 1], noising, [7 + frame])
        assert torch.equal(alone[0], together[frame])


def test_noise_has_the_scheduled_variance_and_depends_on_frame_and_seed(model):
    clean, settings = torch.zeros(2, 4, 64, 64), Noising("noise", 261)
    found = model.noise(clean, settings, [0, 1])
    assert found.var().item() == pytest.approx(1 - model.schedule.level(261), rel=0.03)
    assert abs(torch.corrcoef(found.flatten(1))[0, 1]) < 0.05
    other = model.noise(clean, replace(settings, seed=1), [0, 1])
    assert abs(torch.corrcoef(torch.stack([found[0].flatten(), other[0].flatten()]))[0, 1]) < 0.05


def test_shared_noise_is_the_same_for_every_frame(model):
    found = model.noise(torch.zeros(2, 4, 8, 8), Noising("noise", 261, shared=True), [3, 11])
    assert torch.equal(found[0], found[1])


def test_prepare_dispatches(model, latents):
    invert, noise, clean = Noising(), Noising("noise"), Noising("clean")
    assert torch.equal(model.prepare(latents, invert, [0, 1, 2]), model.invert(latents, invert))
    assert torch.equal(model.prepare(latents, noise, [0, 1, 2]), model.noise(latents, noise, [0, 1, 2]))
    assert torch.equal(model.prepare(latents, clean, [0, 1, 2]), latents)


def test_inversion_steps():
    assert inversion_steps(41) == (1, 21, 41)
    assert inversion_steps(50) == (1, 21, 41, 50)
    assert inversion_steps(1) == (1,)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"timestep": 81}, r"inversion steps \(1, 21, 41\) must rise and end at timestep 81"),
        ({"steps_grid": (21, 1, 41)}, "must rise"),
        ({"steps_grid": ()}, "must rise"),
        ({"kind": "blur"}, "noising 'blur'"),
        ({"label": "both"}, "label 'both'"),
        ({"kind": "noise", "timestep": -1}, "must not be negative"),
    ],
)
def test_contradictory_noising_is_refused(settings, message):
    with pytest.raises(SettingsError, match=message):
        Noising(**settings)


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
