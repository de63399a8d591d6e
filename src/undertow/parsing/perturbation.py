"""Frames pushed at each of their labels, up and down, and carried on to clean latents: the loop of VidSeg's part 2.

`Level` is one noise level of some frames: what the model answers to them as they are, pushed, or replaced. What is the
same for all labels is computed once: the frames as they are at every step, with their queries and keys, and at the step
of the push all of the network that comes before it. The rest runs for labels, signs and frames together, as many as
memory allows.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
import torch.nn.functional as functional
from jaxtyping import Bool, Float, Int
from torch import Tensor

from undertow.backbones import Backbone, Conditioning, Site
from undertow.backbones.reading.edits import AddMap, module_at
from undertow.backbones.reading.suffix import Trace
from undertow.base import SettingsError
from undertow.parsing.modulation import decoder_sites, modulated_sites, present, push_direction, transformer_path
from undertow.parsing.settings import Modulation


class Level:
    """One noise level of some frames: the model's answers to them as they are, pushed, or replaced.

    Args:
        backbone: An image or video UNet.
        latents: At the level of `timestep`.
        timestep: What the network is given.
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


# Activations of one forward per value of the denoiser's widest layer, measured on Stable Diffusion's decoder: its
# inputs with their skip connections, and the feed-forward layer's eight times as many channels.
WIDEST = 24


@dataclass(frozen=True)
class Answer:
    """What some pushes came to.

    Attributes:
        pairs: Label and frame of each.
        plus: Clean latents after the push up.
        minus: Clean latents after the push down.
    """

    pairs: Int[Tensor, "n 2"]
    plus: Float[Tensor, "n c h w"]
    minus: Float[Tensor, "n c h w"]


class Pushes:
    """Some frames at every step of the sampler, ready to be pushed.

    Args:
        backbone: An image or video UNet.
        latents: Clean latents of the frames; those of a model that sees clips are one clip.
        indices: Their numbers in the video, by which noise is drawn.
        conditioning: What they are conditioned on.
        modulation: How they are pushed.

    Raises:
        SettingsError: if the model has no place to push.
    """

    def __init__(
        self,
        backbone: Backbone,
        latents: Float[Tensor, "f c h w"],
        indices: Sequence[int],
        conditioning: Conditioning,
        modulation: Modulation,
    ) -> None:
        check_modulated(backbone)
        self._backbone, self._modulation, self._steps = backbone, modulation, modulation.steps
        self._clip = len(latents) if backbone.card.chunk > 1 else 1
        sites = modulated_sites(backbone.card, modulation)
        here = backbone.prepare(latents, modulation.level(), indices, conditioning)
        self._states, self._levels = [here], []
        for place, step in enumerate(self._steps):
            level = Level(backbone, here, step, conditioning, modulation, sites if place == 0 else None)
            here = self._advanced(level.prediction, here, place)
            self._levels.append(level)
            self._states.append(here)

    def answers(self, masks: Bool[Tensor, "m f gh gw"]) -> Iterator[Answer]:
        """Yields the answers to all pushes, some at a time; labels without tokens in a frame are not asked about.

        Args:
            masks: Where each label is, by frame.
        """
        masks = masks.to(self._backbone.device)
        pairs = present(masks, self._clip)
        most = self._modulation.memory // (2 * sample_bytes(self._backbone, self._states[0]))
        for chunk in torch.split(pairs, max(1, most // self._clip) * self._clip) if len(pairs) else ():
            labels, rows = chunk.T
            inside = masks[labels, rows].float()
            came = self._carried(
                rows.repeat(2),
                torch.cat([sign * self._modulation.strength * inside for sign in (1.0, -1.0)]),
                inside.repeat(2, 1, 1),
            )
            yield Answer(chunk, *came.chunk(2))

    def _carried(
        self, rows: Int[Tensor, "n"], push: Float[Tensor, "n gh gw"], inside: Float[Tensor, "n gh gw"]
    ) -> Float[Tensor, "n c h w"]:
        """Returns the clean latents that frames come to after a push at the first step."""
        blended = len(self._steps) if self._modulation.blended is None else self._modulation.blended
        here = self._states[0][rows]
        for place, level in enumerate(self._levels):
            prediction = level.pushed(rows, push) if place == 0 else level.replaced(here, rows)
            here = self._advanced(prediction, here, place)
            if place < blended:
                here = blend(here, self._states[place + 1][rows], inside)
        return here

    def _advanced(
        self, prediction: Float[Tensor, "n c h w"], latents: Float[Tensor, "n c h w"], place: int
    ) -> Float[Tensor, "n c h w"]:
        """Returns latents one step on: in sigmas an Euler step, in latents of constant variance one of DDIM."""
        schedule, later = self._backbone.schedule, self._steps[place + 1 :]
        clean, noise = self._backbone.to_x0_eps(prediction, latents, self._steps[place])
        advanced: Tensor = schedule.mix(clean, noise, schedule.level(later[0])) if later else clean
        return advanced


def blend(
    latents: Float[Tensor, "n c h w"], original: Float[Tensor, "n c h w"], masks: Float[Tensor, "n gh gw"]
) -> Float[Tensor, "n c h w"]:
    """Returns the latents inside of the masks and the original ones outside: x ← x M + x₀ (1 - M)."""
    inside = functional.interpolate(masks[:, None].float(), latents.shape[2:], mode="nearest")
    return latents * inside + original * (1 - inside)


def sample_bytes(backbone: Backbone, latents: Float[Tensor, "f c h w"]) -> int:
    """Returns about how many bytes one latent takes in a forward of the denoiser."""
    return int(WIDEST * backbone.denoiser_width * latents.shape[2] * latents.shape[3] * backbone.dtype.itemsize)


def check_modulated(backbone: Backbone) -> None:
    """Raises SettingsError unless the model is a UNet, whose decoder can be pushed."""
    if backbone.card.family == "dit":
        raise SettingsError(f"'{backbone.card.name}' is no UNet, and quality exact pushes a UNet's decoder; use turbo")
