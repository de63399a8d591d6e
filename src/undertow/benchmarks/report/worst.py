"""The frames on which a method did worst: where to look first."""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from undertow.base import UndertowError, inside
from undertow.benchmarks.core.datasets import get_dataset
from undertow.benchmarks.core.outcomes import RESULTS, Outcome
from undertow.benchmarks.core.sample import Sample
from undertow.benchmarks.core.task import get_task
from undertow.benchmarks.masks.sample import MaskSample
from undertow.benchmarks.report.charts import curve
from undertow.drawing import overlay

WIDTH = 320


@dataclass(frozen=True)
class WorstFrame:
    """One frame of one sample and its score in [0, 1]."""

    method: str
    sequence: str
    frame: str
    score: float


def worst_frames(outcomes: Sequence[Outcome], most: int = 6, each: int = 2) -> list[WorstFrame]:
    """Returns the frames of one method with the lowest scores, the worst first, at most `each` of a sample.

    Neighbouring frames fail together, so that a list of the very worst would show one failure many times: frames of
    one sample are at least a fifth of its length apart.
    """
    found = []
    for outcome in outcomes:
        values = curve(outcome)
        apart = max(2, len(values) // 5)
        taken: list[int] = []
        for place in np.argsort(values, kind="stable"):
            if np.isfinite(values[place]) and all(abs(int(place) - other) >= apart for other in taken):
                taken.append(int(place))
            if len(taken) == each:
                break
        found += [
            WorstFrame(outcome.method, outcome.sequence, outcome.frames[place], float(values[place])) for place in taken
        ]
    return sorted(found, key=lambda frame: frame.score)[:most]


def picture(frame: WorstFrame, samples: Mapping[str, Sample], out: Path) -> str | None:
    """Returns a data address of the frame with truth beside prediction, `None` if there is nothing that may be shown.

    Only datasets that say so (`Dataset.may_show`) are shown, only masks, and predictions only if they were kept.
    """
    sample = samples.get(frame.sequence)
    if not isinstance(sample, MaskSample) or not get_dataset(sample.dataset).may_show:
        return None
    index = sample.frames.index(frame.frame)
    try:
        with sample.open() as video:
            image = video[index]
        panels = [overlay(image, sample.load_mask(index))]
        results = inside(out / RESULTS, frame.method, single=True)
        if sample.result(results, suffix="").is_dir():
            labels = get_task(sample.task).read(results, sample, index, get_dataset(sample.dataset).rules[0])
            panels.append(overlay(image, labels))
    except (UndertowError, OSError):
        return None
    return _address(np.concatenate(panels, axis=1), WIDTH * len(panels))


def _address(image: UInt8[np.ndarray, "h w 3"], width: int) -> str:
    height = max(1, round(image.shape[0] * width / image.shape[1]))
    buffer = io.BytesIO()
    Image.fromarray(image).resize((width, height), Image.Resampling.LANCZOS).save(buffer, "JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
