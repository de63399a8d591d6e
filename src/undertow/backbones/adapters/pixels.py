"""Frames as the latents of networks that read RGB: shifted and divided by channel, and that is all."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from undertow.backbones.adapters.autoencoder import Autoencoder
from undertow.backbones.observation import Latents
from undertow.backbones.weights.networks import Network

# Statistics of ImageNet's RGB in [0, 1], which vision transformers are trained with.
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
# What makes RGB in [-1, 1] of RGB in [0, 1], as diffusion models of pixels have it.
SIGNED = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


class Pixels(Autoencoder):
    """An autoencoder without a network: latents are the normalised pixels themselves.

    Attributes:
        channels: Of a latent, which are red, green and blue.
        stride: Image pixels per side of a latent cell.
        width: Channels at full resolution.
    """

    channels, stride, width = 3, 1, 3
    _video = False

    def __init__(
        self, device: torch.device, mean: Sequence[float] = IMAGENET[0], std: Sequence[float] = IMAGENET[1]
    ) -> None:
        """Takes mean and standard deviation of each channel, of RGB in [0, 1]."""
        self.network, self.config = Network(torch.nn.Module(), device, torch.float32), {}
        self._mean, self._std = (torch.tensor(each)[:, None, None] for each in (tuple(mean), tuple(std)))

    def encode(self, pixels: Float[Tensor, "f 3 h w"]) -> Latents:
        """Returns normalised pixels of RGB in [-1, 1], float32."""
        return ((pixels + 1) / 2 - self._mean.to(pixels.device)) / self._std.to(pixels.device)

    def decode(self, latents: Latents) -> Float[Tensor, "f 3 h w"]:
        """Returns the RGB in [-1, 1] that pixels were before they were normalised."""
        return 2 * (latents * self._std.to(latents.device) + self._mean.to(latents.device)) - 1
