"""What components take: a variant's predictor timed on the first frames of one sequence."""

import time
from dataclasses import dataclass

from undertow.benchmarks.methods import Method
from undertow.benchmarks.protocols import EvaluationProtocol
from undertow.benchmarks.samples import MaskSample
from undertow.benchmarks.tasks import get_task

FRAMES = 12
# Steps of tuning that are timed; all of them take the same.
TUNING_STEPS = 10


@dataclass(frozen=True)
class Seconds:
    """What a variant takes.

    Attributes:
        cpu: CPU seconds of a frame, all threads together, after the first batch; scoring and reading are left out.
        wall: the same by the clock.
        before: seconds by the clock until the first label map, for each object of the first frame: tuning is there.
    """

    cpu: float
    wall: float
    before: float


def time_method(method: Method, sample: MaskSample, protocol: EvaluationProtocol, frames: int = FRAMES) -> Seconds:
    """Returns what a method takes on the first frames that a protocol shows of a sample.

    The first batch of four frames is not counted, since weights and buffers are touched for the first time there.

    Args:
        method: what to time.
        sample: a sequence.
        protocol: which frames, and how finely.
        frames: how many of them, more than four.
    """
    shown = list(protocol.frames(len(sample.frames)))[:frames]
    with sample.open() as video:
        images = [video[index] for index in shown]
    predictor = method.make_predictor(protocol)
    begun = time.perf_counter()
    predictions = get_task(sample.task).predict(sample, predictor, iter(images), shown)
    next(predictions)
    before = time.perf_counter() - begun
    skipped = min(3, len(shown) - 2)
    for _ in range(skipped):
        next(predictions)
    cpu, wall, counted = time.process_time(), time.perf_counter(), sum(1 for _ in predictions)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return Seconds(cpu / max(1, counted), wall / max(1, counted), before / max(1, len(sample.ids)))


def tuning_seconds(tuned: Seconds, untuned: Seconds) -> float:
    """Returns seconds by the clock of one step of tuning of one object, from `TUNING_STEPS` of them and from none."""
    return (tuned.before - untuned.before) / TUNING_STEPS
