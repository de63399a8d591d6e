"""Trains the denoisers of `tiny` and `tiny-video` and their text encoders; no loss ever reads masks, tracks or classes.

In half of the clips of `tiny-video` the first frame is left clean, and some others with it. What the noisy frames show
can then be copied from the clean ones by whoever finds the same place in them: matching is learnt because it pays.
"""

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from diffusers import CogVideoXTransformer3DModel, UNet2DConditionModel
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import CLIPTextModel

from undertow.training.architecture import project_matchers
from undertow.training.latents import ClipStore, Crops, Cut, LatentStore
from undertow.training.learner import Learner, stage_at
from undertow.training.video_architecture import rotary


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
        matched: Whether self-attentions stay similarity searches, see `undertow.training.architecture`.
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
    centre: ClassVar[float] = 350

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


def draw_timesteps(settings: "DenoiserSettings | VideoDenoiserSettings", count: int, step: int) -> Int[Tensor, "count"]:
    """Returns the timesteps of one batch under the law in `settings`."""
    random = np.random.default_rng((settings.seed, step, 2))
    kind = random.random(count)
    timesteps = np.where(
        kind < settings.middle,
        random.normal(settings.centre, 150, count),
        np.where(kind < settings.middle + settings.low, random.uniform(0, 120, count), random.uniform(0, 1000, count)),
    )
    return torch.from_numpy(np.clip(timesteps, 0, 999).astype(np.int64))


def snr_weights(alpha: Float[Tensor, "n *ones"], cap: float) -> Float[Tensor, "n"]:
    """Returns the weights of squared errors of v by which those of clean latents weigh min(SNR, cap)."""
    snr = (alpha / (1 - alpha)).flatten()
    return snr.clamp(max=cap) / (snr + 1)


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
        weights = snr_weights(alpha, settings.snr_cap)
        loss = (weights * error).sum() / weights.sum()
        norm = learner.update(loss, settings.steps)
        if settings.matched:
            project_matchers(unet)
        yield {"loss": float(loss.detach()), "gradient": norm}


@dataclass(frozen=True)
class Stage:
    """Number of frames and size of windows, in latent cells, of the next `steps` steps."""

    frames: int
    height: int
    width: int
    batch: int
    steps: int


@dataclass(frozen=True)
class VideoDenoiserSettings:
    """How the transformer is trained.

    Args:
        stages: Pictures first, then short clips, longer and larger ones at the end.
        rate: Peak learning rate.
        empty: Share of empty captions, so that the null text is trained.
        middle: Share of timesteps drawn from a normal law around 400 (deviation 150), where matching earns most.
        low: Share of timesteps below 120; what is left is uniform.
        clean: Share of clips of which the first frame is clean.
        also_clean: Chance of each other frame of these to be clean as well.
        spread: Largest factor by which rotary coordinates are stretched, in half of the steps; windows are smaller
            than the pictures of use, and tokens far apart must have been compared too.
        snr_cap: Cap of min-SNR weighting (Hang et al., 2023).
        seed: Seed of all draws.
    """

    stages: tuple[Stage, ...] = (
        Stage(1, 16, 24, 24, 100),
        Stage(4, 16, 16, 10, 1900),
        Stage(4, 24, 24, 5, 1150),
        Stage(8, 24, 32, 2, 250),
    )
    rate: float = 1e-3
    empty: float = 0.12
    middle: float = 0.5
    low: float = 0.2
    clean: float = 0.5
    also_clean: float = 0.2
    spread: float = 3.0
    snr_cap: float = 5.0
    seed: int = 0
    centre: ClassVar[float] = 400

    @property
    def steps(self) -> int:
        """Number of steps in all."""
        return sum(stage.steps for stage in self.stages)

    def stage(self, step: int) -> Stage:
        """Returns the stage that `step` is in."""
        return stage_at(self.stages, step)

    def cut(self, step: int) -> Cut:
        """Returns how the batch of `step` is cut."""
        stage = self.stage(step)
        return Cut(stage.frames, stage.height, stage.width, stage.batch, empty=self.empty)


def draw_clean(settings: VideoDenoiserSettings, count: int, frames: int, step: int) -> Bool[Tensor, "n t"]:
    """Returns which frames stay clean; at least one frame of every clip does not."""
    random = np.random.default_rng((settings.seed, step, 3))
    clean = random.random((count, frames)) < settings.also_clean
    clean[:, 0] = True
    clean &= (random.random(count) < settings.clean)[:, None]
    clean[clean.all(axis=1), -1] = False
    return torch.from_numpy(clean)


def draw_rotary(
    settings: VideoDenoiserSettings, size: tuple[int, int, int], head_dim: int, step: int
) -> tuple[Float[Tensor, "s d"], Float[Tensor, "s d"]]:
    """Returns the rotary embedding of one batch of (frames, rows, columns) tokens: anywhere, sometimes stretched."""
    random = np.random.default_rng((settings.seed, step, 4))
    stretch = np.exp(random.uniform(0, np.log(settings.spread), 2)) if random.random() < 0.5 else np.ones(2)
    begin = random.uniform(0, (6, 40, 40))
    axes = [
        torch.arange(count, dtype=torch.float32) * float(factor) + float(first)
        for count, factor, first in zip(size, (stretch[0], stretch[1], stretch[1]), begin, strict=True)
    ]
    return rotary(axes[0], axes[1], axes[2], head_dim)


def train_video_denoiser(
    transformer: CogVideoXTransformer3DModel,
    text_encoder: CLIPTextModel,
    alphas_cumprod: Float[Tensor, "1000"],
    learner: Learner,
    store: ClipStore,
    settings: VideoDenoiserSettings,
) -> Iterator[dict[str, float]]:
    """Trains until `settings.steps` with v-prediction, yielding the loss of every step; stop iterating to pause."""
    device = next(transformer.parameters()).device
    alphas_cumprod = alphas_cumprod.to(device, torch.float32)
    patch, head_dim = transformer.config.patch_size, transformer.config.attention_head_dim
    while learner.step < settings.steps:
        step = learner.step
        latents, tokens = (part.to(device) for part in store.batch(settings.cut(step), (settings.seed, step, 1)))
        count, frames, _, height, width = latents.shape
        timesteps = draw_timesteps(settings, count, step).to(device)
        clean = draw_clean(settings, count, frames, step).to(device)
        waves = draw_rotary(settings, (frames, height // patch, width // patch), head_dim, step)
        generator = torch.Generator().manual_seed(settings.seed * 1_000_003 + step)
        noise = torch.randn(latents.shape, generator=generator).to(device)
        alpha = alphas_cumprod[timesteps].view(-1, 1, 1, 1, 1)
        noisy = torch.where(clean[:, :, None, None, None], latents, alpha.sqrt() * latents + (1 - alpha).sqrt() * noise)
        velocity = alpha.sqrt() * noise - (1 - alpha).sqrt() * latents
        with torch.autocast(device.type, torch.bfloat16):
            states = text_encoder(tokens).last_hidden_state
            predicted = transformer(
                noisy, states, timesteps, image_rotary_emb=tuple(wave.to(device) for wave in waves)
            ).sample
        error = (predicted.float() - velocity).square().mean(dim=(2, 3, 4))
        weights = snr_weights(alpha, settings.snr_cap)[:, None] * ~clean
        loss = (weights * error).sum() / weights.sum()
        norm = learner.update(loss, settings.steps)
        yield {"loss": float(loss.detach()), "gradient": norm}
