"""Sampling clips and pictures, guided by the text and, for video transformers, away from frames that ignore each other.

Cross-attention guidance (DiffTrack, arXiv 2506.17220) is perturbed-attention guidance whose perturbation is temporal:
a third branch sees every frame by itself (`undertow.backbones.sampling.temporal`), and the sample is pushed away from
it,

    ε = ε_uncond + g (ε_text − ε_uncond) + s (ε_text − ε_perturbed).

The formula is linear, so that it holds for any prediction of the network: noise, velocity or flow. The steps themselves
are those of diffusers' stock schedulers.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from diffusers import DDIMScheduler, FlowMatchEulerDiscreteScheduler
from jaxtyping import Float
from torch import Tensor

from undertow.backbones.adapters.base import Backbone
from undertow.backbones.cards.card import Card
from undertow.backbones.observation import Latents
from undertow.backbones.sampling.schedule import FlowSchedule
from undertow.backbones.sampling.temporal import frames_apart
from undertow.base import Progress, SettingsError, SilentProgress

MOST_STEPS, MOST_SCALE, MOST_FRAMES = 1000, 100.0, 10_000
# Text scale and timestep shift of the published pipelines, by class of the network. HunyuanVideo and FLUX were
# distilled to need no second branch. The shift of LTX-Video grows with the clip; this is that of a small one.
_USUAL = {
    "HunyuanVideoTransformer3DModel": (1.0, 7.0),
    "MochiTransformer3DModel": (4.5, 1.0),
    "WanTransformer3DModel": (6.0, 3.0),
    "LTXVideoTransformer3DModel": (3.0, 2.6),
    "CosmosTransformer3DModel": (7.0, 1.0),
    "FluxTransformer2DModel": (1.0, 3.0),
    "Flux2Transformer2DModel": (1.0, 3.0),
    "SD3Transformer2DModel": (7.0, 3.0),
}


@dataclass(frozen=True)
class SamplingSettings:
    """How a clip is sampled.

    Attributes:
        steps: Calls of the sampler; each asks the network once per branch.
        text_scale: G, how far to go from the empty text towards the prompt; 1 asks the network for the prompt alone.
            By default 6, or 1 for networks that were distilled to need no second branch (HunyuanVideo).
        guidance: Whether there is a perturbed branch.
        scale: S, how far to go away from it; 0 leaves the branch out.
        sites: Module paths of the attentions that are perturbed; by default the card's for "guidance", or else for
            "points", or else for "track".
        shift: Of models of flow: towards noise if above 1, as larger pictures need; by default that of the published
            pipeline. Other models have none.
        seed: Of the noise that is started from.

    Raises:
        SettingsError: if a number is out of range.
    """

    steps: int = 50
    text_scale: float | None = None
    guidance: Literal["none", "temporal"] = "none"
    scale: float = 0.0
    sites: tuple[str, ...] = ()
    shift: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.steps <= MOST_STEPS:
            raise SettingsError(f"--steps is {self.steps}; give 1 to {MOST_STEPS}")
        for name, value in (("--text-scale", self.text_scale), ("--scale", self.scale)):
            # So written that NaN is refused too.
            if value is not None and not 0 <= value <= MOST_SCALE:
                raise SettingsError(f"{name} is {value:g}; give 0 to {MOST_SCALE:g}")
        if self.shift is not None and not 0 < self.shift <= MOST_SCALE:
            raise SettingsError(f"--shift is {self.shift:g}; give more than 0, up to {MOST_SCALE:g}")
        if self.guidance not in ("none", "temporal"):
            raise SettingsError(f"guidance '{self.guidance}' is not one of none, temporal")
        if self.scale and self.guidance == "none":
            raise SettingsError(f"--scale is {self.scale:g} without --guidance temporal; add it, or leave --scale out")
        if not 0 <= self.seed < 2**63:
            raise SettingsError(f"--seed is {self.seed}; give 0 or more, below 2^63")

    @property
    def perturbed(self) -> bool:
        """Whether there is a third branch to compute."""
        return self.guidance == "temporal" and self.scale != 0


@dataclass(frozen=True, eq=False)
class Sampled:
    """What sampling gave.

    Attributes:
        latents: Clean latents, for `backbone.decode_clip`: published video models make several frames of each latent
            after the first.
        noisy: Latents as they were when the network was asked at a timestep, for the timesteps that were to be kept.
        calls: Forwards of the network.
        text_scale: The text guidance there was.
    """

    latents: Latents
    noisy: Mapping[int, Latents]
    calls: int
    text_scale: float


def sample(
    backbone: Backbone,
    prompt: str,
    *,
    frames: int,
    size: tuple[int, int],
    settings: SamplingSettings | None = None,
    first: Float[Tensor, "c h w"] | None = None,
    keep: Collection[int] = (),
    progress: Progress | None = None,
) -> Sampled:
    """Returns a sample of `prompt`: clean latents of a clip, or of one picture for models of single pictures.

    The noise is drawn on the CPU, so that a seed means the same on every device.

    Args:
        backbone: The model.
        prompt: What to show; may be empty.
        frames: Number of latent frames; 1 for image models.
        size: (height, width) in pixels.
        settings: See `SamplingSettings`.
        first: Clean latent of the first frame, for image-to-video models.
        keep: Timesteps (of `sampling_timesteps`) whose noisy latents are wanted.
        progress: Notified of every step.

    Raises:
        SettingsError: if an image model is asked for more than one frame or for temporal guidance, if an
            image-to-video model gets no first frame or another model one, or if the size does not suit the model.
    """
    settings, progress = settings or SamplingSettings(), progress or SilentProgress()
    _check(backbone, frames, size, settings, first)
    sites = settings.sites or guided_sites(backbone.card)
    scheduler = make_sampler(backbone, settings)
    text_scale = _usual(backbone)[0] if settings.text_scale is None else settings.text_scale
    shape = (frames, backbone.channels, size[0] // backbone.stride, size[1] // backbone.stride)
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(settings.seed), dtype=torch.float32)
    latents = noise.to(backbone.device)
    text, null = backbone.condition(prompt), backbone.condition()
    if first is not None:
        text, null = (replace(states, first_frame=first.to(backbone.device)) for states in (text, null))
    noisy: dict[int, Latents] = {}
    calls = 0
    progress.start("sample", total=settings.steps)
    for moment in scheduler.timesteps:
        timestep = round(float(moment))
        if timestep in keep:
            noisy[timestep] = latents.cpu()
        towards = backbone.denoise(latents, timestep, text)
        guided = towards
        if text_scale != 1:
            without = backbone.denoise(latents, timestep, null)
            guided = without + text_scale * (towards - without)
        if settings.perturbed:
            with frames_apart(backbone.denoiser, sites, frames):
                apart = backbone.denoise(latents, timestep, text)
            guided = guided + settings.scale * (towards - apart)
        calls += 1 + (text_scale != 1) + settings.perturbed
        latents = scheduler.step(guided, moment, latents, return_dict=False)[0]
        progress.advance(1, timestep=timestep)
    return Sampled(latents, noisy, calls, text_scale)


def sampling_timesteps(backbone: Backbone, settings: SamplingSettings) -> list[int]:
    """Returns the timesteps at which sampling asks the network, falling."""
    return [round(float(moment)) for moment in make_sampler(backbone, settings).timesteps]


def make_sampler(backbone: Backbone, settings: SamplingSettings) -> Any:
    """Returns the stock scheduler of diffusers that samples from the model, set to its steps.

    It is made of the model's own noise schedule: DDIM with trailing timesteps (999, 979, ... of 50 steps), as
    CogVideoX is sampled, or Euler's method for models of flow, at levels that are whole timesteps.
    """
    schedule = backbone.schedule
    if isinstance(schedule, FlowSchedule):
        euler = FlowMatchEulerDiscreteScheduler(num_train_timesteps=schedule.steps)
        levels = torch.linspace(1, 1 / settings.steps, settings.steps, dtype=torch.float64)
        shift = settings.shift or _usual(backbone)[1]
        levels = shift * levels / (1 + (shift - 1) * levels)
        euler.set_timesteps(sigmas=((levels * schedule.steps).round() / schedule.steps).tolist())
        return euler
    if settings.shift is not None:
        raise SettingsError(f"--shift is for flow-matching models, and '{backbone.card.name}' is not one; leave it out")
    signal = torch.tensor(schedule.signal, dtype=torch.float64)
    # A schedule is given by its betas: the share of the signal that each step leaves is 1 - beta.
    betas = 1 - signal / torch.cat([signal.new_ones(1), signal[:-1]])
    ddim = DDIMScheduler(
        num_train_timesteps=len(signal),
        trained_betas=betas.tolist(),
        prediction_type=schedule.prediction,
        set_alpha_to_one=schedule.clean == 1,
        clip_sample=False,
        timestep_spacing="trailing",
    )
    ddim.set_timesteps(settings.steps)
    return ddim


def guided_sites(card: Card) -> tuple[str, ...]:
    """Returns the module paths that a card wants perturbed, or where it reads motion."""
    purpose = next(name for name in ("guidance", "points", "track") if name in card.sites)
    return tuple(site.path for site in card.sites[purpose])


def _usual(backbone: Backbone) -> tuple[float, float]:
    """Returns the text scale and the timestep shift of the published pipeline."""
    return _USUAL.get(type(backbone.denoiser).__name__, (6.0, 1.0))


def _check(
    backbone: Backbone,
    frames: int,
    size: tuple[int, int],
    settings: SamplingSettings,
    first: Float[Tensor, "c h w"] | None,
) -> None:
    name = backbone.card.name
    if backbone.card.family == "unet-video":
        raise SettingsError(
            f"undertow reads '{name}' and does not sample from it; give an image model or a transformer"
        )
    if backbone.repeats > 1:
        raise SettingsError(
            f"'{name}' is given each frame {backbone.repeats} times and makes no clips here; give another"
        )
    if not 1 <= frames <= MOST_FRAMES:
        raise SettingsError(f"--frames is {frames}; give 1 to {MOST_FRAMES}")
    if backbone.card.chunk == 1 and frames > 1:
        raise SettingsError(f"'{name}' makes single pictures, not {frames} frames; give --frames 1 or a video model")
    if backbone.card.chunk < frames:
        raise SettingsError(
            f"'{name}' makes clips of at most {backbone.card.chunk} latent frames, not {frames}; lower --frames"
        )
    if backbone.card.chunk == 1 and settings.guidance == "temporal":
        raise SettingsError(f"'{name}' makes single pictures, which have no other frames; leave --guidance out")
    if backbone.image_to_video != (first is not None):
        needs = "continues a picture; give --image" if first is None else "takes no first picture; leave --image out"
        raise SettingsError(f"'{name}' {needs}")
    backbone.input_size(*size, size=size)
