"""Trains the latent UNet and its text encoder to denoise. No loss here ever reads masks, tracks, flow or classes."""

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from diffusers import UNet2DConditionModel
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import CLIPTextModel

from undertow.training.latents import Crops, LatentStore
from undertow.training.learner import Learner
from undertow.training.matchers import project_matchers


@dataclass(frozen=True)
class Grid:
    """One size of latent crops: used for this `share` of the steps, in the order listed."""

    height: int
    width: int
    batch: int
    share: float


@dataclass(frozen=True)
class DenoiserSettings:
    """How the UNet is trained.

    Args:
        steps: Number of steps in all.
        grids: Sizes of latent crops; most steps are cheap and small, the last ones large and not square.
        rate: Peak learning rate.
        empty: Share of empty captions, so that the null text is trained.
        middle: Share of timesteps drawn from a normal law around 350 (deviation 150), where matching earns most.
        low: Share of timesteps below 120; what is left is uniform.
        diptychs: Share of examples that are two views of one scene beside each other, each half a crop large.
        jitter: How far, in latent cells, the second view of a diptych may be shifted against the first.
        matched: Whether self-attentions stay similarity searches, see `undertow.training.matchers`.
        snr_cap: Cap of min-SNR weighting (Hang et al., 2023).
        seed: Seed of all draws.
    """

    steps: int = 4000
    grids: tuple[Grid, ...] = (Grid(16, 32, 32, 0.6), Grid(24, 40, 18, 0.25), Grid(40, 28, 16, 0.15))
    rate: float = 8e-4
    empty: float = 0.12
    middle: float = 0.6
    low: float = 0.15
    diptychs: float = 0.7
    jitter: int = 6
    matched: bool = True
    snr_cap: float = 5.0
    seed: int = 0

    def grid(self, step: int) -> Grid:
        """Returns the crop size of `step`."""
        done = 0.0
        for grid in self.grids:
            done += grid.share
            if step < done * self.steps:
                return grid
        return self.grids[-1]

    def crops(self, step: int) -> Crops:
        """Returns how the batch of `step` is cut."""
        grid = self.grid(step)
        return Crops(grid.height, grid.width, grid.batch, self.diptychs, self.jitter, self.empty)


def draw_timesteps(settings: DenoiserSettings, count: int, step: int) -> Int[Tensor, "count"]:
    """Returns the timesteps of one batch under the law in `settings`."""
    random = np.random.default_rng((settings.seed, step, 2))
    kind = random.random(count)
    timesteps = np.where(
        kind < settings.middle,
        random.normal(350, 150, count),
        np.where(kind < settings.middle + settings.low, random.uniform(0, 120, count), random.uniform(0, 1000, count)),
    )
    return torch.from_numpy(np.clip(timesteps, 0, 999).astype(np.int64))


def train_denoiser(
    unet: UNet2DConditionModel,
    text_encoder: CLIPTextModel,
    alphas_cumprod: Float[Tensor, "1000"],
    learner: Learner,
    store: LatentStore,
    settings: DenoiserSettings,
) -> Iterator[dict[str, float]]:
    """Trains until `settings.steps` with v-prediction, yielding the loss of every step; stop iterating to pause."""
    device = next(unet.parameters()).device
    alphas_cumprod = alphas_cumprod.to(device)
    while learner.step < settings.steps:
        batch = store.batch(settings.crops(learner.step), (settings.seed, learner.step, 1))
        latents, tokens = (part.to(device) for part in batch)
        timesteps = draw_timesteps(settings, len(latents), learner.step).to(device)
        generator = torch.Generator().manual_seed(settings.seed * 1_000_003 + learner.step)
        noise = torch.randn(latents.shape, generator=generator).to(device)
        alpha = alphas_cumprod[timesteps].view(-1, 1, 1, 1)
        noisy = alpha.sqrt() * latents + (1 - alpha).sqrt() * noise
        velocity = alpha.sqrt() * noise - (1 - alpha).sqrt() * latents
        # On a CPU the fused attention's backward pass is slow at these small grids: the plain one is 10 % faster.
        plain = sdpa_kernel(SDPBackend.MATH) if device.type == "cpu" else nullcontext()
        with plain, torch.autocast(device.type, torch.bfloat16):
            states = text_encoder(tokens).last_hidden_state
            predicted = unet(noisy, timesteps, encoder_hidden_states=states).sample
        error = (predicted.float() - velocity).square().mean(dim=(1, 2, 3))
        # For v-prediction the weight min(SNR, cap) of the clean latent's error becomes min(SNR, cap) / (SNR + 1).
        snr = (alpha / (1 - alpha)).flatten()
        weights = snr.clamp(max=settings.snr_cap) / (snr + 1)
        loss = (weights * error).sum() / weights.sum()
        norm = learner.update(loss, settings.steps)
        if settings.matched:
            project_matchers(unet)
        yield {"loss": float(loss.detach()), "gradient": norm}
