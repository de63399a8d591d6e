"""A conditional random field over soft masks: neighbours of like colour agree, some near and some far.

Mean-field inference of a dense CRF (Krähenbühl and Koltun, 2011) whose neighbourhoods are dilated 5 x 5 windows with
kernels adapted to each pixel (Su et al., "Pixel-adaptive convolutional neural networks", 2019; used for masks by
Uziel et al., 2023, and DRIFT). Written from the equations. Nothing is fitted to a video here, as some of these do.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from undertow.base import MaskError, Options, option


@dataclass(frozen=True)
class CrfSettings(Options):
    """How strongly pixels agree, and with which.

    The steps are DRIFT's; it gives no other number. Weights were set by hand, so that neighbours of like colour
    outvote a mask that is unsure, not one that is certain.
    """

    steps: int = option(30, "Mean-field updates.", least=0)
    unary: float = option(1.0, "Weight of the logarithm of the given soft masks.", least=0)
    pairwise: float = option(0.1, "Weight of the agreement with the neighbours, of each dilation.", least=0)
    dilations: tuple[int, ...] = option(
        (1, 4, 16), "Pixels between the samples of each window of neighbours; none for no neighbours.", least=1
    )
    radius: int = option(2, "Samples to each side of the centre; 2 for 5 x 5.", least=1)
    colour: float = option(30.0, "Difference of colour, of 255, at which agreement has fallen to e^(-1/2).", above=0)
    certain: float = option(
        0.01, "Soft masks are kept this far from 0 and 1, so that no pixel is beyond persuasion.", above=0, most=0.49
    )


@torch.no_grad()
def refine_crf(
    soft: Float[Tensor, "n h w"], image: UInt8[np.ndarray, "h w 3"], settings: CrfSettings | None = None
) -> Float[Tensor, "n h w"]:
    """Returns soft masks in which pixels agree with those of like colour, on the device of those given.

    Each step takes log Q_i ← u log U_i + Σ_kernels w Σ_j exp(-½|f_i - f_j|²) Q_j and makes Q sum to one, with features
    f of position over the window's reach and colour over `colour`. Labels that differ all disagree alike (Potts).
    What is held is three times the masks, and one map per pair of opposite neighbours.

    Args:
        soft: Background and objects; their sum over n is 1 everywhere.
        image: The frame at the masks' size.
        settings: Weights and reach.

    Raises:
        MaskError: if masks and image differ in size, or there are fewer than two masks.
    """
    settings = settings or CrfSettings()
    if tuple(soft.shape[1:]) != image.shape[:2]:
        raise MaskError(f"soft masks are {tuple(soft.shape[1:])} but the image {image.shape[:2]}; resize the masks")
    if len(soft) < 2:
        raise MaskError("a CRF decides between masks; give the background as the first")
    colours = torch.from_numpy(image.copy()).to(soft.device).float().movedim(-1, 0) / settings.colour
    pairs = list(_pairs(colours, settings))
    given = settings.unary * soft.float().clamp(settings.certain, 1 - settings.certain).log()
    beliefs = given.softmax(0)
    for _ in range(settings.steps):
        message = given.clone()
        for here, there, affinity in pairs:
            # One map serves both directions: i hears j as loudly as j hears i.
            message[(..., *here)] += affinity * beliefs[(..., *there)]
            message[(..., *there)] += affinity * beliefs[(..., *here)]
        beliefs = message.softmax(0)
    return beliefs


Window = tuple[slice, slice]


def _pairs(
    colours: Float[Tensor, "3 h w"], settings: CrfSettings
) -> Iterator[tuple[Window, Window, Float[Tensor, "a b"]]]:
    """Yields, for every pair of opposite neighbours, two shifted views of the image and how much they agree."""
    height, width = colours.shape[1:]
    radius = settings.radius
    for dilation in settings.dilations:
        for down in range(radius + 1):
            for right in range(-radius, radius + 1):
                if (down, right) <= (0, 0):
                    continue
                dy, dx = down * dilation, right * dilation
                if dy >= height or abs(dx) >= width:
                    continue
                here = slice(0, height - dy), slice(max(0, -dx), width - max(0, dx))
                there = slice(dy, height), slice(max(0, dx), width - max(0, -dx))
                # Positions are over the window's reach, so the same for every dilation.
                apart = (down**2 + right**2) / radius**2
                unlike = (colours[(..., *here)] - colours[(..., *there)]).square().sum(0)
                yield here, there, settings.pairwise * (-0.5 * (unlike + apart)).exp()
