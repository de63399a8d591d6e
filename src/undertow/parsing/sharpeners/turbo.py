"""Quality "turbo": the probabilities of tokens are upsampled by the image; the model is not asked again."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch.nn.functional as functional
from jaxtyping import Float
from torch import Tensor

from undertow.backbones import Backbone
from undertow.parsing.protocols import CoarseBatch
from undertow.parsing.settings import ResolvedParse, Upsampling
from undertow.refinement.bilateral import GuidedSettings, upsample_guided


@dataclass(frozen=True)
class TurboSharpener:
    """Upsamples soft labels, by the image or bilinearly.

    Attributes:
        upsampling: "guided": a pixel listens to the cells that look like it; "bilinear".
        guided: Reach and scales of the former.
    """

    upsampling: Upsampling = "guided"
    guided: GuidedSettings = field(default_factory=GuidedSettings)
    needs_latents: bool = False

    def __call__(self, batch: CoarseBatch) -> Iterator[Float[Tensor, "m h w"]]:
        """Yields the probabilities of each frame's pixels."""
        for image, soft in zip(batch.images, batch.soft, strict=True):
            height, width = image.shape[:2]
            # A picture smaller than its grid has no cells to choose between.
            if self.upsampling == "guided" and height >= soft.shape[1] and width >= soft.shape[2]:
                yield upsample_guided(soft, image, self.guided)
            else:
                yield functional.interpolate(soft[None].float(), (height, width), mode="bilinear")[0]


def make_sharpener(backbone: Backbone, resolved: ResolvedParse) -> TurboSharpener:
    """Returns the stage a run's settings ask for."""
    return TurboSharpener(resolved.settings.upsampling, resolved.settings.guided)
