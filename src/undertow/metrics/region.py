"""J, the region similarity: how much of two masks is common to both."""

import numpy as np
from jaxtyping import Bool


def check_pair(pred: np.ndarray, true: np.ndarray, void: np.ndarray | None) -> None:
    """Raises `ValueError` unless the masks (and `void`, if given) are two-dimensional and of one size."""
    shapes = [mask.shape for mask in (pred, true, void) if mask is not None]
    if len(shapes[0]) != 2 or len(set(shapes)) != 1:
        raise ValueError(f"masks must be two-dimensional and of one size, found {', '.join(map(str, shapes))}")


def region_similarity(
    pred: Bool[np.ndarray, "h w"], true: Bool[np.ndarray, "h w"], void: Bool[np.ndarray, "h w"] | None = None
) -> float:
    """Returns the Jaccard index, intersection over union, of one object's masks; 1 if both are empty.

    Args:
        pred: where the prediction has the object; any non-zero value counts.
        true: where the annotation has it.
        void: pixels to leave out of both. DAVIS scores given-mask (semi-supervised) tracking without it.

    Raises:
        ValueError: if the masks differ in size.

    Source: Perazzi et al., "A Benchmark Dataset and Evaluation Methodology for Video Object Segmentation", CVPR 2016.
    """
    check_pair(pred, true, void)
    pred, true = pred.astype(bool, copy=False), true.astype(bool, copy=False)
    if void is not None:
        kept = ~void.astype(bool, copy=False)
        pred, true = pred & kept, true & kept
    union = np.count_nonzero(pred | true)
    return np.count_nonzero(pred & true) / union if union else 1.0
