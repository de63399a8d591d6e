"""Frames to latents and back, by the autoencoder of an image or a video model.

The autoencoders of video models are causal: a clip of one frame is an image to them, and becomes one latent. So each
frame keeps a latent of its own, and no time is lost to compression.
"""

from collections.abc import Mapping
from functools import partial
from math import prod
from typing import Any

import torch
import torch.nn.functional as functional
from jaxtyping import Float
from torch import Tensor

from undertow.backbones.observation import Latents
from undertow.backbones.weights.networks import Network
from undertow.base import SettingsError
from undertow.base.memory import keep_freed_memory

# Frames that go through the network of a video model together; more of them gain little and hold much.
BATCH = 8
# Pixels of an image model that go through the encoder together on a CPU. Of more, activations leave its caches,
# which takes longer (by a fifth at 640x360) and more memory; of fewer, the work that each call takes besides shows.
CPU_PIXELS = 1 << 18


class Autoencoder:
    """One interface to diffusers' autoencoders of images and videos; the decoder is read when it is first used."""

    def __init__(self, network: Network) -> None:
        """Takes over a network, and reads all of it but the decoder."""
        self.network, self.config = network, network.module.config
        scale = self.config.get("scaling_factor")
        if self.config.get("latents_std") is None and not (isinstance(scale, int | float) and scale > 0):
            raise SettingsError(f"the autoencoder's scaling_factor is {scale!r}; give a model with one above 0")
        network.read(lambda name: not name.startswith("decoder."))

    @property
    def module(self) -> Any:
        """The network itself, with all of its weights."""
        self.network.read()
        return self.network.module

    @property
    def channels(self) -> int:
        """Channels of a latent."""
        return int(self.config.get("latent_channels") or self.config["z_dim"])

    @property
    def stride(self) -> int:
        """Image pixels per side of a latent cell."""
        for name in ("spatial_compression_ratio", "scale_factor_spatial"):
            if self.config.get(name) is not None:
                return int(self.config[name])
        return int(2 ** (len(self.config["block_out_channels"]) - 1))

    @property
    def width(self) -> int:
        """Channels at full resolution."""
        return int(self.config.get("base_dim") or self.config["block_out_channels"][0])

    def together(self, frames: int, height: int, width: int) -> int:
        """Returns how many of some frames of a size go through the encoder at once."""
        return min(frames, BATCH)

    def encode(self, pixels: Float[Tensor, "f 3 h w"]) -> Latents:
        """Returns the mode of the posterior of each frame alone, scaled as the denoiser reads it, float32.

        Args:
            pixels: RGB in [-1, 1].
        """
        return torch.cat([self._encode(batch) for batch in pixels.split(BATCH)])

    @property
    def frames_per_latent(self) -> int:
        """Frames of a clip that a latent stands for, but the first, which stands for one."""
        if not self._video:
            return 1
        names = ("temporal_compression_ratio", "scale_factor_temporal")
        return int(next((self.config[name] for name in names if self.config.get(name) is not None), 4))

    def encode_clip(self, pixels: Float[Tensor, "t 3 h w"]) -> Latents:
        """Returns the mode of the posterior of a clip: a latent of the first frame, and one for every few others.

        Args:
            pixels: RGB in [-1, 1]; of video models one frame more than a multiple of `frames_per_latent`.

        Raises:
            SettingsError: if there are so many frames that the last latent would stand for too few.
        """
        if not self._video:
            return self.encode(pixels)
        if (len(pixels) - 1) % self.frames_per_latent:
            raise SettingsError(f"{len(pixels)} frames are no clip; give a multiple of {self.frames_per_latent} and 1")
        clip = pixels.to(self.network.dtype).movedim(0, 1)[None]
        mode: Tensor = self.network.module.encode(clip).latent_dist.mode()[0].movedim(1, 0).float()
        mean, std = self._statistics(mode.device)
        return (mode - mean) / std

    def decode(self, latents: Latents) -> Float[Tensor, "f 3 h w"]:
        """Returns the RGB frames of latents that stand for one frame each, float32, about [-1, 1]."""
        return torch.cat([self._decode(batch, clip=False) for batch in latents.split(BATCH)])

    def decode_clip(self, latents: Latents) -> Float[Tensor, "t 3 h w"]:
        """Returns the RGB frames of the latents of one clip: one of the first, several of each other."""
        return self._decode(latents, clip=True) if self._video else self.decode(latents)

    def _encode(self, pixels: Float[Tensor, "f 3 h w"]) -> Latents:
        module = self.network.module
        images = pixels.to(self.network.dtype)
        mode: Tensor = module.encode(images[:, :, None] if self._video else images).latent_dist.mode().float()
        mean, std = self._statistics(mode.device)
        return ((mode[:, :, 0] if self._video else mode) - mean) / std

    def _decode(self, latents: Latents, *, clip: bool) -> Float[Tensor, "t 3 h w"]:
        decode = self.module.decode
        mean, std = self._statistics(latents.device)
        states = (latents * std + mean).to(self.network.dtype)
        if not self._video:
            return decode(states, return_dict=False)[0].float()
        if clip:
            return decode(states.movedim(0, 1)[None], return_dict=False)[0][0].movedim(1, 0).float()
        return decode(states[:, :, None], return_dict=False)[0][:, :, 0].float()

    @property
    def _video(self) -> bool:
        return type(self.network.module).__name__ != "AutoencoderKL"

    def _statistics(self, device: torch.device) -> tuple[Float[Tensor, "c 1 1"], Float[Tensor, "c 1 1"]]:
        """Returns what latents are shifted and divided by: per channel (Wan), or one number for all."""
        if self.config.get("latents_mean") is not None and self.config.get("latents_std") is not None:
            mean, std = (torch.tensor(self.config[name], device=device) for name in ("latents_mean", "latents_std"))
        else:
            mean = torch.tensor([float(self.config.get("shift_factor") or 0.0)], device=device)
            std = 1 / torch.tensor([float(self.config["scaling_factor"])], device=device)
        return mean[:, None, None], std[:, None, None]


