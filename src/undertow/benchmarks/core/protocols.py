"""How a benchmark is measured: which frames, how finely a method may look at them, and which part on which machine."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from undertow.base import SettingsError
from undertow.benchmarks.core.sample import Sample


@dataclass(frozen=True)
class EvaluationProtocol:
    """One way of measuring; every table names it.

    Attributes:
        name: What tables call it.
        stride: Every how many frames a method is shown one, which makes motion between frames that much larger.
        most_frames: How many frames it is shown at most, `None` for all.
        tokens: About how many tokens it may see a frame as, `None` for its own default.
    """

    name: str
    stride: int = 1
    most_frames: int | None = None
    tokens: int | None = None

    def frames(self, count: int) -> range:
        """Returns the numbers of the frames shown, out of `count`."""
        return range(0, count, self.stride)[: self.most_frames]

    def describe(self) -> str:
        """Returns the protocol in words, for captions."""
        frames = "every frame" if self.stride == 1 else f"every {self.stride}. frame"
        most = "" if self.most_frames is None else f", at most {self.most_frames} frames"
        size = "default size" if self.tokens is None else f"about {self.tokens} tokens"
        return f"{self.name}: {frames}{most}, {size}"


PROTOCOLS = {
    "full": EvaluationProtocol("full"),
    "lab": EvaluationProtocol("lab", stride=3, most_frames=30, tokens=1600),
}


def get_protocol(name: str) -> EvaluationProtocol:
    """Returns the protocol called `name`: "full" for headlines, "lab" for sweeps.

    Raises:
        SettingsError: if there is no such protocol.
    """
    if name not in PROTOCOLS:
        raise SettingsError(f"protocol '{name}' is not one of {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]


def parse_shard(text: str) -> tuple[int, int]:
    """Returns (number, count) from a text such as "1/8".

    Raises:
        SettingsError: if it is no such text.
    """
    match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text.strip())
    if not match:
        raise SettingsError(f"--shard is '{text}'; give a number and a count, such as 1/8")
    shard = int(match[1]), int(match[2])
    check_shard(shard)
    return shard


def check_shard(shard: tuple[int, int]) -> None:
    """Raises `SettingsError` unless the number lies between 1 and the count."""
    number, count = shard
    if not 1 <= number <= count:
        raise SettingsError(f"shard is {number}/{count}; number the shards from 1/{count} to {count}/{count}")


def choose_shard(samples: Sequence[Sample], protocol: EvaluationProtocol, shard: tuple[int, int]) -> tuple[Sample, ...]:
    """Returns the samples of one shard, in their order; possibly none.

    Samples are dealt out from the largest to the smallest, each to the shard that has least so far, so that shards
    take about as long. The same samples and count always give the same split.

    Args:
        samples: All of them.
        protocol: Which frames count.
        shard: Number, from 1, and count.

    Raises:
        SettingsError: if there is no such shard.
    """
    check_shard(shard)
    number, count = shard
    cost = {each.name: len(protocol.frames(len(each.frames))) * each.size[0] * each.size[1] for each in samples}
    loads = [0] * count
    chosen: set[str] = set()
    for name in sorted(cost, key=lambda name: (-cost[name], name)):
        least = loads.index(min(loads))
        loads[least] += cost[name]
        if least == number - 1:
            chosen.add(name)
    return tuple(each for each in samples if each.name in chosen)
