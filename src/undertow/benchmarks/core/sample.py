"""What a benchmark asks for and how it is measured: one video at a time, and which frames a method is shown of it.

A sample holds names and numbers, never pixels, so that a list of thousands is small and travels between processes. A
protocol says which frames count, how finely a method may look at them, and which samples are measured on which machine.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from undertow.base import SettingsError, inside
from undertow.engines import check_shard
from undertow.video import Video


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One video of a dataset, whatever is asked about it.

    Attributes:
        dataset: Dataset it belongs to, for captions.
        name: Its name, unique in the dataset; results and outcomes are kept under it, so it may hold slashes.
        video: Folder of its frames, or a file that holds them.
        frames: Frame names in order.
        size: (height, width) in pixels.
        task: Name of the task it poses, see `undertow.benchmarks.core.task.TASKS`.
    """

    dataset: str
    name: str
    video: Path
    frames: tuple[str, ...]
    size: tuple[int, int]
    task: ClassVar[str]

    def __post_init__(self) -> None:
        # Whatever list it comes from, results are kept under it; hidden files are those of writers that were killed.
        inside(".", self.name)
        if any(part.startswith(".") for part in self.name.split("/")):
            raise SettingsError(f"the name '{self.name}' begins with a dot, as hidden files do; rename it")

    def open(self) -> Video:
        """Returns the frames, to be closed by the caller."""
        return Video(self.video)

    def truth_files(self) -> Iterable[Path]:
        """Returns the files that decide its truth, in a fixed order."""
        return ()

    def fingerprint(self) -> str:
        """Returns a sha256 hex digest of the frames and of the truth."""
        with self.open() as video:
            digest = hashlib.sha256(video.fingerprint().encode())
        for path in self.truth_files():
            digest.update(path.stem.encode() + hashlib.sha256(path.read_bytes()).digest())
        return digest.hexdigest()

    def result(self, folder: Path, *names: str, suffix: str = ".png", links: bool = True) -> Path:
        """Returns the path of a result in a folder of results, such as `<sample>/<frame>.png`.

        Args:
            folder: The folder of results.
            names: What follows the sample's name, such as the name of a frame; nothing if it has one file.
            suffix: Of the file.
            links: Whether symbolic links may be followed, see `undertow.base.inside`; not where a file is written.
        """
        return inside(folder, "/".join((self.name, *names)), suffix=suffix, links=links)


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
