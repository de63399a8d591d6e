"""How samples with classes are made: frames paired with labels, and the same videos posed with other anchors."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from undertow.base import SettingsError
from undertow.benchmarks.core.protocols import EvaluationProtocol, get_protocol
from undertow.benchmarks.core.sample import Sample
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
        dataset: Name of the dataset.
        name: Name of the sample.
        video: Folder of frames.
        labels: Label file by frame name.
        files: Which frames of the folder are this video's, if not all.
        **facts: Classes, coding and whatever else `SemanticSample` has.

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
