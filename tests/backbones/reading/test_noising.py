"""Noise levels: algebra, Gaussian noise, and inversion held against diffusers' own scheduler."""

from dataclasses import replace

import pytest
import torch
from diffusers import DDIMInverseScheduler, DDIMScheduler

from undertow.backbones import Noising, Schedule, inversion_steps
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
