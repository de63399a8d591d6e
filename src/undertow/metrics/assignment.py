"""Which prediction belongs to which object, where the protocol forgives swapped names."""

import numpy as np
from jaxtyping import Float, Int64


def best_assignment(
    scores: Float[np.ndarray, "n m"],
) -> tuple[Int64[np.ndarray, " pairs"], Int64[np.ndarray, " pairs"]]:
    """Returns the rows and columns of the one-to-one pairs whose scores have the greatest sum, by ascending row.

    There are min(n, m) pairs. Of several equally good assignments it gives the one that the official evaluators get,
    since it asks the same solver.

    Raises:
        ValueError: if the scores are no matrix of finite numbers.
        ImportError: if scipy is not installed.

    Source: Kuhn, "The Hungarian Method for the Assignment Problem", 1955.
    """
    scores = np.asarray(scores, np.float64)
    if scores.ndim != 2 or not np.isfinite(scores).all():
        raise ValueError(f"scores to be assigned must be a matrix of finite numbers, found shape {scores.shape}")
    try:
        from scipy.optimize import linear_sum_assignment  # type: ignore[import-untyped, unused-ignore]
    except ImportError as error:
        raise ImportError("matching objects needs scipy; run: pip install 'undertow[bench]'") from error
    rows, columns = linear_sum_assignment(scores, maximize=True)
    return rows, columns
