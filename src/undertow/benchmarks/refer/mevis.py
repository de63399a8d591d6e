"""MeViS: expressions of motion, each of one or more objects; the truth of `valid_u` is public, that of `valid` not."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from undertow.base import SettingsError
from undertow.benchmarks.datasets.reading import folder_frames, read_json
from undertow.benchmarks.datasets.registry import Dataset, register
from undertow.benchmarks.refer.expressions import check_frames, expression_names, read_videos
from undertow.benchmarks.refer.sample import ReferSample, RunTruth

SPLITS = ("valid_u", "valid", "train", "test")


def _meta(root: Path, split: str) -> Path:
    if split not in SPLITS:
        raise SettingsError(f"MeViS has no split '{split}'; its splits are {', '.join(SPLITS)}")
    return root / split / "meta_expressions.json"


def _names(root: Path, split: str) -> Sequence[str]:
    return expression_names(read_videos(_meta(root, split)))


def _open(root: Path, split: str, name: str) -> ReferSample:
    video, _, number = name.rpartition("/")
    path = _meta(root, split)
    facts = read_videos(path)[video]
    row = facts["expressions"][number]
    folder = root / split / "JPEGImages" / video
    frames, size = folder_frames(folder, video)
    listed = check_frames(facts.get("frames"), frames, folder, path)
    masks = root / split / "mask_dict.json"
    private = not masks.is_file() or "anno_id" not in row
    truth = {} if private else _truth(masks, row["anno_id"], listed, name)
    return ReferSample(
        dataset="mevis",
        name=name,
        video=folder,
        frames=frames,
        size=size,
        texts=(row["exp"],),
        truth=truth,
        private=private,
    )


def _truth(path: Path, ids: Any, frames: Sequence[str], name: str) -> dict[str, RunTruth]:
    """Returns the union of the run lengths of some objects by frame; an object that is not there has none.

    Raises:
        SettingsError: if an object is not in the file, or not with one entry for each frame.
    """
    content = read_json(path)
    if not isinstance(content, dict) or not isinstance(ids, list):
        raise SettingsError(f"'{path}' has no run lengths by object, or '{name}' no list of objects; fetch them again")
    tracks = []
    for number in map(str, ids):
        track = content.get(number)
        if not isinstance(track, list) or len(track) != len(frames):
            found = f"{len(track)} entries" if isinstance(track, list) else "no entries"
            raise SettingsError(f"'{path}' has {found} of object {number} for {len(frames)} frames of '{name}'")
        if not all(rle is None or isinstance(rle, dict) for rle in track):
            raise SettingsError(f"'{path}' has something other than run lengths of object {number}; fetch it again")
        tracks.append(track)
    return {
        frame: RunTruth(tuple(track[place] for track in tracks if track[place]), f"'{name}', frame '{frame}'")
        for place, frame in enumerate(frames)
    }


MEVIS = register(
    Dataset(
        name="mevis",
        task="refer",
        title="MeViS (Ding et al., ICCV 2023)",
        source="https://github.com/henghuiding/MeViS; CC BY-NC-SA 4.0. Published numbers are of the split 'valid', "
        "whose truth is private; 'valid_u' is the public one",
        tree="<split>/meta_expressions.json\n<split>/mask_dict.json: not in valid and test\n"
        "<split>/JPEGImages/<video>/<frame>.jpg",
        names=_names,
        open=_open,
        rules=("expressions",),
        splits=SPLITS,
        counts=(("valid_u", 793), ("valid", 2236)),
    )
)
