"""What is said of a series of scores: mean, recall, decay, how restless it is, and how sure a difference is."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike


def mean(values: ArrayLike) -> float:
    """Returns the mean of the per-frame scores; NaN if there are none."""
    scores = np.asarray(values, np.float64)
    return float(scores.mean()) if scores.size else float("nan")


def recall(values: ArrayLike) -> float:
    """Returns the share of frames scored above (not at) one half; NaN if there are none.

    >>> recall([0.5, 0.6, 0.9, 0.1])
    0.5
    """
    return mean(np.asarray(values, np.float64) > 0.5)


def decay(values: ArrayLike) -> float:
    """Returns by how much the scores fall: mean of the first quarter of frames minus mean of the last.

    As in the official evaluator, the quarters share their end frames. (That evaluator stores frame numbers in eight
    bits, so its decay is wrong from 257 scored frames on; this one is not.) NaN if there are no scores.
    """
    scores = np.asarray(values, np.float64)
    if not scores.size:
        return float("nan")
    # The tiny shift makes halves round up, where numpy alone would round to even.
    edges = np.round(np.linspace(1, len(scores), 5) + 1e-10).astype(int) - 1
    return mean(scores[edges[0] : edges[1] + 1]) - mean(scores[edges[3] : edges[4] + 1])


@dataclass(frozen=True)
class Summary:
    """Mean, recall and decay of one measure."""

    mean: float
    recall: float
    decay: float

    @classmethod
    def of(cls, values: ArrayLike) -> "Summary":
        """Returns the summary of per-frame scores."""
        return cls(mean(values), recall(values), decay(values))

    @classmethod
    def average(cls, summaries: "list[Summary]") -> "Summary":
        """Returns the plain mean of summaries, figure by figure; NaN if there are none."""
        return cls(*(mean([getattr(one, name) for one in summaries]) for name in ("mean", "recall", "decay")))


def paired_bootstrap(
    differences: Float[np.ndarray, " n"], samples: int = 10000, seed: int = 0
) -> tuple[float, float, float]:
    """Returns the mean difference and the ends of its 95 % interval, found by resampling the pairs.

    Args:
        differences: One method's score minus another's, one value per independent unit (a sequence).
        samples: How many times to resample.
        seed: Of the resampling; the same seed gives the same interval.

    Raises:
        ValueError: if there is no difference to resample.

    Source: Efron, "Bootstrap Methods: Another Look at the Jackknife", 1979 (percentile interval).
    """
    values = np.asarray(differences, np.float64)
    if values.ndim != 1 or not values.size:
        raise ValueError(f"differences must be a non-empty list of numbers, found shape {values.shape}")
    generator = np.random.default_rng(seed)
    # How often each pair is drawn is multinomial, so a resampled mean is one row of counts times the values.
    counts = generator.multinomial(len(values), np.full(len(values), 1 / len(values)), size=samples)
    low, high = np.quantile(counts @ values / len(values), [0.025, 0.975])
    return float(values.mean()), float(low), float(high)


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
