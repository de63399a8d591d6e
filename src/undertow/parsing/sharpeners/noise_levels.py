"""One noise level of some frames: what the model answers to them as they are, pushed, or replaced."""

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

import torch
import torch.nn.functional as functional
from jaxtyping import Float, Int
from torch import Tensor

from undertow.backbones import Backbone, Conditioning, Site
from undertow.backbones.reading.edits import AddMap, module_at
from undertow.backbones.reading.suffix import Trace
from undertow.base import SettingsError
from undertow.parsing.sharpeners.modulation import Modulation, decoder_sites, push_direction, transformer_path


class Level:
    """One noise level of some frames: the model's answers to them as they are, pushed, or replaced.

    Args:
        backbone: An image or video UNet.
        latents: At the level of `timestep`.
        timestep: What the network is told.
        conditioning: What the frames are conditioned on.
        modulation: Injection and guidance.
        sites: Attentions that are pushed here; `None` if none is.

    Attributes:
        prediction: The answer to the frames as they are.
    """

    def __init__(
        self,
        backbone: Backbone,
        latents: Float[Tensor, "f c h w"],
        timestep: int,
        conditioning: Conditioning,
        modulation: Modulation,
        sites: Sequence[Site] | None = None,
    ) -> None:
        self._block = None if sites is None else transformer_path(sites[0])
        self._vector = None
        if self._block is not None and sites is not None:
            self._vector = push_direction(module_at(backbone.denoiser, self._block), sites)
        recorded = decoder_sites(backbone, modulation.inject)
        self._guidance = guidance_weights(modulation.guidance, len(latents), latents.device)
        states = [conditioning] if self._guidance is None else [conditioning, blank(conditioning)]
        self._traces: list[Trace] = [
            backbone.trace(latents, timestep, each, sites=recorded, block=self._block) for each in states
        ]
        self.prediction = self._mixed([trace.prediction for trace in self._traces], torch.arange(len(latents)))

    def pushed(self, rows: Int[Tensor, "n"], push: Float[Tensor, "n gh gw"]) -> Float[Tensor, "n c h w"]:
        """Returns the answers for frames `rows` when `push` is added at their tokens."""
        if self._block is None:
            raise SettingsError("no attention is pushed at this level; name one")
        output = self._traces[0].output
        assert output is not None
        size = output.shape[2:]
        at_block = functional.interpolate(push[:, None].float(), tuple(size), mode="nearest").flatten(1)
        added = AddMap(self._block, at_block, self._vector)
        return self._mixed([trace.rest(rows, added) for trace in self._traces], rows)

    def replaced(self, latents: Float[Tensor, "n c h w"], rows: Int[Tensor, "n"]) -> Float[Tensor, "n c h w"]:
        """Returns the answers for other latents of frames `rows`, under the attention of the frames as they are."""
        return self._mixed([trace.whole(latents, rows) for trace in self._traces], rows)

    def _mixed(self, predictions: Sequence[Tensor], rows: Int[Tensor, "n"]) -> Float[Tensor, "n c h w"]:
        if self._guidance is None:
            return predictions[0]
        given, blank = predictions
        return blank + self._guidance[rows].view(-1, 1, 1, 1) * (given - blank)


def guidance_weights(
    guidance: float | tuple[float, float], frames: int, device: torch.device
) -> Float[Tensor, "f"] | None:
    """Returns the weight of the conditioning per frame, or `None` if it is 1 and nothing is to be mixed."""
    first, last = guidance if isinstance(guidance, tuple) else (guidance, guidance)
    return None if first == last == 1 else torch.linspace(first, last, frames, device=device)


def blank(conditioning: Conditioning) -> Conditioning:
    """Returns no conditioning as VidSeg has it: zeros of the same shapes, not the states of an empty text."""
    values = {each.name: getattr(conditioning, each.name) for each in fields(conditioning)}
    zeros: dict[str, Any] = {
        name: torch.zeros_like(value) for name, value in values.items() if isinstance(value, Tensor)
    }
    return replace(conditioning, **zeros)
