"""What is compared between frames: queries and keys, hidden states, latents or pixels, all as plain dot products."""

import torch
import torch.nn.functional as functional
from jaxtyping import Float
from torch import Tensor

from undertow.observing.observer import FrameFeatures
from undertow.points.settings import ResolvedPoints

HALF = torch.finfo(torch.float16).max


def descriptors(seen: FrameFeatures, settings: ResolvedPoints) -> FrameFeatures:
    """Returns a frame's features such that a logit is the dot product of two times `ResolvedPoints.scale`.

    They are on the CPU, where they are kept.

    Args:
        seen: What an observer of the settings' source made of the frame.
        settings: Of the run.
    """
    if settings.source in ("pixels", "latents"):
        return _distances(seen.keys, centre=0.5 if settings.source == "pixels" else 0.0)
    if settings.source == "features":
        states = _half(functional.normalize(seen.keys.float(), dim=-1))
        return FrameFeatures(states, states)
    heads = slice(None) if settings.heads is None else list(settings.heads)
    return FrameFeatures(_half(seen.queries[heads]), _half(seen.keys[heads]))


def _distances(values: Float[Tensor, "1 s c"], centre: float) -> FrameFeatures:
    """Returns queries and keys whose dot products are −|a − b|² = 2 a·b − |b|² − |a|².

    A common `centre` is taken off, so that the squares stay small. They are kept in float32, as half the digits would
    not tell near matches apart.
    """
    centred = values.float() - centre
    squares = centred.square().sum(-1, keepdim=True)
    ones = torch.ones_like(squares)
    queries = torch.cat([2 * centred, -ones, -squares], dim=-1)
    keys = torch.cat([centred, squares, ones], dim=-1)
    return FrameFeatures(queries.cpu(), keys.cpu())


def _half(values: Float[Tensor, "a s d"]) -> Float[Tensor, "a s d"]:
    """Returns values as they are kept: float16, of which a frame takes half the room."""
    return values.float().clamp(-HALF, HALF).half().cpu()
