"""Frames pushed at each of their labels, up and down, and carried on to clean latents: the loop of VidSeg's part 2.

What is the same for all labels is computed once: the frames as they are at every step, with their queries and keys,
and at the step of the push all of the network that comes before it. The rest runs for labels, signs and frames
together, as many as memory allows.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from undertow.backbones import Backbone, Conditioning
from undertow.base import SettingsError
from undertow.parsing.sharpeners.difference import blend
from undertow.parsing.sharpeners.modulation import Modulation, modulated_sites, present
from undertow.parsing.sharpeners.noise_levels import Level

# Activations of one forward per value of the denoiser's widest layer, measured on Stable Diffusion's decoder: its
# inputs with their skip connections, and the feed-forward layer's eight times as many channels.
WIDEST = 24


@dataclass(frozen=True)
class Answer:
    """What some pushes came to.

    Attributes:
        pairs: Label and frame of each.
        plus: Clean latents after the push up.
        minus: Clean latents after the push down, or of the frame as it is.
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
        signs = (1.0,) if self._modulation.one_sided else (1.0, -1.0)
        most = self._modulation.memory // (len(signs) * sample_bytes(self._backbone, self._states[0]))
        for chunk in torch.split(pairs, max(1, most // self._clip) * self._clip) if len(pairs) else ():
            labels, rows = chunk.T
            inside = masks[labels, rows].float()
            came = self._carried(
                rows.repeat(len(signs)),
                torch.cat([sign * self._modulation.strength * inside for sign in signs]),
                inside.repeat(len(signs), 1, 1),
            )
            yield Answer(chunk, came[: len(chunk)], came[len(chunk) :] if len(signs) == 2 else self._states[-1][rows])

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


def sample_bytes(backbone: Backbone, latents: Float[Tensor, "f c h w"]) -> int:
    """Returns about how many bytes one latent takes in a forward of the denoiser."""
    return int(WIDEST * backbone.denoiser_width * latents.shape[2] * latents.shape[3] * backbone.dtype.itemsize)


def check_modulated(backbone: Backbone) -> None:
    """Raises SettingsError unless the model is a UNet, whose decoder can be pushed."""
    if backbone.card.family == "dit":
        raise SettingsError(
            f"'{backbone.card.name}' is no UNet, and qualities fast and exact push a UNet's decoder; use turbo"
        )
