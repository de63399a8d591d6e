"""How restless a prediction is: by how much its overlap with the truth changes from frame to frame."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike

from undertow.metrics.statistics import mean


def frame_change(scores: ArrayLike, *, signed: bool = False) -> float:
    """Returns the mean change of IoU between consecutive annotated frames of one clip; NaN if it has but one.

    Args:
        scores: IoU of each annotated frame, in order.
        signed: Whether rises and falls cancel, see `temporal_consistency`.

    Raises:
        ValueError: if the scores are not a list of finite numbers.
    """
    values = np.asarray(scores, np.float64)
    if values.ndim != 1 or not np.isfinite(values).all():
        raise ValueError(f"scores must be a list of finite numbers, one per frame; found shape {values.shape}")
    steps = np.diff(values)
    return mean(steps if signed else np.abs(steps))


def temporal_consistency(clips: Iterable[ArrayLike], *, signed: bool = False) -> float:
    """Returns the mean over clips of the mean |IoU(t+1) - IoU(t)|, times 100; lower is steadier, 0 is still.

    The formula printed in the paper has no absolute value. Its sum telescopes to last minus first frame, so that a mask
    that flickers between right and wrong would score 0 as long as it ends as it began, and one that gets better would
    look unsteady. So the absolute value is taken to be meant; `signed` is the formula as printed.

    Read it beside J: a prediction that is always empty scores 0 as well.

    Args:
        clips: For each clip (or expression) the IoU of each annotated frame. Clips of one frame have no pair and are
            left out; NaN if none is left.
        signed: Whether rises and falls cancel.

    Raises:
        ValueError: if the scores of a clip are not a list of finite numbers.

    Source: Bagchi et al., "ReferEverything: Towards Segmenting Everything We Can Speak of in Videos", 2024.
    """
    changes = [frame_change(clip, signed=signed) for clip in clips]
    return 100 * mean([change for change in changes if not np.isnan(change)])
