"""What an autoencoder makes of masks: it bounds whatever decodes masks from latents."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from undertow.metrics.similarity import region_similarity
from undertow.metrics.statistics import mean


@dataclass(frozen=True)
class MaskReconstruction:
    """How well masks survive a round trip.

    Attributes:
        error: MAE: mean absolute difference of the decoded channels' mean and the mask, over all pixels.
        mean_iou: Mean IoU of the masks after the threshold; 1 where both are empty.
        masks: How many there were.
    """

    error: float
    mean_iou: float
    masks: int


def mask_reconstruction(
    decoded: Float[np.ndarray, "n c h w"], masks: Bool[np.ndarray, "n h w"], threshold: float = 0.5
) -> MaskReconstruction:
    """Returns what encoding and decoding masks, without a denoiser in between, leaves of them.

    Args:
        decoded: What the decoder gave, on the scale of the masks: 0 where they are not, 1 where they are; values beyond
            are not clipped. A model fed with -1 and 1 is brought to it by (x + 1) / 2.
        masks: What was encoded, the same in each channel.
        threshold: The decoded mask is where the mean of the channels is above it.

    Raises:
        ValueError: if shapes do not fit, there are no masks, or a decoded value is not finite.

    Source: Bagchi et al., "ReferEverything", 2024, which gives an MAE of 0.0144 and an mIoU of 99.33 % for the
    autoencoder of Stable Diffusion, on one mask of each training video of Ref-YouTube-VOS.
    """
    if decoded.ndim != 4 or masks.ndim != 3 or not len(masks) or (len(decoded), *decoded.shape[2:]) != masks.shape:
        raise ValueError(f"decoded masks (n, c, h, w) and masks (n, h, w) do not fit: {decoded.shape}, {masks.shape}")
    value = decoded.astype(np.float64).mean(axis=1)
    if not np.isfinite(value).all():
        raise ValueError("the decoder gave values that are not finite; decode in a wider number type")
    masks = masks.astype(bool, copy=False)
    ious = [region_similarity(own > threshold, mask) for own, mask in zip(value, masks, strict=True)]
    return MaskReconstruction(float(np.abs(value - masks).mean()), mean(ious), len(masks))
