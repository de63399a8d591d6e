"""The same videos posed several times, each time with the truth of another frame given away."""

from collections.abc import Sequence
from dataclasses import replace

from undertow.base import SettingsError
from undertow.benchmarks.parse.sample import SemanticSample
from undertow.benchmarks.protocols import EvaluationProtocol, get_protocol
from undertow.benchmarks.samples import Sample


def with_anchors(
    samples: Sequence[Sample], anchors: Sequence[int], protocol: EvaluationProtocol | str = "full"
) -> tuple[Sample, ...]:
    """Returns every sample once for each anchor, called "<sample>-from-<frame>".

    An anchor is moved to the nearest frame that has labels and that the protocol shows. Where there is one video, its
    samples are scored apart and averaged, so that the mean is over anchors; videos that are pooled stay so.

    Args:
        samples: Videos with classes.
        anchors: Frame numbers; without any, samples are returned as they are.
        protocol: Which frames are shown.

    Raises:
        SettingsError: if a sample has no classes, an anchor is past its end, or two anchors are moved to one frame.
    """
    if not anchors:
        return tuple(samples)
    protocol = get_protocol(protocol) if isinstance(protocol, str) else protocol
    found: list[Sample] = []
    for sample in samples:
        if not isinstance(sample, SemanticSample):
            raise SettingsError(f"'{sample.name}' is of task '{sample.task}' and has no anchors; leave --anchors out")
        shown = [index for index in protocol.frames(len(sample.frames)) if index in sample.annotated]
        chosen = []
        for anchor in anchors:
            if not 0 <= anchor < len(sample.frames):
                raise SettingsError(
                    f"--anchors has frame {anchor}, but '{sample.name}' has {len(sample.frames)} frames; "
                    "give one of them"
                )
            chosen.append(min(shown, key=lambda index: abs(index - anchor)))
        if len(set(chosen)) < len(chosen):
            raise SettingsError(
                f"--anchors has two frames that are {max(chosen, key=chosen.count)} of those that protocol "
                f"'{protocol.name}' shows of '{sample.name}'; give fewer"
            )
        pooled = sample.pooled and len(samples) > 1
        found += [
            replace(sample, name=f"{sample.name}-from-{index:03d}", anchors=(index,), pooled=pooled) for index in chosen
        ]
    return tuple(found)
