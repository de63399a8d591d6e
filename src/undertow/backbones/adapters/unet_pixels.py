"""The adapter of diffusion models of pixels, such as guided diffusion (ADM): a UNet without text and autoencoder."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from undertow.backbones.adapters.pixels import SIGNED, Pixels
from undertow.backbones.adapters.unet import ImageUNet
from undertow.backbones.cards.card import Card
from undertow.backbones.observation import Conditioning, Latents
from undertow.backbones.sampling.schedule import NoiseSchedule
from undertow.backbones.weights.networks import Network
from undertow.base import SettingsError


class MeanClass(torch.nn.Embedding):
    """Gives the mean of all classes, whichever is asked."""

    def forward(self, input: Float[Tensor, "f"]) -> Float[Tensor, "f c"]:
        """Returns the mean for each of some classes."""
        return self.weight.mean(0).expand(len(input), -1)


class PixelUNet(ImageUNet):
    """A frozen diffusion model whose latents are pixels; it reads no text."""

    def __init__(self, card: Card, network: Network, schedule: NoiseSchedule) -> None:
        """Takes over the denoiser, see `Backbone`.

        One that is given the class of a picture gets the mean of all classes, as that of a frame is unknown.

        Raises:
            SettingsError: if it is given something else than a class.
        """
        config = network.module.config
        if config.class_embed_type:
            raise SettingsError(f"'{card.name}' is given more than the class of a picture; give another model")
        self._classes = bool(config.num_class_embeds)
        if self._classes:
            known = network.module.class_embedding
            network.module.class_embedding = MeanClass.from_pretrained(known.weight)
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
        given = {"class_labels": torch.zeros(len(latents), device=self.device)} if self._classes else {}
        output = self._network.module(latents.to(self.device, self.dtype), timestep, **given, return_dict=False)[0]
        # What stands behind the noise is its variance.
        return output[:, : self.channels].float()
