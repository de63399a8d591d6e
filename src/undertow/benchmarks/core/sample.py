"""What a benchmark asks for, one video at a time: the frames, what a method is given, and where the truth lies.

A sample holds names and numbers, never pixels, so that a list of thousands is small and travels between processes.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from undertow.base import SettingsError, inside
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
