"""Quality "fast": one step, its suffix only, and no decoder: clean latents as predicted under the push are compared."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import torch
import torch.nn.functional as functional
from jaxtyping import Bool, Float
from torch import Tensor

from undertow.backbones import Backbone
from undertow.parsing.protocols import CoarseBatch
from undertow.parsing.settings import ResolvedParse
from undertow.parsing.sharpeners.difference import difference, enlarge, favour, normalise, probabilities
from undertow.parsing.sharpeners.exact import pushed_batch
from undertow.parsing.sharpeners.modulation import Modulation
from undertow.parsing.sharpeners.perturbation import Pushes, check_modulated
from undertow.parsing.sharpeners.presets import modulation_for
from undertow.refinement.bilateral import GuidedSettings, upsample_guided


@dataclass(frozen=True)
class FastSharpener:
    """Makes maps of latent cells by one step under each push, and of pixels by upsampling them along the image.

    Attributes:
        backbone: An image or video UNet.
        modulation: How labels are pushed; all steps but the first, and blending, are left out.
        guided: Reach and scales of the upsampling, in cells of the latent.
    """

    backbone: Backbone
    modulation: Modulation = field(default_factory=Modulation)
    guided: GuidedSettings = field(default_factory=GuidedSettings)
    needs_latents: bool = True

    @torch.no_grad()
    def __call__(self, batch: CoarseBatch) -> Iterator[Float[Tensor, "m h w"]]:
        """Yields for each frame the maps of its labels at native size, summing to one over labels."""
        modulation = replace(self.modulation, steps=self.modulation.steps[:1], blended=0)
        for part, pushes, masks in pushed_batch(self.backbone, batch, modulation):
            assert batch.latents is not None
            maps = latent_differences(pushes, masks, (batch.latents.shape[2], batch.latents.shape[3]))
            for place, number in enumerate(part):
                coarse = enlarge(masks[:, place], maps.shape[2:])
                image = batch.images[number]
                found = normalise(maps[:, place]) if modulation.normalised else maps[:, place]
                shares = probabilities(favour(found, coarse, modulation.outside), coarse)
                if image.shape[0] >= shares.shape[1] and image.shape[1] >= shares.shape[2]:
                    yield upsample_guided(shares, image, self.guided)
                else:
                    yield functional.interpolate(shares[None], image.shape[:2], mode="bilinear")[0]


def latent_differences(
    pushes: Pushes, masks: Bool[Tensor, "m f gh gw"], size: tuple[int, int]
) -> Float[Tensor, "m f lh lw"]:
    """Returns how far apart the latents are that the pushes of each label and frame come to.

    Args:
        pushes: The frames.
        masks: Where each label is; others stay 0.
        size: (height, width) of the latents.
    """
    maps = torch.zeros(*masks.shape[:2], *size, device=masks.device)
    for answer in pushes.answers(masks):
        labels, frames = answer.pairs.T
        maps[labels, frames] = difference(answer.plus, answer.minus)
    return maps


def make_sharpener(backbone: Backbone, resolved: ResolvedParse) -> FastSharpener:
    """Returns the stage a run's settings ask for.

    Raises:
        SettingsError: if the model cannot be modulated.
    """
    check_modulated(backbone)
    # The run's reach is in tokens, and maps have smaller cells: as far in pixels.
    finer, reach = resolved.sites[0].stride / backbone.stride, resolved.settings.guided
    guided = replace(reach, radius=round(finer * reach.radius), near=finer * reach.near)
    return FastSharpener(backbone, modulation_for(backbone.card, resolved.settings), guided)
