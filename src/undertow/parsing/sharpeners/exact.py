"""Quality "exact": pushed frames are denoised to the end and decoded, and pixels compared (VidSeg, EmerDiff)."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as functional
from jaxtyping import Bool, Float
from torch import Tensor

from undertow.backbones import Backbone
from undertow.parsing.protocols import CoarseBatch
from undertow.parsing.settings import ResolvedParse
from undertow.parsing.sharpeners.difference import blur, difference, enlarge, favour, normalise, probabilities
from undertow.parsing.sharpeners.modulation import Modulation, one_hot
from undertow.parsing.sharpeners.perturbation import Pushes, check_modulated, sample_bytes
from undertow.parsing.sharpeners.presets import modulation_for

# Images that are decoded together: the autoencoder works at full size, and takes more than the denoiser per image.
DECODED = 4


@dataclass(frozen=True)
class ExactSharpener:
    """Makes maps of pixels by decoding what pushes of each label come to.

    Attributes:
        backbone: An image or video UNet.
        modulation: How labels are pushed and answers read.
    """

    backbone: Backbone
    modulation: Modulation = field(default_factory=Modulation)
    needs_latents: bool = True

    @torch.no_grad()
    def __call__(self, batch: CoarseBatch) -> Iterator[Float[Tensor, "m h w"]]:
        """Yields for each frame the maps of its labels at native size, summing to one over labels."""
        for part, pushes, masks in pushed_batch(self.backbone, batch, self.modulation):
            maps = self.differences(pushes, masks, batch.images[part.start].shape[:2])
            for place in range(masks.shape[1]):
                coarse = enlarge(masks[:, place], maps.shape[2:])
                yield probabilities(self._read(maps[:, place], coarse), coarse)

    def differences(
        self, pushes: Pushes, masks: Bool[Tensor, "m f gh gw"], size: tuple[int, int]
    ) -> Float[Tensor, "m f h w"]:
        """Returns how far apart the images are that the pushes of each label and frame come to, in [0, √3].

        Args:
            pushes: The frames.
            masks: Where each label is; others stay 0.
            size: (height, width) of the maps.
        """
        maps = torch.zeros(*masks.shape[:2], *size, device=masks.device)
        for answer in pushes.answers(masks):
            labels, frames = answer.pairs.T
            # A clip is decoded as one; of other models, some images at a time.
            together = masks.shape[1] if self.backbone.card.chunk > 1 else DECODED
            sides = (torch.split(answer.plus, together), torch.split(answer.minus, together))
            maps[labels, frames] = torch.cat(
                [
                    difference(self._images(plus, size), self._images(minus, size))
                    for plus, minus in zip(*sides, strict=True)
                ]
            )
        return maps

    def _images(self, latents: Float[Tensor, "n c lh lw"], size: tuple[int, int]) -> Float[Tensor, "n 3 h w"]:
        pixels = (self.backbone.decode_float(latents).clamp(-1, 1) + 1) / 2
        return functional.interpolate(pixels, size, mode="bilinear")

    def _read(self, maps: Float[Tensor, "m h w"], coarse: Float[Tensor, "m h w"]) -> Float[Tensor, "m h w"]:
        maps = blur(maps, *self.modulation.blur)
        maps = normalise(maps) if self.modulation.normalised else maps
        return favour(maps, coarse, self.modulation.outside)


def pushed_batch(
    backbone: Backbone, batch: CoarseBatch, modulation: Modulation
) -> Iterator[tuple[range, Pushes, Bool[Tensor, "m f gh gw"]]]:
    """Yields parts of a batch, with their frames ready to be pushed and the masks of their labels.

    A model that sees clips is shown the whole batch; frames of others are taken as many at a time as memory holds.
    """
    assert batch.latents is not None, "modulation needs latents"
    masks = one_hot(batch.soft).to(backbone.device)
    height, width = (cells * backbone.stride for cells in batch.latents.shape[2:])
    conditioning = backbone.condition(images=np.stack(batch.images), size=(height, width))
    count = len(batch.images)
    if backbone.card.chunk == 1:
        # A remembered step holds less than half of what a forward takes.
        kept = len(modulation.steps) * sample_bytes(backbone, batch.latents) // 2
        # Hundreds of labels take more than that: each frame has a map of floats for every one.
        maps = 4 * masks.shape[0] * batch.images[0].shape[0] * batch.images[0].shape[1]
        count = max(1, modulation.memory // max(1, kept, maps))
    for start in range(0, len(batch.images), count):
        part = range(start, min(start + count, len(batch.images)))
        chosen = slice(part.start, part.stop)
        yield (
            part,
            Pushes(backbone, batch.latents[chosen], batch.indices[chosen], conditioning, modulation),
            masks[:, chosen],
        )


def make_sharpener(backbone: Backbone, resolved: ResolvedParse) -> ExactSharpener:
    """Returns the stage a run's settings ask for.

    Raises:
        SettingsError: if the model cannot be modulated.
    """
    check_modulated(backbone)
    return ExactSharpener(backbone, modulation_for(backbone.card, resolved.settings))
