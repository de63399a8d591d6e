"""What is compared between frames: attention queries and keys, hidden states, latents or pixels, on one grid."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as functional
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from undertow.backbones import Backbone, Conditioning
from undertow.tracking.settings import ResolvedSettings


@dataclass(frozen=True)
class FrameFeatures:
    """One frame's queries and keys, heads first; for all sources but attention they are the same tensor."""

    queries: Float[Tensor, "a s d"]
    keys: Float[Tensor, "a s d"]


def extract(
    backbone: Backbone,
    images: Sequence[UInt8[np.ndarray, "h w 3"]],
    indices: Sequence[int],
    settings: ResolvedSettings,
    conditionings: Sequence[Conditioning] = (),
) -> list[FrameFeatures]:
    """Returns the features of a batch of frames of one size.

    Args:
        backbone: The model that is asked (not used for pixels).
        images: The frames at their native size.
        indices: Their frame numbers, which seed the noise.
        settings: The run's settings.
        conditionings: What the model is conditioned on, the heads under each standing side by side; the null text
            alone if empty. Noising is under the null text always, so that it is done once.
    """
    source = settings.preset.source
    if source == "pixels":
        small = [resize(image, settings.grid) for image in images]
        pixels = torch.from_numpy(np.stack(small)).permute(0, 3, 1, 2).float() / 255
        return _same(patches(pixels)[:, None])
    inputs = np.stack([resize(image, settings.input_size) for image in images])
    latents = backbone.encode(inputs)
    if source == "latents":
        return _same(patches(functional.adaptive_avg_pool2d(latents.float(), settings.grid))[:, None])
    noisy = backbone.prepare(latents, settings.noising, indices)
    wanted = settings.sites if source == "attention" else settings.sites[-1:]
    given: Sequence[Conditioning | None] = conditionings or [None]
    every = [
        backbone.observe(noisy, settings.noising.timestep, wanted, conditioning, features=source == "features")
        for conditioning in given
    ]
    if source == "features":
        return _same(torch.stack([seen.features[wanted[0].path].float() for seen in every], dim=1))
    # The heads of several sites stand side by side, as in the paper's three-layer variant.
    queries = torch.cat([seen.queries[site.path] for seen in every for site in wanted], dim=1)
    keys = torch.cat([seen.keys[site.path] for seen in every for site in wanted], dim=1)
    # Scores and their statistics are float32, whatever the network ran in. Keys outlive their batch, so each frame's
    # are a tensor of their own.
    return [FrameFeatures(q.float(), k.float().clone()) for q, k in zip(queries, keys, strict=True)]


def patches(values: Float[Tensor, "f c h w"]) -> Float[Tensor, "f s nine_c"]:
    """Returns the 3 x 3 neighbourhood of every cell as one vector, edges repeated."""
    padded = functional.pad(values, (1, 1, 1, 1), mode="replicate")
    return functional.unfold(padded, 3).transpose(1, 2).contiguous()


def resize(image: UInt8[np.ndarray, "h w 3"], size: tuple[int, int]) -> UInt8[np.ndarray, "H W 3"]:
    """Returns the image at (height, width), by antialiased bicubic filtering."""
    if image.shape[:2] == size:
        return image
    return np.asarray(Image.fromarray(image).resize((size[1], size[0]), Image.Resampling.BICUBIC))


def _same(values: Float[Tensor, "f a s d"]) -> list[FrameFeatures]:
    return [FrameFeatures(each, each) for each in map(torch.clone, values)]
