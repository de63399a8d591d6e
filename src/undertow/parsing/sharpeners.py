"""From labels of tokens to maps of every pixel: the qualities turbo and exact.

"turbo" upsamples the probabilities of tokens by the image; the model is not asked again. "exact" denoises frames pushed
at each label to the end, decodes them and compares pixels (VidSeg, EmerDiff).

How a model answers a push up and a push down at a label's tokens is all read in float: images rounded to bytes before
they are subtracted and squared wrap around, and differences of 16, 32 or 48 count as none.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as functional
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from undertow.backbones import Backbone
from undertow.parsing.modulation import modulation_for, one_hot
from undertow.parsing.perturbation import Pushes, check_modulated, sample_bytes
from undertow.parsing.protocols import CoarseBatch, Sharpener
from undertow.parsing.settings import Modulation, ResolvedParse, Upsampling
from undertow.refinement.bilateral import upsample_guided
from undertow.refinement.settings import GuidedSettings

# A map is divided by its largest value plus this, when values are of the order of one.
LEAST = 1e-5


def difference(plus: Float[Tensor, "*n c h w"], minus: Float[Tensor, "*n c h w"]) -> Float[Tensor, "*n h w"]:
    """Returns the Euclidean distance of the channels of every pixel."""
    distance: Tensor = torch.linalg.vector_norm(plus.float() - minus.float(), dim=-3)
    return distance


def blur(maps: Float[Tensor, "*n h w"], size: int = 5, sigma: float = 3.0) -> Float[Tensor, "*n h w"]:
    """Returns the maps under a Gaussian of `size` by `size` pixels; borders are mirrored.

    Args:
        maps: Any number of them.
        size: Odd; 1 leaves them as they are.
        sigma: Standard deviation in pixels.
    """
    radius = min(size // 2, maps.shape[-1] - 1, maps.shape[-2] - 1)
    if radius < 1:
        return maps
    offsets = torch.arange(-radius, radius + 1, device=maps.device, dtype=maps.dtype)
    kernel = (-0.5 * (offsets / sigma).square()).exp()
    kernel = kernel / kernel.sum()
    stacked = functional.pad(maps.reshape(-1, 1, *maps.shape[-2:]), (radius,) * 4, mode="reflect")
    rows = functional.conv2d(stacked, kernel.view(1, 1, -1, 1))
    return functional.conv2d(rows, kernel.view(1, 1, 1, -1)).view(maps.shape)


def normalise(maps: Float[Tensor, "*n h w"]) -> Float[Tensor, "*n h w"]:
    """Returns each map divided by its own largest value, which lifts small regions; an empty map stays 0."""
    peaks = maps.amax((-2, -1), keepdim=True)
    return maps / (peaks + LEAST * (peaks > 0)).clamp(min=torch.finfo(maps.dtype).tiny)


def favour(maps: Float[Tensor, "*n h w"], masks: Float[Tensor, "*n h w"], s: float) -> Float[Tensor, "*n h w"]:
    """Returns the maps, s times as high outside of the coarse masks: D ← D (M + s (1 - M))."""
    return maps * (masks + s * (1 - masks))


def enlarge(masks: Float[Tensor, "*n gh gw"], size: Sequence[int]) -> Float[Tensor, "*n h w"]:
    """Returns coarse masks at (height, width), with soft edges that stay within 0 and 1.

    Bicubic instead of the paper's Lanczos; both are clipped here.
    """
    stacked = masks.reshape(1, -1, *masks.shape[-2:]).float()
    resized = functional.interpolate(stacked, tuple(size), mode="bicubic").clamp(0, 1)
    return resized.view(*masks.shape[:-2], *size)


def probabilities(maps: Float[Tensor, "m h w"], masks: Float[Tensor, "m h w"]) -> Float[Tensor, "m h w"]:
    """Returns the share of each label's map in the sum of all; where no map says anything, the coarse masks."""
    total = maps.sum(0, keepdim=True)
    silent = total <= 0
    shares = maps / torch.where(silent, torch.ones_like(total), total)
    return torch.where(silent, masks / masks.sum(0, keepdim=True).clamp(min=LEAST), shares)


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
        guided = self.guided if self.upsampling == "guided" else None
        for image, soft in zip(batch.images, batch.soft, strict=True):
            yield upsampled(soft, image, guided)


def upsampled(
    soft: Float[Tensor, "m gh gw"], image: UInt8[np.ndarray, "h w 3"], guided: GuidedSettings | None
) -> Float[Tensor, "m h w"]:
    """Returns maps of a grid at the size of the image, along its edges; bilinear without settings for that."""
    height, width = image.shape[:2]
    # A picture smaller than its grid has no cells to choose between.
    if guided is not None and height >= soft.shape[1] and width >= soft.shape[2]:
        return upsample_guided(soft, image, guided)
    return functional.interpolate(soft[None].float(), (height, width), mode="bilinear")[0]


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


def make_sharpener(backbone: Backbone, resolved: ResolvedParse) -> Sharpener:
    """Returns the last stage of a run's quality.

    Raises:
        SettingsError: if the quality is exact, and the model does not support modulation.
    """
    settings = resolved.settings
    if settings.quality == "turbo":
        return TurboSharpener(settings.upsampling, settings.guided)
    check_modulated(backbone)
    return ExactSharpener(backbone, modulation_for(backbone.card, settings))
