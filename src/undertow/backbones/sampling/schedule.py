"""The algebra of noise levels: mixing signal and noise, reading both out of a prediction, and the ways to a level.

Clean latents come to a level by Gaussian noise, or by DDIM inversion (DRIFT; Song et al. 2021, eq. 12).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from undertow.backbones.cards.card import Noising
from undertow.backbones.observation import Latents
from undertow.base import SettingsError

# diffusers' defaults, for configurations that leave a field out.
_DEFAULTS = {
    "num_train_timesteps": 1000,
    "beta_start": 0.0001,
    "beta_end": 0.02,
    "beta_schedule": "linear",
    "prediction_type": "epsilon",
    "trained_betas": None,
    "rescale_betas_zero_snr": False,
    "snr_shift_scale": 1.0,
}
# Those of CogVideoX's schedulers, which differ.
_COGVIDEOX_DEFAULTS = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "snr_shift_scale": 3.0,
}
# Schedulers of rectified flow; others say so by `use_flow_sigmas` or their prediction type.
_FLOW_CLASSES = ("FlowMatchEulerDiscreteScheduler", "FlowMatchHeunDiscreteScheduler", "FlowMatchLCMScheduler")


@dataclass(frozen=True)
class Schedule:
    """The noise schedule a model was trained with.

    A level is named by ᾱ, the share of the signal in the variance: latents at it are √ᾱ·clean + √(1−ᾱ)·noise.

    Attributes:
        signal: Ᾱ per training timestep, falling.
        clean: Ᾱ that encoded images are taken to have; 1, or ᾱ of timestep 0 for Stable Diffusion.
        prediction: What the network returns.
    """

    signal: tuple[float, ...]
    clean: float
    prediction: Literal["epsilon", "v_prediction"]

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "Schedule":
        """Returns the schedule that a diffusers scheduler configuration describes.

        Raises:
            SettingsError: if the configuration asks for something other than fixed betas with epsilon or v.
        """
        shifted = str(config.get("_class_name")).startswith("CogVideoX")
        defaults = _DEFAULTS | (_COGVIDEOX_DEFAULTS if shifted else {})
        facts = {name: config.get(name, default) for name, default in defaults.items()}
        first, last, steps = facts["beta_start"], facts["beta_end"], facts["num_train_timesteps"]
        for name, value in (("beta_start", first), ("beta_end", last), ("snr_shift_scale", facts["snr_shift_scale"])):
            most = 1 if name != "snr_shift_scale" else 100
            if not isinstance(value, int | float) or not 0 < value < most:
                raise SettingsError(f"the scheduler's {name} is {value!r}; give a model with one between 0 and {most}")
        if facts["trained_betas"] is not None:
            raise SettingsError("the scheduler has trained betas; only linear and scaled_linear are read")
        if facts["beta_schedule"] == "scaled_linear":
            betas = torch.linspace(first**0.5, last**0.5, steps, dtype=torch.float64) ** 2
        elif facts["beta_schedule"] == "linear":
            betas = torch.linspace(first, last, steps, dtype=torch.float64)
        else:
            raise SettingsError(
                f"the scheduler's beta_schedule is '{facts['beta_schedule']}'; only linear and scaled_linear are read"
            )
        if facts["prediction_type"] not in ("epsilon", "v_prediction"):
            raise SettingsError(
                f"the scheduler's prediction_type is '{facts['prediction_type']}'; "
                "give a model with epsilon or v_prediction"
            )
        levels = (1 - betas).cumprod(0)
        # The signal-to-noise ratio ᾱ/(1−ᾱ) is divided by the scale (CogVideoX, after Stable Diffusion 3).
        levels = levels / (facts["snr_shift_scale"] + (1 - facts["snr_shift_scale"]) * levels)
        if facts["rescale_betas_zero_snr"]:
            if facts["prediction_type"] == "epsilon":
                raise SettingsError(
                    "the scheduler ends in pure noise, which says nothing of the clean latents to a "
                    "network that predicts noise; give a model with v_prediction"
                )
            levels = _ending_in_noise(levels)
        signal = tuple(levels.tolist())
        # Of the schedulers that Stable Diffusion repositories name, only PNDM starts from ᾱ(0) by default.
        ends_at_one = config.get("set_alpha_to_one", config.get("_class_name") != "PNDMScheduler")
        return cls(signal, 1.0 if ends_at_one else signal[0], facts["prediction_type"])

    def level(self, timestep: int) -> float:
        """Returns ᾱ at `timestep`.

        Raises:
            SettingsError: if the model was not trained at it.
        """
        if not 0 <= timestep < len(self.signal):
            raise SettingsError(f"timestep {timestep} is outside 0 to {len(self.signal) - 1}")
        return self.signal[timestep]

    def mix(self, clean: Float[Tensor, "*any"], noise: Float[Tensor, "*any"], level: float) -> Float[Tensor, "*any"]:
        """Returns √ᾱ·clean + √(1−ᾱ)·noise at ᾱ = `level`."""
        return cast(Tensor, level**0.5 * clean + (1 - level) ** 0.5 * noise)

    def split(
        self, prediction: Float[Tensor, "*any"], latents: Float[Tensor, "*any"], level: float
    ) -> tuple[Float[Tensor, "*any"], Float[Tensor, "*any"]]:
        """Returns the (clean latents, noise) that `prediction` says `latents` at ᾱ = `level` are made of."""
        signal, noise = level**0.5, (1 - level) ** 0.5
        if self.prediction == "epsilon":
            return (latents - noise * prediction) / signal, prediction
        return signal * latents - noise * prediction, signal * prediction + noise * latents


@dataclass(frozen=True)
class FlowSchedule:
    """The straight path from clean latents to noise that flow-matching models were trained on.

    A level is named by s, the share of the noise: latents at it are (1−s)·clean + s·noise. Whatever timestep shift a
    sampler uses only chooses which levels it visits.

    Attributes:
        steps: Number of training timesteps; timestep t is the level s = t / steps.
    """

    steps: int = 1000
    prediction: Literal["flow"] = "flow"
    clean: float = 0.0

    def level(self, timestep: int) -> float:
        """Returns s at `timestep`.

        Raises:
            SettingsError: if the model was not trained at it.
        """
        if not 0 <= timestep <= self.steps:
            raise SettingsError(f"timestep {timestep} is outside 0 to {self.steps}")
        return timestep / self.steps

    def mix(self, clean: Float[Tensor, "*any"], noise: Float[Tensor, "*any"], level: float) -> Float[Tensor, "*any"]:
        """Returns (1−s)·clean + s·noise at s = `level`."""
        return (1 - level) * clean + level * noise

    def split(
        self, prediction: Float[Tensor, "*any"], latents: Float[Tensor, "*any"], level: float
    ) -> tuple[Float[Tensor, "*any"], Float[Tensor, "*any"]]:
        """Returns the (clean latents, noise) that a flow noise − clean says `latents` at s = `level` are made of."""
        return latents - level * prediction, latents + (1 - level) * prediction


NoiseSchedule = Schedule | FlowSchedule


def read_schedule(config: Mapping[str, Any]) -> NoiseSchedule:
    """Returns the schedule, of either sort, that a diffusers scheduler configuration describes.

    Raises:
        SettingsError: if the configuration asks for something unknown.
    """
    flow = config.get("_class_name") in _FLOW_CLASSES or config.get("use_flow_sigmas")
    if flow or config.get("prediction_type") == "flow_prediction":
        return FlowSchedule(int(config.get("num_train_timesteps", 1000)))
    return Schedule.from_config(config)


def _ending_in_noise(signal: Float[Tensor, "steps"]) -> Float[Tensor, "steps"]:
    """Returns ᾱ with its last value at zero and its first as it was (Lin et al. 2023, algorithm 1)."""
    root = signal.sqrt()
    return ((root - root[-1]) * root[0] / (root[0] - root[-1])) ** 2


def add_noise(latents: Latents, schedule: NoiseSchedule, noising: Noising, frame_indices: Sequence[int]) -> Latents:
    """Returns `latents` at `noising.timestep`: √ᾱ·latents + √(1−ᾱ)·noise, or (1−s)·latents + s·noise for flow models.

    The noise of a frame depends on the seed, its index in the video and the size of the latent, not on the device or on
    which frames share a batch. `frame_indices` are the indices of the frames in the video.
    """
    noise = torch.stack([_frame_noise(noising, index, latents.shape[1:]) for index in frame_indices])
    return schedule.mix(latents, noise.to(latents.device), schedule.level(noising.timestep))


def _frame_noise(noising: Noising, index: int, shape: torch.Size) -> Float[Tensor, "c h w"]:
    key = [noising.seed] if noising.shared else [noising.seed, index]
    return torch.from_numpy(np.random.default_rng(key).standard_normal(tuple(shape), dtype=np.float32))


def ddim_inversion(
    latents: Latents, predict: Callable[[Latents, int], Latents], schedule: NoiseSchedule, noising: Noising
) -> Latents:
    """Returns `latents` carried to `noising.timestep` by the deterministic inverse of DDIM sampling.

    Each step reads clean latents and noise out of a prediction at the level the latents have, and mixes them again at
    the next level of `noising.steps_grid`. The first step starts from the level of encoded images, `schedule.clean`,
    which for the network is timestep 0. `predict` takes latents and the timestep that the network is given.
    """
    here, source = schedule.clean, 0
    for timestep in noising.steps_grid:
        prediction = predict(latents, timestep if noising.label == "destination" else source)
        clean, noise = schedule.split(prediction, latents, here)
        here, source = schedule.level(timestep), timestep
        latents = schedule.mix(clean, noise, here)
    return latents
