"""The adapter of diffusion models of pixels, such as guided diffusion (ADM): a UNet without text and autoencoder."""

from typing import Any

import torch

from undertow.backbones.adapters.pixels import SIGNED, Pixels
from undertow.backbones.adapters.unet import ImageUNet
from undertow.backbones.cards.card import Card
from undertow.backbones.observation import Conditioning, Latents
from undertow.backbones.sampling.schedule import NoiseSchedule
from undertow.backbones.weights.networks import Network
from undertow.base import SettingsError


class PixelUNet(ImageUNet):
    """A frozen unconditional diffusion model whose latents are pixels; it reads no text."""

    def __init__(self, card: Card, network: Network, schedule: NoiseSchedule) -> None:
        """Takes over the denoiser, see `Backbone`.

        Raises:
            SettingsError: if it wants to be told a class.
        """
        if network.module.config.num_class_embeds or network.module.config.class_embed_type:
            raise SettingsError(f"'{card.name}' is told what class a picture is of; give an unconditional model")
        super().__init__(card, network, Pixels(network.device, *SIGNED), schedule, self._no_text)

    def _read_text(self, text: str) -> Conditioning:
        if text != self.card.null_text:
            self._no_text()
        return Conditioning(torch.zeros(1, 1), "null", text)

    def _no_text(self) -> tuple[Any, Any]:
        raise SettingsError(f"'{self.card.name}' reads pictures and no text; give a model that reads texts")

    def observer(self, *_: Any, **__: Any) -> Any:
        """Refuses to observe under conditionings, of which there are none.

        Raises:
            SettingsError: always.
        """
        self._no_text()

    def _predict(self, latents: Latents, timestep: int, conditioning: Conditioning) -> Latents:
        output = self._network.module(latents.to(self.device, self.dtype), timestep, return_dict=False)[0]
        # What stands behind the noise is its variance.
        return output[:, : self.channels].float()
