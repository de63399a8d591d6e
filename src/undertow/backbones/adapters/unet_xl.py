"""The adapter of Stable Diffusion XL: a UNet that is also told a text in one vector, and the size of the picture."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizerFast

from undertow.backbones.adapters.autoencoder import Autoencoder
from undertow.backbones.adapters.unet import ImageUNet
from undertow.backbones.cards.card import Card
from undertow.backbones.observation import Conditioning, Latents
from undertow.backbones.sampling.schedule import NoiseSchedule
from undertow.backbones.weights.networks import Network, read_network
from undertow.backbones.weights.tokenizers import read_tokenizer, tokenized
from undertow.base import SettingsError


class ImageUNetXL(ImageUNet):
    """A frozen Stable Diffusion XL; frames of a batch do not see each other."""

    def __init__(
        self,
        card: Card,
        network: Network,
        autoencoder: Autoencoder,
        schedule: NoiseSchedule,
        read_text: Callable[[str], Conditioning],
    ) -> None:
        """Takes over the networks as every `Backbone` does; `read_text` returns a text's states and its one vector."""
        super().__init__(card, network, autoencoder, schedule, lambda: (None, None))
        self._encoded = read_text

    def _read_text(self, text: str) -> Conditioning:
        states = self._encoded(text)
        assert states.pooled is not None
        return Conditioning(
            states.tensor.to(self.device),
            "null" if text == self.card.null_text else "text",
            text,
            states.pooled.to(self.device),
            spans=states.spans,
        )

    def _told(self, latents: Latents, frames: int, conditioning: Conditioning) -> dict[str, Any]:
        """Returns the whole text, that nothing was cut off, and that the picture always had the size it has."""
        height, width = (cells * self.stride for cells in latents.shape[2:])
        pooled = conditioning.pooled if conditioning.pooled is not None else self.condition().pooled
        assert pooled is not None
        size = torch.tensor([height, width, 0, 0, height, width], device=self.device, dtype=self.dtype)
        whole: Tensor = pooled.to(self.device, self.dtype)
        return {"added_cond_kwargs": {"text_embeds": whole.expand(frames, -1), "time_ids": size.expand(frames, -1)}}


def xl_text_reader(folder: Path) -> Callable[[str], Conditioning]:
    """Returns what reads a text as the pipeline does, by both text encoders in a folder, which are not kept.

    States are those of the last layer but one of each, side by side; the vector is the second encoder's.
    """

    def read(text: str) -> Conditioning:
        states: list[Tensor] = []
        for kind, number in ((CLIPTextModel, ""), (CLIPTextModelWithProjection, "_2")):
            encoder = read_network(kind, folder, f"text_encoder{number}", torch.float32).eval()
            longest = encoder.config.max_position_embeddings
            tokenizer = read_tokenizer(CLIPTokenizerFast, folder / f"tokenizer{number}", most=longest)
            ids, spans = tokenized(tokenizer, text, padding="max_length", max_length=longest)
            if ids.shape[1] > longest:
                raise SettingsError(f"the text has {ids.shape[1]} tokens and the model reads {longest}; shorten it")
            seen = encoder(ids, output_hidden_states=True)
            states.append(seen.hidden_states[-2][0])
        return Conditioning(torch.cat(states, dim=-1), "text", text, seen.text_embeds[0], spans=spans)

    return read
