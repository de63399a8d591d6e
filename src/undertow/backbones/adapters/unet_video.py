"""The adapter of Stable Video Diffusion: a UNet that sees clips and continues an image."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as functional
from jaxtyping import Float
from torch import Tensor

from undertow.backbones.adapters.autoencoder import Autoencoder
from undertow.backbones.adapters.base import Backbone
from undertow.backbones.adapters.unet import ImageUNet
from undertow.backbones.cards.card import Card, Site
from undertow.backbones.cards.known import SVD_STEPS
from undertow.backbones.observation import Conditioning, Images, Latents, Observation
from undertow.backbones.reading.sizes import resize
from undertow.backbones.sampling.schedule import Schedule
from undertow.backbones.weights.networks import Network
from undertow.base import SettingsError

# What the model is given beside the image: frames per second less one, how much motion, and the noise on the image.
CONDITIONS = (14.0, 127.0, 0.02)
# Karras's sigmas (2022, eq. 5) from the least noise to the most. The model knows any of them; 1009 make the sampler's
# 25 steps whole numbers: 0, 42, 84, ..., 1008.
SIGMAS = (0.002, 700.0)
RHO = 7.0
# Mean and deviation of the pixels that CLIP was trained on.
CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


class VideoUNet(ImageUNet):
    """A frozen image-to-video model whose frames see each other: the latents of one call are a clip.

    Noise levels are those of the variance-preserving form that the network reads: latents at noise σ are
    (clean + σ noise) / √(1 + σ²), so that ᾱ = 1 / (1 + σ²) and the prediction is v. Timestep t is the t-th of 1009
    sigmas; timestep 0 is the least noise, 0.002.
    """

    def __init__(
        self, card: Card, network: Network, autoencoder: Autoencoder, load_image_encoder: Callable[[], Any]
    ) -> None:
        """Takes over the networks as every `Backbone` does, and what returns the one that describes an image."""
        super().__init__(card, network, autoencoder, karras_schedule(), _no_text)
        self._load_image_encoder = load_image_encoder
        self._image_encoder: Any = None

    @property
    def image_to_video(self) -> bool:
        """Whether the model continues a given first frame: it does."""
        return True

    def parts(self, sites: Sequence[Site] | None = None) -> Mapping[str, int]:
        """Returns the bytes of the weights that are loaded now, by network, see `Backbone.parts`."""
        encoder = 0 if self._image_encoder is None else sum(each.nbytes for each in self._image_encoder.parameters())
        return {**super().parts(sites), "image encoder": encoder}

    def _read_text(self, text: str) -> Conditioning:
        """Returns nothing, as the conditioning on the null text: the model reads an image and no text."""
        if text != self.card.null_text:
            raise SettingsError(f"'{self.card.name}' reads an image and no text; leave the text out")
        width = self._network.module.config.cross_attention_dim
        return Conditioning(torch.zeros(1, width, device=self.device), "null", text)

    def _continuing(self, states: Conditioning, images: Images, size: tuple[int, int] | None) -> Conditioning:
        """Returns what a clip that begins with the first of `images` is conditioned on; without images, nothing.

        The image as CLIP describes it, and its latent, unscaled as the model was trained, of the image under a little
        noise (of a fixed seed). Sources: Stable Video Diffusion (Blattmann et al. 2023) and diffusers' pipeline.
        """
        if len(images) == 0:
            return states
        if self._image_encoder is None:
            encoder = self._load_image_encoder()
            self._image_encoder = torch.nn.Module.to(encoder, device=self.device).float().eval().requires_grad_(False)
        pixels = torch.from_numpy(images[:1].copy()).to(self.device).movedim(-1, 1).float() / 127.5 - 1
        side = self._image_encoder.config.image_size
        seen = functional.interpolate(pixels, (side, side), mode="bicubic", antialias=True) / 2 + 0.5
        mean, deviation = (torch.tensor(each, device=self.device).view(3, 1, 1) for each in (CLIP_MEAN, CLIP_STD))
        described = self._image_encoder((seen - mean) / deviation).image_embeds
        if size is not None:
            small = torch.from_numpy(resize(images[:1], size).copy())
            pixels = small.to(self.device).movedim(-1, 1).float() / 127.5 - 1
        noise = torch.randn(pixels.shape, generator=torch.Generator().manual_seed(0)).to(self.device)
        return Conditioning(described, "learned", None, first_frame=self._unscaled(pixels + CONDITIONS[2] * noise))

    def _show(
        self,
        denoiser: Any,
        latents: Latents,
        timestep: int,
        sites: Sequence[Site],
        states: Conditioning,
        features: bool,
    ) -> Observation:
        """Returns what a clip shows.

        At a temporal site (frames, heads, tokens, dim) hold what each token asks of the same place in other frames.
        """
        seen = super()._show(denoiser, latents, timestep, sites, states, features)
        temporal = {site.path for site in sites if site.kind == "temporal"}

        def turned(kept: Mapping[str, Tensor]) -> dict[str, Tensor]:
            return {path: each.transpose(0, 2) if path in temporal else each for path, each in kept.items()}

        return replace(seen, queries=turned(seen.queries), keys=turned(seen.keys))

    observer = Backbone.observer

    def _predict_copies(self, copies: Latents, clip: int, timestep: int, states: Conditioning) -> Latents:
        return self._predict_clips(copies.unflatten(0, (-1, clip)), timestep, states).flatten(0, 1)

    def _unscaled(self, pixels: Float[Tensor, "1 3 h w"]) -> Float[Tensor, "c lh lw"]:
        """Returns the latent of an image without the autoencoder's scaling factor."""
        mode: Tensor = self.autoencoder.network.module.encode(pixels.to(self.dtype)).latent_dist.mode()
        return mode[0].float()

    def _predict(self, latents: Latents, timestep: int, conditioning: Conditioning) -> Latents:
        return self._predict_clips(latents[None], timestep, conditioning)[0]

    def _predict_clips(
        self, latents: Float[Tensor, "b f c h w"], timestep: int, conditioning: Conditioning
    ) -> Float[Tensor, "b f c h w"]:
        latents = latents.to(self.device, self.dtype)
        given = conditioning.first_frame
        image = torch.zeros_like(latents) if given is None else given.to(latents).expand_as(latents)
        states = conditioning.tensor.to(latents).expand(len(latents), -1, -1)
        level = torch.tensor(0.25 * np.log(sigma_at(timestep)), dtype=torch.float32, device=self.device)
        facts = torch.tensor(CONDITIONS, dtype=self.dtype, device=self.device).expand(len(latents), -1)
        both = torch.cat([latents, image], dim=2)
        return cast(Tensor, self._network.module(both, level, states, facts, return_dict=False)[0].float())


def sigma_at(timestep: int) -> float:
    """Returns σ of one of the 1009 levels.

    Raises:
        SettingsError: if there is no such level.
    """
    if not 0 <= timestep < SVD_STEPS:
        raise SettingsError(f"timestep {timestep} is outside 0 to {SVD_STEPS - 1}")
    least, most = (sigma ** (1 / RHO) for sigma in SIGMAS)
    return float((least + timestep / (SVD_STEPS - 1) * (most - least)) ** RHO)


def karras_schedule() -> Schedule:
    """Returns the levels as shares of the signal in the variance, ᾱ = 1 / (1 + σ²)."""
    return Schedule(tuple(1 / (1 + sigma_at(step) ** 2) for step in range(SVD_STEPS)), 1.0, "v_prediction")


def _no_text() -> Any:
    raise SettingsError("this model reads no text")
