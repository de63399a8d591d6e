"""What is wrong or missing where data and results should be, and what to do about it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from undertow.base import UndertowError
from undertow.benchmarks.core.sample import Sample


@dataclass(frozen=True)
class Finding:
    """One thing that `bench check` found.

    Attributes:
        where: The file or folder.
        problem: What is wrong with it, in a sentence without a full stop.
        severity: "error" if scoring would fail or mislead, "odd" if it is only not as expected.
    """

    where: Path
    problem: str
    severity: Literal["error", "odd"] = "error"


def frame_findings(sample: Sample) -> Iterator[Finding]:
    """Yields every frame that cannot be decoded, or is of another size than the sample says."""
    try:
        with sample.open() as video:
            if (video.height, video.width) != tuple(sample.size):
                yield Finding(
                    sample.video,
                    f"frames are {video.width}x{video.height}, annotations {sample.size[1]}x{sample.size[0]}",
                )
            for index in range(len(sample.frames)):
                try:
                    video.frame(index)
                except UndertowError as error:
                    yield Finding(sample.video, str(error))
    except UndertowError as error:
        yield Finding(sample.video, str(error))


def gap_findings(sample: Sample, annotated: Sequence[int]) -> Iterator[Finding]:
    """Yields one finding if most frames are annotated but some are not, which looks like files that were lost.

    Annotations at a steady distance from each other, or of few frames, are a choice of the dataset's authors.
    """
    missing = sorted(set(range(len(sample.frames))) - set(annotated))
    steps = {after - before for before, after in pairwise(annotated)}
    if not missing or 3 * len(missing) > len(sample.frames) or (len(steps) == 1 and steps != {1}):
        return
    names = ", ".join(f"'{sample.frames[index]}'" for index in missing[:3])
    more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
    yield Finding(sample.video, f"frames {names}{more} have no annotation, while most of '{sample.name}' have", "odd")


def file_remedy(path: Path) -> str:
    """Returns what to do about a result's file that is missing, for the end of a message."""
    folder = path.parent
    if path.is_symlink():
        return f"it is a link to '{path.readlink()}', which is not there; copy the file"
    if path.is_dir():
        return "there is a folder of that name; replace it by the file"
    if (folder / "masks" / path.name).is_file():
        return f"copy the files of '{folder / 'masks'}' to '{folder}'"
    files = sorted(each.name for each in folder.iterdir() if each.is_file()) if folder.is_dir() else []
    for name in files:
        stem, _, suffix = name.rpartition(".")
        if stem == path.stem:
            same = suffix.lower() == "png"
            return f"there is '{name}'; {f'name it {path.name}' if same else 'save it as PNG, without loss'}"
        if stem.isdecimal() and path.stem.isdecimal() and int(stem) == int(path.stem):
            return f"there is '{name}'; name results as the frames are, {path.name}"
    return "add it"


def folder_remedy(folder: Path, name: str, usual: str) -> str:
    """Returns what to do about a sample's folder that is missing from a folder of results.

    Args:
        folder: The folder that was given.
        name: The sample's name.
        usual: How results lie, if nothing better can be said.
    """
    near = [folder.resolve().parent, *sorted(each for each in folder.iterdir() if each.is_dir())]
    for other in near:
        if (other / name).exists():
            return f"give '{other}', which holds it"
    return f"give a folder of {usual}"


def holds_frames(folder: Path, frames: tuple[str, ...]) -> bool:
    """Returns whether a folder has a result of any of these frames."""
    return any((folder / f"{frame}.png").is_file() for frame in frames)


def is_black_and_white(path: Path) -> bool:
    """Returns whether a file is black and white without saying which object white is: no palette, no ids.

    A file that cannot be read is not; whoever reads it says so.
    """
    try:
        with Image.open(path) as image:
            if image.mode not in ("1", "L", "I", "I;16"):
                return False
            values = np.unique(np.asarray(image))
    except (OSError, SyntaxError, ValueError):
        return False
    white = {"1": 1, "L": 255}.get(image.mode, 65535)
    return set(values.tolist()) <= {0, white} and white in values
