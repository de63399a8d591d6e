"""BADJA: joints of animals on about every fifth frame, in its own layout or in one folder per sequence."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from undertow.base import SettingsError, inside, whole
from undertow.benchmarks.core.datasets import Dataset
from undertow.benchmarks.core.files import folder_frames, read_json
from undertow.benchmarks.points.sample import PointSample

# The sequences out of DAVIS, on which point trackers are compared.
DAVIS_SEQUENCES = ("bear", "camel", "cows", "dog", "dog-agility", "horsejump-high", "horsejump-low")
MOST_FRAME, MOST_TRACKS = 10**6, 10_000


def _names(root: Path, split: str) -> Sequence[str]:
    folder = root / "joint_annotations"
    found = sorted(path.stem for path in folder.glob("*.json"))
    if not found:
        raise SettingsError(f"'{root}' has no joint annotations: '{folder}' has no .json file; check --root")
    return [name for name in found if split == "all" or name in DAVIS_SEQUENCES]


def _open(root: Path, split: str, name: str) -> PointSample:
    path = root / "joint_annotations" / f"{name}.json"
    rows = read_json(path)
    if not isinstance(rows, list) or not rows:
        raise SettingsError(f"'{path}' is no list of annotated frames; fetch it again")
    try:
        images = [inside(root, row["image_path"], source=path) for row in rows]
        files = [inside(root, row["segmentation_path"], source=path) for row in rows]
        masks = {image.stem: file for image, file in zip(images, files, strict=True)}
        joints = np.array([row["joints"] for row in rows], np.float64)
        shown = np.array([row["visibility"] for row in rows], bool)
    except (KeyError, TypeError, ValueError) as error:
        raise SettingsError(
            f"'{path}' needs image_path, segmentation_path, joints and visibility in every row, of one length ({error})"
        ) from error
    if shown.ndim != 2 or shown.shape[1] > MOST_TRACKS or joints.shape != (*shown.shape, 2):
        raise SettingsError(f"'{path}' has joints of shape {joints.shape} and visibility of {shown.shape}; fix it")
    # Joints are rows and columns of pixels, and the centre of pixel (0, 0) is at (0.5, 0.5).
    places = joints[..., ::-1] + 0.5
    return _sample("badja", name, images[0].parent, masks, path, [image.stem for image in images], places, shown)


def _folder_names(root: Path, split: str) -> Sequence[str]:
    names = sorted(path.parent.name.removeprefix("davis-") for path in root.glob("davis-*/points.json"))
    if not names:
        raise SettingsError(f"'{root}' has no folder davis-<sequence> with points.json inside; check --root")
    return names


def _open_folder(root: Path, split: str, name: str) -> PointSample:
    folder = root / f"davis-{name}"
    path = folder / "points.json"
    facts = read_json(path)
    names, _ = folder_frames(folder / "frames", name)
    try:
        numbers = [whole(each, "annotated frame", most=MOST_FRAME, source=path) for each in facts["annotated_frames"]]
        annotated, tracks = {number: row for row, number in enumerate(dict.fromkeys(numbers))}, facts["tracks"]
        if len(annotated) > len(names) or len(tracks) > MOST_TRACKS:
            raise SettingsError(
                f"'{path}' has {len(tracks)} tracks on {len(annotated)} frames; give at most {MOST_TRACKS} on the "
                f"{len(names)} frames of '{folder / 'frames'}'"
            )
        places = np.zeros((len(annotated), len(tracks), 2))
        shown = np.zeros(places.shape[:2], bool)
        for column, track in enumerate(tracks):
            for frame, place in track["visible"].items():
                row = annotated[int(frame)]
                # Whole numbers are centres of pixels in this file.
                places[row, column], shown[row, column] = np.asarray(place, np.float64) + 0.5, True
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise SettingsError(f"'{path}' needs annotated_frames and tracks with visible places ({error})") from error
    masks = {file.stem: file for file in sorted((folder / "masks").glob("*.png"))}
    frames = [f"{frame:05d}" for frame in annotated]
    return _sample("badja-folders", name, folder / "frames", masks, path, frames, places, shown)


def _sample(
    dataset: str,
    name: str,
    video: Path,
    masks: dict[str, Path],
    source: Path,
    annotated: Sequence[str],
    places: np.ndarray,
    shown: np.ndarray,
) -> PointSample:
    """Returns a sample from the joints (frames, joints, 2) of its annotated frames; others are hidden everywhere."""
    frames, size = folder_frames(video, name)
    for frame in annotated:
        if frame not in frames:
            raise SettingsError(f"'{source}' annotates frame '{frame}', which '{video}' does not have; add it")
        if frame not in masks or not masks[frame].is_file():
            raise SettingsError(f"sequence '{name}' has no mask of frame '{frame}', whose area the rules need; add it")
    tracks = np.zeros((places.shape[1], len(frames), 2))
    occluded = np.ones(tracks.shape[:2], bool)
    for frame, place, seen in zip(annotated, places, shown, strict=True):
        tracks[:, frames.index(frame)], occluded[:, frames.index(frame)] = place, ~seen
    return PointSample(
        dataset=dataset,
        name=name,
        video=video,
        frames=frames,
        size=size,
        tracks=tracks,
        occluded=occluded,
        masks={frame: masks[frame] for frame in annotated},
    )


DATASETS = (
    Dataset(
        name="badja",
        task="points",
        title="BADJA, joints of animals (Biggs et al., ACCV 2018)",
        source="https://github.com/benjiebob/BADJA; frames and masks of DAVIS 2017 in full resolution",
        tree="joint_annotations/<sequence>.json\nDAVIS/JPEGImages/Full-Resolution/<sequence>/<frame>.jpg\n"
        "DAVIS/Annotations/Full-Resolution/<sequence>/<frame>.png",
        names=_names,
        open=_open,
        rules=("badja",),
        splits=("davis", "all"),
        counts=(("davis", len(DAVIS_SEQUENCES)),),
    ),
    Dataset(
        name="badja-folders",
        task="points",
        title="joints in folders of their own, scored as BADJA",
        source="your own",
        tree="davis-<sequence>/frames/<frame>.jpg\ndavis-<sequence>/masks/<frame>.png\n"
        "davis-<sequence>/points.json: annotated_frames, and tracks with visible {frame: [x, y]}, pixel centres whole",
        names=_folder_names,
        open=_open_folder,
        rules=("badja", "first"),
        splits=("all",),
    ),
)
