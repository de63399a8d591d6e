"""Frames to latents and back, one at a time, by the autoencoder of an image or a video model.

The autoencoders of video models are causal: a clip of one frame is an image to them, and becomes one latent. So each
frame keeps a latent of its own, and no time is lost to compression.
"""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from undertow.base import SettingsError

# Frames that go through the network together; more of them gain little and hold much.
BATCH = 8


class FrameAutoencoder:
    """One interface to `AutoencoderKL`, `AutoencoderKLCogVideoX`, `AutoencoderKLHunyuanVideo` and `AutoencoderKLWan`.

    Args:
        network: The autoencoder; its decoder may be `None`.
        load_decoder: Returns the decoder, on a device, when it is first needed; `None` if there is nothing to load.
    """

    def __init__(self, network: Any, load_decoder: Callable[[torch.device], torch.nn.Module] | None = None) -> None:
        self.network, self._load_decoder = network, load_decoder

    @property
    def channels(self) -> int:
        """Channels of a latent."""
        return int(self.network.config.get("latent_channels") or self.network.config["z_dim"])

    @property
    def stride(self) -> int:
        """Image pixels per side of a latent cell."""
        config = self.network.config
        for name in ("spatial_compression_ratio", "scale_factor_spatial"):
            if config.get(name) is not None:
                return int(config[name])
        return int(2 ** (len(config["block_out_channels"]) - 1))

    @property
    def frames_per_latent(self) -> int:
        """Frames of a decoded clip per latent after the first; 1 for an image model."""
        config = self.network.config
        return int(config.get("temporal_compression_ratio") or config.get("scale_factor_temporal") or 1)

    def encode(self, pixels: Float[Tensor, "f 3 h w"]) -> Float[Tensor, "f c lh lw"]:
        """Returns the mode of the posterior of each frame alone, scaled as the denoiser reads it, float32.

        Args:
            pixels: RGB in [-1, 1].
        """
        return torch.cat([self._encode(batch) for batch in pixels.split(BATCH)])

    def decode(self, latents: Float[Tensor, "f c lh lw"]) -> Float[Tensor, "f 3 h w"]:
        """Returns the RGB frames of latents that stand for one frame each, float32, about [-1, 1]."""
        return torch.cat([self._decode(batch, clip=False) for batch in latents.split(BATCH)])

    def decode_clip(self, latents: Float[Tensor, "f c lh lw"]) -> Float[Tensor, "t 3 h w"]:
        """Returns the RGB frames of the latents of one clip: one of the first, several of each other."""
        return self._decode(latents, clip=True)

    def _encode(self, pixels: Float[Tensor, "f 3 h w"]) -> Float[Tensor, "f c lh lw"]:
        images = pixels.to(self.network.dtype)
        posterior = self.network.encode(images[:, :, None] if self._video else images).latent_dist
        mode: Tensor = posterior.mode().float()
        mean, std = self._statistics(mode.device)
        return ((mode[:, :, 0] if self._video else mode) - mean) / std

    def _decode(self, latents: Float[Tensor, "f c lh lw"], *, clip: bool) -> Float[Tensor, "t 3 h w"]:
        if self.network.decoder is None:
            if self._load_decoder is None:
                raise SettingsError("the autoencoder was loaded without its decoder; load the whole model to decode")
            self.network.decoder = self._load_decoder(latents.device)
        mean, std = self._statistics(latents.device)
        states = (latents * std + mean).to(self.network.dtype)
        if not self._video:
            return self.network.decode(states, return_dict=False)[0].float()
        if clip:
            return self.network.decode(states.movedim(0, 1)[None], return_dict=False)[0][0].movedim(1, 0).float()
        return self.network.decode(states[:, :, None], return_dict=False)[0][:, :, 0].float()

    @property
    def _video(self) -> bool:
        return type(self.network).__name__ != "AutoencoderKL"

    def _statistics(self, device: torch.device) -> tuple[Float[Tensor, "c 1 1"], Float[Tensor, "c 1 1"]]:
        """Returns what latents are shifted and divided by: per channel (Wan), or one number for all."""
        config = self.network.config
        if config.get("latents_mean") is not None and config.get("latents_std") is not None:
            mean, std = (torch.tensor(config[name], device=device) for name in ("latents_mean", "latents_std"))
        else:
            mean = torch.tensor([float(config.get("shift_factor") or 0.0)], device=device)
            std = 1 / torch.tensor([float(config["scaling_factor"])], device=device)
        return mean[:, None, None], std[:, None, None]
