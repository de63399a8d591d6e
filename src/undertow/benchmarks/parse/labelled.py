"""What semantic datasets share: frames of one folder that belong to several videos, and pairing them with labels."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from undertow.base import SettingsError
from undertow.benchmarks.parse.sample import SemanticSample
from undertow.video.folder import IMAGE_SUFFIXES, natural_key


def images_of(folder: Path) -> list[Path]:
    """Returns the images in a folder, in natural order; hidden files are passed over.

    Raises:
        SettingsError: if there is no such folder, or no image in it.
    """
    if not folder.is_dir():
        raise SettingsError(f"folder of frames '{folder}' is missing; check --root and --split")
    paths = (path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES and path.name[0] != ".")
    found = sorted(paths, key=natural_key)
    if not found:
        raise SettingsError(f"folder of frames '{folder}' holds no images; add them")
    return found


def by_video(paths: Iterable[Path]) -> dict[str, tuple[Path, ...]]:
    """Returns frames by video, whose name is what stands before the last underscore of theirs."""
    videos: dict[str, list[Path]] = {}
    for path in paths:
        videos.setdefault(path.stem.rpartition("_")[0] or path.stem, []).append(path)
    return {name: tuple(frames) for name, frames in videos.items()}


def semantic_sample(
    dataset: str, name: str, video: Path, labels: Mapping[str, Path], files: Sequence[Path] = (), **facts: Any
) -> SemanticSample:
    """Returns a video with classes, after checking that its frames and labels belong together.

    Args:
        dataset: name of the dataset.
        name: name of the sample.
        video: folder of frames.
        labels: label file by frame name.
        files: which frames of the folder are this video's, if not all.
        **facts: classes, coding and whatever else `SemanticSample` has.

    Raises:
        SettingsError: naming a label without a frame, or an anchor without a label.
        VideoError: if the frames are not of one size.
    """
    if not files and not video.is_dir():
        raise SettingsError(f"'{name}' has no frames: '{video}' is missing; add it")
    blank = SemanticSample(
        dataset=dataset, name=name, video=video, frames=(), size=(0, 0), labels=labels, files=tuple(files), **facts
    )
    with blank.open() as opened:
        frames = tuple(opened.name_of(index) for index in range(len(opened)))
        size = (opened.height, opened.width)
    stray = sorted(labels.keys() - set(frames))
    if stray:
        raise SettingsError(
            f"'{name}' has a label file '{labels[stray[0]]}' but no frame of that name; add it, or remove that"
        )
    sample = replace(blank, frames=frames, size=size)
    if not sample.annotated:
        raise SettingsError(f"'{name}' has no label file for any of its {len(frames)} frames; check --root")
    bare = [index for index in sample.anchors if index not in sample.annotated]
    if bare:
        at = frames[bare[0]] if bare[0] < len(frames) else str(bare[0])
        raise SettingsError(f"'{name}' has no labels for frame '{at}', which is given to methods; add them")
    return sample
