"""Whether a confidence says anything: is what it calls unsure worse, and is it as good as the number claims?

Every function takes one confidence and one score per judged thing (an object on a frame), in any order. A score is J,
or a yes or no. Equal confidences are never ranked by the order they came in.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float64
from numpy.typing import ArrayLike

Binning = Literal["quantile", "width"]
Values = Float64[np.ndarray, " n"]


@dataclass(frozen=True)
class ReliabilityBin:
    """The things whose confidences lie in one interval.

    Attributes:
        low: Where the interval begins: the bin's smallest confidence, or the lower end of a part of [0, 1].
        high: Where it ends: the bin's largest confidence, or the upper end, which belongs to the next part.
        confidence: Mean confidence.
        score: Mean score.
        count: How many things there are, never 0.
    """

    low: float
    high: float
    confidence: float
    score: float
    count: int


def reliability_table(
    confidence: ArrayLike, score: ArrayLike, bins: int = 10, binning: Binning = "quantile"
) -> tuple[ReliabilityBin, ...]:
    """Returns mean score against mean confidence, bin by bin, from the least confident up; empty bins are skipped.

    Args:
        confidence: One number per thing; for bins of equal width in [0, 1].
        score: What it turned out to be.
        bins: How many bins to ask for. Equal confidences stay together, so that there may be fewer.
        binning: "quantile" for bins of about equal counts, "width" for equal parts of [0, 1].

    Raises:
        ValueError: if there is nothing, a value is not finite, lengths differ, or the bins cannot be made.

    Source: DeGroot and Fienberg, "The comparison and evaluation of forecasters", 1983 (the reliability diagram).
    """
    given, true = _pair(confidence, score)
    if bins < 1:
        raise ValueError(f"bins is {bins}; give 1 or more")
    if binning == "quantile":
        # By mean rank, so that equal confidences share a bin without dragging their neighbours into it.
        place = ((average_ranks(given) - 0.5) / len(given) * bins).astype(int)
    elif binning == "width":
        if given.min() < 0 or given.max() > 1:
            raise ValueError(f"bins of equal width need confidences in [0, 1], found {given.min()} to {given.max()}")
        place = np.minimum((given * bins).astype(int), bins - 1)
    else:
        raise ValueError(f"binning is {binning!r}; choose quantile or width")
    table = []
    for number in map(int, np.unique(place)):
        inside = place == number
        own = given[inside]
        ends = (own.min(), own.max()) if binning == "quantile" else (number / bins, (number + 1) / bins)
        table.append(
            ReliabilityBin(
                float(ends[0]), float(ends[1]), float(own.mean()), float(true[inside].mean()), int(inside.sum())
            )
        )
    return tuple(table)


def expected_calibration_error(
    confidence: ArrayLike, score: ArrayLike, bins: int = 10, binning: Binning = "quantile"
) -> float:
    """Returns how far mean score and mean confidence are apart in a bin, averaged over things; 0 is honest.

    It says nothing of a confidence that does not claim to be the score (see `area_under_roc` for the order alone).

    Source: Naeini et al., "Obtaining Well Calibrated Probabilities Using Bayesian Binning", AAAI 2015 (`width`).
    """
    table = reliability_table(confidence, score, bins, binning)
    return float(np.average([abs(one.confidence - one.score) for one in table], weights=[one.count for one in table]))


def average_ranks(values: ArrayLike) -> Values:
    """Returns the place of each value among all, from 1 for the smallest; equal values share their mean place."""
    _, place, counts = np.unique(_vector(values), return_inverse=True, return_counts=True)
    ranks: Values = (np.cumsum(counts) - (counts - 1) / 2)[place]
    return ranks


def area_under_roc(confidence: ArrayLike, score: ArrayLike, failed_below: float = 0.5) -> float:
    """Returns how often a failure is less confident than a success, of all such pairs; ties count one half.

    It is the area under the ROC curve of finding failures by low confidence: 0.5 for a confidence that knows nothing, 1
    for one that puts every failure last. NaN if there are no failures or nothing else.

    Args:
        confidence: One number per thing.
        score: What it turned out to be.
        failed_below: A score below it is a failure.

    Raises:
        ValueError: if there is nothing, a value is not finite, or lengths differ.

    Source: the rank formula of Mann and Whitney, 1947; Hanley and McNeil, 1982.
    """
    given, true = _pair(confidence, score)
    success = true >= failed_below
    good, bad = int(success.sum()), int((~success).sum())
    if not good or not bad:
        return float("nan")
    return float((average_ranks(given)[success].sum() - good * (good + 1) / 2) / (good * bad))


def rank_correlation(confidence: ArrayLike, score: ArrayLike) -> float:
    """Returns Spearman's rank correlation in [-1, 1]; NaN if either side has but one value.

    Raises:
        ValueError: if there is nothing, a value is not finite, or lengths differ.

    Source: Spearman, "The Proof and Measurement of Association between Two Things", 1904; ties share their mean rank.
    """
    centred = [ranks - ranks.mean() for ranks in map(average_ranks, _pair(confidence, score))]
    spread = np.sqrt((centred[0] ** 2).sum() * (centred[1] ** 2).sum())
    return float(np.clip((centred[0] * centred[1]).sum() / spread, -1, 1)) if spread else float("nan")


def risk_coverage(confidence: ArrayLike, score: ArrayLike) -> tuple[Values, Values]:
    """Returns what remains wrong if only the most confident share is kept.

    Args:
        confidence: One number per thing.
        score: What it turned out to be, in [0, 1]; its risk is 1 minus that.

    Returns:
        coverage: (n,) shares kept, 1/n to 1.
        risk: (n,) mean risk of what is kept. Things of equal confidence come in as their mean, so that their order
            does not matter.

    Raises:
        ValueError: if there is nothing, a value is not finite, lengths differ, or a score is not in [0, 1].

    Source: El-Yaniv and Wiener, "On the Foundations of Noise-free Selective Classification", JMLR 2010.
    """
    given, true = _pair(confidence, score)
    if true.min() < 0 or true.max() > 1:
        raise ValueError(f"risk needs scores in [0, 1], found {true.min()} to {true.max()}")
    _, place, counts = np.unique(-given, return_inverse=True, return_counts=True)
    shared = np.bincount(place, weights=1 - true) / counts
    kept = np.arange(1, len(given) + 1)
    return kept / len(given), np.cumsum(np.repeat(shared, counts)) / kept


def area_under_risk_coverage(confidence: ArrayLike, score: ArrayLike) -> float:
    """Returns the mean risk over all coverages; smaller is better.

    A confidence that knows nothing has the mean risk of all things; the least possible is that of the score itself as
    confidence. Raises what `risk_coverage` raises.

    Source: Geifman, Uziel and El-Yaniv, "Bias-Reduced Uncertainty Estimation for Deep Neural Classifiers", ICLR 2019.
    """
    return float(risk_coverage(confidence, score)[1].mean())


def _vector(values: ArrayLike) -> Values:
    """Returns values as a vector of finite numbers, of which there is at least one."""
    vector = np.asarray(values, np.float64)
    if vector.ndim != 1 or not vector.size:
        raise ValueError(f"give a non-empty list of numbers, found shape {vector.shape}")
    if not np.isfinite(vector).all():
        raise ValueError("every confidence and score must be a finite number, found NaN or infinity")
    return vector


def _pair(confidence: ArrayLike, score: ArrayLike) -> tuple[Values, Values]:
    """Returns both as vectors of one length."""
    pair = _vector(confidence), _vector(score)
    if len(pair[0]) != len(pair[1]):
        raise ValueError(f"there are {len(pair[0])} confidences but {len(pair[1])} scores; give one score for each")
    return pair