class ImageAutoencoder(Autoencoder):
    """That of an image model, whose frames go through it together."""

    def __init__(self, network: Network) -> None:
        """Takes over a network, and reads all of it but the decoder."""
        super().__init__(network)
        if network.device.type == "cpu":
            keep_freed_memory()
        for block in network.module.encoder.modules():
            if type(block).__name__ == "ResnetBlock2D" and _plain(block):
                block.nonlinearity = torch.nn.SiLU(inplace=True)
                block.forward = partial(_residual, block)

    def together(self, frames: int, height: int, width: int) -> int:
        """Returns how many of some frames of a size go through the encoder at once: on a GPU, all."""
        on_cpu = self.network.device.type == "cpu"
        return min(frames, max(1, CPU_PIXELS // (height * width))) if on_cpu else frames

    def encode(self, pixels: Float[Tensor, "f 3 h w"]) -> Latents:
        """Returns the mode of the posterior, shifted and times the scaling factor, float32."""
        encode, batches = self.network.module.encode, pixels.split(self.together(*pixels[:, 0].shape))
        mode = torch.cat([encode(batch.to(self.network.dtype)).latent_dist.mode().float() for batch in batches])
        return (mode - self._shift) * self.config.scaling_factor

    def decode(self, latents: Latents) -> Float[Tensor, "f 3 h w"]:
        """Returns the RGB frames of latents, float32, about [-1, 1]."""
        states = (latents / self.config.scaling_factor + self._shift).to(self.network.dtype)
        return self.module.decode(states, return_dict=False)[0].float()

    def decode_clip(self, latents: Latents) -> Float[Tensor, "t 3 h w"]:
        """Returns the RGB frames of latents, one of each."""
        return self.decode(latents)

    @property
    def _shift(self) -> float:
        return float(self.config.get("shift_factor") or 0.0)


def _plain(block: Any) -> bool:
    """Returns whether a residual block of diffusers is two convolutions and a shortcut, and nothing more."""
    extras = block.upsample, block.downsample, block.time_emb_proj
    plain = block.output_scale_factor == 1 and block.dropout.p == 0 and isinstance(block.nonlinearity, torch.nn.SiLU)
    return plain and extras == (None, None, None)


def _residual(block: Any, states: Float[Tensor, "f c h w"], temb: None = None) -> Float[Tensor, "f d h w"]:
    """Returns what a residual block does, to the last bit: in place, and not divided by one.

    At full resolution these blocks take most of the encoder's time, most of it on the way to memory and back.
    """
    hidden = block.conv1(block.nonlinearity(block.norm1(states)))
    hidden = block.conv2(block.nonlinearity(block.norm2(hidden)))
    return hidden.add_(states if block.conv_shortcut is None else block.conv_shortcut(states))


class ClipAutoencoder(ImageAutoencoder):
    """That of Stable Video Diffusion, whose decoder sees all frames of a clip."""

    def decode(self, latents: Latents) -> Float[Tensor, "f 3 h w"]:
        """Returns the RGB frames of the latents of one clip, float32, about [-1, 1]."""
        states = latents.to(self.network.dtype) / self.config.scaling_factor
        return self.module.decode(states, num_frames=len(states), return_dict=False)[0].float()


class MochiAutoencoder(Autoencoder):
    """That of Mochi, whose configuration lists encoder and decoder apart."""

    @property
    def stride(self) -> int:
        """Image pixels per side of a latent cell."""
        return prod(self.config["spatial_expansions"])

    @property
    def width(self) -> int:
        """Channels at full resolution."""
        return int(self.config["encoder_block_out_channels"][0])

    @property
    def frames_per_latent(self) -> int:
        """Frames of a clip that a latent stands for, but the first, which stands for one."""
        return prod(self.config["temporal_expansions"])


class LTXAutoencoder(Autoencoder):
    """That of LTX-Video: statistics of latents are among its weights, and some decoders are told a noise level."""

    @property
    def stride(self) -> int:
        """Image pixels per side of a latent cell."""
        return int(self.network.module.spatial_compression_ratio)

    @property
    def frames_per_latent(self) -> int:
        """Frames of a clip that a latent stands for, but the first, which stands for one."""
        return int(self.network.module.temporal_compression_ratio)

    def _decode(self, latents: Latents, *, clip: bool) -> Float[Tensor, "t 3 h w"]:
        mean, std = self._statistics(latents.device)
        states = (latents * std + mean).to(self.network.dtype)
        clips = states.movedim(0, 1)[None] if clip else states[:, :, None]
        # The pipeline's default: latents are clean.
        level = torch.zeros(len(clips), device=latents.device) if self.config.timestep_conditioning else None
        return self.module.decode(clips, level, return_dict=False)[0].movedim(2, 1).flatten(0, 1).float()

    def _statistics(self, device: torch.device) -> tuple[Float[Tensor, "c 1 1"], Float[Tensor, "c 1 1"]]:
        module = self.network.module
        mean, std = (each.float().to(device)[:, None, None] for each in (module.latents_mean, module.latents_std))
        return mean, std / self.config.scaling_factor


class PackedAutoencoder(Autoencoder):
    """That of FLUX.2: a latent is four of its cells, side by side, normalised by statistics among the weights."""

    _video = False

    def __init__(self, network: Network) -> None:
        """Takes over a network, and reads all of it but the decoder."""
        self.network, self.config = network, network.module.config
        network.read(lambda name: not name.startswith("decoder."))

    @property
    def channels(self) -> int:
        """Channels of a latent."""
        return 4 * super().channels

    @property
    def stride(self) -> int:
        """Image pixels per side of a latent cell."""
        return 2 * super().stride

    def _encode(self, pixels: Float[Tensor, "f 3 h w"]) -> Latents:
        mode = self.network.module.encode(pixels.to(self.network.dtype)).latent_dist.mode().float()
        mean, std = self._statistics(mode.device)
        return (functional.pixel_unshuffle(mode, 2) - mean) / std

    def _decode(self, latents: Latents, *, clip: bool) -> Float[Tensor, "t 3 h w"]:
        mean, std = self._statistics(latents.device)
        states = functional.pixel_shuffle(latents * std + mean, 2).to(self.network.dtype)
        return self.module.decode(states, return_dict=False)[0].float()

    def _statistics(self, device: torch.device) -> tuple[Float[Tensor, "c 1 1"], Float[Tensor, "c 1 1"]]:
        norm = self.network.module.bn
        mean, variance = (each.float().to(device)[:, None, None] for each in (norm.running_mean, norm.running_var))
        return mean, (variance + self.config.batch_norm_eps).sqrt()


# Those of the models whose denoiser is a transformer.
AUTOENCODERS: Mapping[str, type[Autoencoder]] = {
    "AutoencoderKL": Autoencoder,
    "AutoencoderKLCogVideoX": Autoencoder,
    "AutoencoderKLHunyuanVideo": Autoencoder,
    "AutoencoderKLWan": Autoencoder,
    "AutoencoderKLMochi": MochiAutoencoder,
    "AutoencoderKLLTXVideo": LTXAutoencoder,
    "AutoencoderKLFlux2": PackedAutoencoder,
}


def autoencoder_of(network: Network) -> Autoencoder:
    """Returns the interface to a network of one of the classes in `AUTOENCODERS`."""
    return AUTOENCODERS[type(network.module).__name__](network)
