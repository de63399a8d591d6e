"""What any answer to a referring expression must beat: the whole frame, and nothing at all."""

from collections.abc import Callable, Iterator

import numpy as np
from jaxtyping import Bool, UInt8

from undertow.benchmarks.core.methods import Baseline
from undertow.benchmarks.core.sample import EvaluationProtocol

Images = Iterator[UInt8[np.ndarray, "h w 3"]]
ReferPredictor = Callable[[Images, str], Iterator[Bool[np.ndarray, "h w"]]]
"""From the images of one sample and an expression to a mask per image, at native size."""


def everything(images: Images, text: str) -> Iterator[Bool[np.ndarray, "h w"]]:
    """Yields a mask of the whole frame for every image, whatever is asked for."""
    for image in images:
        yield np.ones(image.shape[:2], bool)


def nothing(images: Images, text: str) -> Iterator[Bool[np.ndarray, "h w"]]:
    """Yields an empty mask for every image, whatever is asked for."""
    for image in images:
        yield np.zeros(image.shape[:2], bool)


def make_everything(protocol: EvaluationProtocol) -> ReferPredictor:
    """Returns the predictor that answers with the whole frame."""
    return everything


def make_nothing(protocol: EvaluationProtocol) -> ReferPredictor:
    """Returns the predictor that answers with nothing."""
    return nothing


BASELINES = {
    "everything": Baseline("everything", "refer", make_everything),
    "nothing": Baseline("nothing", "refer", make_nothing),
}
