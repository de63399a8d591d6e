"""What any point tracker must beat: every point stays where it was asked for."""

from collections.abc import Callable, Iterator

import numpy as np
from jaxtyping import Float64, UInt8

from undertow.benchmarks.methods import Baseline, register_baseline
from undertow.benchmarks.points.sample import Tracks
from undertow.benchmarks.protocols import EvaluationProtocol

PointPredictor = Callable[[Iterator[UInt8[np.ndarray, "h w 3"]], Float64[np.ndarray, "q 3"]], Tracks]
"""From the images of one sample and the queries (frame among them, x, y) to tracks on all of them."""


def still_points(images: Iterator[UInt8[np.ndarray, "h w 3"]], queries: Float64[np.ndarray, "q 3"]) -> Tracks:
    """Returns tracks that never move and are always visible.

    Args:
        images: RGB frames, of which only the number counts.
        queries: (t, x, y) of every point: frame among `images`, then pixels.
    """
    length = sum(1 for _ in images)
    places = queries[:, None, 1:].astype(np.float32)
    return Tracks(np.repeat(places, length, axis=1), np.ones((len(queries), length), bool))


def make_still(protocol: EvaluationProtocol) -> PointPredictor:
    """Returns the predictor of points that stay where they were asked for."""
    return still_points


register_baseline(Baseline("still", "points", make_still))
