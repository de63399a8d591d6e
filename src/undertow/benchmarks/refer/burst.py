"""BURST with its classes as expressions: "the <name>" stands for all instances of a class in a video."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from undertow.base import SettingsError, inside, whole
from undertow.benchmarks.core.datasets import Dataset
from undertow.benchmarks.core.files import folder_frames, read_json
from undertow.benchmarks.refer.sample import ReferSample, RunTruth

MOST_CLASSES = 1 << 20


@dataclass(frozen=True)
class _Sequences:
    """What an annotation file says: class names by id, and the videos by name."""

    path: Path
    names: Mapping[int, str]
    videos: Mapping[str, Mapping[str, Any]]


def _annotations(root: Path, split: str) -> _Sequences:
    paths = [root / folder / split / "all_classes.json" for folder in ("annotations", "annotations_burst", ".")]
    path = next((path for path in paths if path.is_file()), paths[0])
    content = read_json(path)
    return _parsed(path, path.stat().st_mtime_ns) if isinstance(content, dict) else _refuse(path, "no object")


@lru_cache(maxsize=1)
def _parsed(path: Path, changed: int) -> _Sequences:
    """Returns the file's content by name; kept, because every class of every video asks for it."""
    content = read_json(path)
    try:
        names = {_class(each["id"], path): str(each["name"]) for each in content["categories"]}
        videos = {f"{each['dataset']}/{each['seq_name']}": each for each in content["sequences"]}
    except (KeyError, TypeError, ValueError) as error:
        return _refuse(path, f"categories and sequences that cannot be read ({error})")
    for name in videos:
        inside(path.parent, name, source=path)
    return _Sequences(path, names, videos)


def _class(number: object, path: Path) -> int:
    return whole(number, "class", most=MOST_CLASSES, source=path)


def _refuse(path: Path, what: str) -> Any:
    raise SettingsError(f"'{path}' has {what}; fetch it again")


def _classes(video: Mapping[str, Any], path: Path, name: str) -> dict[str, int]:
    """Returns the class of each track of a video."""
    try:
        return {str(track): _class(number, path) for track, number in video["track_category_ids"].items()}
    except (KeyError, AttributeError, TypeError):
        return _refuse(path, f"no track_category_ids of '{name}'")


def _names(root: Path, split: str) -> Sequence[str]:
    found = _annotations(root, split)
    return [
        f"{name}/{number}"
        for name, video in found.videos.items()
        for number in sorted(set(_classes(video, found.path, name).values()))
    ]


def _open(root: Path, split: str, sample: str) -> ReferSample:
    found = _annotations(root, split)
    name, _, word = sample.rpartition("/")
    number, video = int(word), found.videos[name]
    if number not in found.names:
        raise SettingsError(f"'{found.path}' has tracks of class {number} in '{name}', but no such class")
    # TAO's own folder, and the one that BURST's tools call it.
    folders = [root / kind / split / name for kind in ("frames", "images")]
    folder = next((folder for folder in folders if folder.is_dir()), folders[0])
    frames, size = folder_frames(folder, name)
    if size != (video.get("height"), video.get("width")):
        raise SettingsError(
            f"frames of '{name}' are {size[1]}x{size[0]}, but '{found.path}' says "
            f"{video.get('width')}x{video.get('height')}; fetch them again"
        )
    tracks = {track for track, own in _classes(video, found.path, name).items() if own == number}
    return ReferSample(
        dataset="burst",
        name=sample,
        video=folder,
        frames=frames,
        size=size,
        texts=(f"the {found.names[number]}",),
        truth=dict(_truth(video, tracks, frames, size, found.path, name)),
        category=found.names[number],
        exhaustive=number not in (video.get("not_exhaustive_category_ids") or ()),
    )


def _truth(
    video: Mapping[str, Any], tracks: set[str], frames: Sequence[str], size: tuple[int, int], path: Path, name: str
) -> Iterator[tuple[str, RunTruth]]:
    """Yields each annotated frame with the run lengths of the tracks of a class; without one, its mask is empty.

    Raises:
        SettingsError: if a frame is not there, or the annotations are not of the format's kind.
    """
    images, rows = video.get("annotated_image_paths"), video.get("segmentations")
    if not isinstance(images, list) or not isinstance(rows, list) or len(images) != len(rows):
        _refuse(path, f"no segmentations of '{name}' for each of its annotated_image_paths")
    known = set(frames)
    for image, row in zip(images, rows, strict=True):  # type: ignore[arg-type]
        frame = Path(image).stem
        if frame not in known:
            raise SettingsError(f"'{path}' annotates frame '{image}' of '{name}', which its folder does not have")
        try:
            rles = tuple({"size": list(size), "counts": row[track]["rle"]} for track in sorted(tracks & row.keys()))
        except (KeyError, TypeError, AttributeError):
            _refuse(path, f"no run lengths of '{name}' on frame '{image}'")
        yield frame, RunTruth(rles, f"'{name}', frame '{frame}'")


DATASETS = (
    Dataset(
        name="burst",
        task="refer",
        title="BURST, classes as expressions, as REM scores it (Athar et al., WACV 2023)",
        source="https://github.com/Ali2500/BURST-benchmark for annotations, whose licence it does not state; frames of "
        "TAO at https://motchallenge.net",
        tree="annotations/<split>/all_classes.json\nframes/<split>/<dataset>/<sequence>/<frame>.jpg, or images/...",
        names=_names,
        open=_open,
        # Not the official HOTA: J over frames, then videos, then classes.
        rules=("class-macro", "class-macro-exhaustive"),
        splits=("val", "test"),
    ),
)
