"""From clean latents to a noise level: by Gaussian noise, or by DDIM inversion (DRIFT; Song et al. 2021, eq. 12)."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from undertow.backbones.cards.card import Noising
from undertow.backbones.sampling.schedule import NoiseSchedule


def add_noise(
    latents: Float[Tensor, "f c h w"], schedule: NoiseSchedule, noising: Noising, frame_indices: Sequence[int]
) -> Float[Tensor, "f c h w"]:
    """Returns `latents` at `noising.timestep`: √ᾱ·latents + √(1−ᾱ)·noise, or (1−s)·latents + s·noise for flow models.

    The noise of a frame depends on the seed, its index in the video and the size of the latent, not on the device or
    on which frames share a batch.

    Args:
        latents: clean latents.
        schedule: of the model.
        noising: timestep, seed, and whether all frames share their noise.
        frame_indices: index in the video of each frame of `latents`.
    """
    noise = torch.stack([_frame_noise(noising, index, latents.shape[1:]) for index in frame_indices])
    return schedule.mix(latents, noise.to(latents.device), schedule.level(noising.timestep))


def _frame_noise(noising: Noising, index: int, shape: torch.Size) -> Float[Tensor, "c h w"]:
    key = [noising.seed] if noising.shared else [noising.seed, index]
    return torch.from_numpy(np.random.default_rng(key).standard_normal(tuple(shape), dtype=np.float32))


def ddim_inversion(
    latents: Float[Tensor, "f c h w"],
    predict: Callable[[Float[Tensor, "f c h w"], int], Float[Tensor, "f c h w"]],
    schedule: NoiseSchedule,
    noising: Noising,
) -> Float[Tensor, "f c h w"]:
    """Returns `latents` carried to `noising.timestep` by the deterministic inverse of DDIM sampling.

    Each step reads clean latents and noise out of a prediction at the level the latents have, and mixes them again at
    the next level of `noising.steps_grid`. The first step starts from the level of encoded images, `schedule.clean`,
    which for the network is timestep 0.

    Args:
        latents: clean latents, float32.
        predict: one call of the denoiser: (latents, timestep it is told) -> prediction, float32.
        schedule: of the model; decides how a prediction is read.
        noising: step grid and labels.
    """
    here, source = schedule.clean, 0
    for timestep in noising.steps_grid:
        prediction = predict(latents, timestep if noising.label == "destination" else source)
        clean, noise = schedule.split(prediction, latents, here)
        here, source = schedule.level(timestep), timestep
        latents = schedule.mix(clean, noise, here)
    return latents
