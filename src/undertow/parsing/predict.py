"""Parsing as benchmarks ask for it: images and anchors in, label maps out, class c being number c + 1 in both."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from undertow.backbones import Backbone
from undertow.masks import VOID, LabelMap
from undertow.parsing.parser import parse
from undertow.parsing.settings import ParseSettings
from undertow.video import Video


def predict_classes(
    images: Iterable[UInt8[np.ndarray, "h w 3"]],
    cues: Mapping[int, LabelMap],
    model: Backbone | str | Path = "tiny",
    settings: ParseSettings | None = None,
) -> Iterator[LabelMap]:
    """Yields a label map for every image.

    Args:
        images: Frames of one size; a list, if there are to be labels before the first anchor.
        cues: Anchors by the number of their image: class c is c + 1, void 0 (or 65535).
        model: A loaded backbone, or the name or folder of one.
        settings: Options.

    Yields:
        Maps in which class c is c + 1 and void 0.
    """
    anchors = {index: _shifted(labels) for index, labels in cues.items()}
    for result in parse(Video(images), anchors, model, settings):
        yield np.where(result.labels == VOID, 0, result.labels + np.uint16(1)).astype(np.uint16)


def _shifted(labels: LabelMap) -> LabelMap:
    """Returns a map in which 0, wrapping round, has become void, and class c + 1 is c."""
    return np.where(labels == VOID, VOID, labels - np.uint16(1)).astype(np.uint16)
