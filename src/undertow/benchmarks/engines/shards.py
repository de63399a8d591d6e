"""Splits a benchmark between machines that know nothing of each other."""

import re
from collections.abc import Sequence

from undertow.base import SettingsError
from undertow.benchmarks.protocols import EvaluationProtocol
from undertow.benchmarks.samples import Sample


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
        samples: all of them.
        protocol: which frames count.
        shard: number, from 1, and count.

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
