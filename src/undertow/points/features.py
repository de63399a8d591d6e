"""What is compared between frames: queries and keys, hidden states, latents or pixels, all as plain dot products."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as functional
from jaxtyping import Float, UInt8
from torch import Tensor

from undertow.backbones import Backbone
from undertow.points.settings import ResolvedPoints
from undertow.tracking.features import patches, resize

HALF = torch.finfo(torch.float16).max


@dataclass(frozen=True)
class PointFeatures:
    """One frame's queries and keys, of which a logit is the dot product times `ResolvedPoints.scale`."""

    queries: Float[Tensor, "a s d"]
    keys: Float[Tensor, "a s d"]


def prepare_images(
    backbone: Backbone, images: Sequence[UInt8[np.ndarray, "h w 3"]], settings: ResolvedPoints
) -> Float[Tensor, "f c h w"]:
    """Returns what is observed of frames, each frame by itself: clean latents, or small pictures for "pixels"."""
    if settings.source == "pixels":
        small = np.stack([resize(image, settings.grid) for image in images])
        return torch.from_numpy(small).permute(0, 3, 1, 2).float() / 255
    return backbone.encode(np.stack([resize(image, settings.input_size) for image in images]))


def observe(
    backbone: Backbone, prepared: Float[Tensor, "f c h w"], indices: Sequence[int], settings: ResolvedPoints
) -> list[PointFeatures]:
    """Returns the features of frames that are seen together: a chunk of a video model, any batch of an image model.

    Args:
        backbone: the model that is asked (not used for pixels).
        prepared: what `prepare_images` gave for the frames.
        indices: their frame numbers, which seed the noise.
        settings: of the run.
    """
    if settings.source == "pixels":
        return _distances(patches(prepared), centre=0.5)
    if settings.source == "latents":
        return _distances(patches(functional.adaptive_avg_pool2d(prepared.float(), settings.grid)), centre=0.0)
    noisy = backbone.prepare(prepared, settings.noising, indices)
    wanted = settings.source == "features"
    seen = backbone.observe(noisy, settings.noising.timestep, settings.sites, features=wanted)
    if wanted:
        states = [functional.normalize(seen.features[site.path].float(), dim=-1) for site in settings.sites]
        return [PointFeatures(each, each) for each in _halves(torch.stack(states, dim=1))]
    # The heads of several sites stand side by side.
    queries = torch.cat([seen.queries[site.path] for site in settings.sites], dim=1)
    keys = torch.cat([seen.keys[site.path] for site in settings.sites], dim=1)
    if settings.heads is not None:
        queries, keys = queries[:, list(settings.heads)], keys[:, list(settings.heads)]
    return [PointFeatures(q, k) for q, k in zip(_halves(queries), _halves(keys), strict=True)]


def _distances(values: Float[Tensor, "f s c"], centre: float) -> list[PointFeatures]:
    """Returns queries and keys whose dot products are −|a − b|² = 2 a·b − |b|² − |a|².

    A common `centre` is taken off, so that the squares stay small. They are kept in float32, as half the digits would
    not tell near matches apart.
    """
    centred = values.float() - centre
    squares = centred.square().sum(-1, keepdim=True)
    ones = torch.ones_like(squares)
    queries = torch.cat([2 * centred, -ones, -squares], dim=-1)[:, None].cpu()
    keys = torch.cat([centred, squares, ones], dim=-1)[:, None].cpu()
    return [PointFeatures(q.clone(), k.clone()) for q, k in zip(queries, keys, strict=True)]


def _halves(values: Float[Tensor, "f a s d"]) -> list[Float[Tensor, "a s d"]]:
    """Returns each frame's values as they are kept: float16, of which a frame takes half the room."""
    return [each.clone() for each in values.float().clamp(-HALF, HALF).half().cpu()]
