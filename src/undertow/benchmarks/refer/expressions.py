"""Videos with expressions in one `meta_expressions.json`: MeViS, Ref-VPS and Ref-YouTube-VOS.

MeViS has expressions of motion, each of one or more objects; the truth of `valid_u` is public, that of `valid` not.
Ref-VPS has expressions of things that flow, burn or break, with regions that do not count. Its data had not been
published when this was written; the layout is that of Ref-YouTube-VOS, with one mask per clip and frame, because all of
a clip's expressions are of the same thing. The validation truth of Ref-YouTube-VOS was long kept by a server.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from undertow.base import SettingsError, inside, whole
from undertow.benchmarks.core.datasets import Dataset
from undertow.benchmarks.core.files import Finding, folder_frames, pair, read_json
from undertow.benchmarks.refer.sample import FileTruth, ReferSample, RunTruth, Truth

META = "meta_expressions.json"
MEVIS_SPLITS = ("valid_u", "valid", "train", "test")
# Validation videos of Ref-YouTube-VOS.
VIDEOS = 202
# What Ref-VPS paints where nothing is judged.
IGNORE = 255


def read_videos(path: Path) -> Mapping[str, Any]:
    """Returns what a `meta_expressions.json` says of each video, by name.

    Raises:
        SettingsError: naming the file, if it is missing, no JSON, or its entries are not of the format's kind.
    """
    content = read_json(path)
    videos = content.get("videos") if isinstance(content, dict) else None
    if not isinstance(videos, dict) or not videos:
        raise SettingsError(f"'{path}' has no 'videos'; fetch it again")
    for name, facts in videos.items():
        inside(path.parent, name, source=path, single=True)
        rows = facts.get("expressions") if isinstance(facts, dict) else None
        if not isinstance(rows, dict) or not rows:
            raise SettingsError(f"'{path}' has no expressions of '{name}'; fetch it again")
        for number, row in rows.items():
            inside(path.parent, number, source=path, single=True)
            if not isinstance(row, dict) or not isinstance(row.get("exp"), str):
                raise SettingsError(f"'{path}' has no text of expression '{number}' of '{name}'; fetch it again")
    return videos


def expression_names(videos: Mapping[str, Any], wanted: Sequence[str] | None = None) -> list[str]:
    """Returns `<video>/<expression>` for every expression, videos sorted and expressions in numeric order."""
    return [
        f"{video}/{number}"
        for video in sorted(videos if wanted is None else wanted)
        for number in sorted(videos[video]["expressions"], key=expression_order)
    ]


def expression_order(number: str) -> tuple[int, int, str]:
    """Returns a key by which "2" comes before "10"."""
    return (0, int(number), number) if number.isdecimal() and len(number) < 18 else (1, 0, number)


def check_frames(listed: Any, frames: Sequence[str], folder: Path, path: Path) -> list[str]:
    """Returns the frames that a file lists, all of which a folder must have; all of the folder's if it lists none.

    Raises:
        SettingsError: naming the first that is missing.
    """
    if listed is None:
        return list(frames)
    if not isinstance(listed, list) or not all(isinstance(name, str) for name in listed):
        raise SettingsError(f"'{path}' lists frames of '{folder.name}' that are no names; fetch it again")
    known = set(frames)
    for name in listed:
        if name not in known:
            raise SettingsError(f"'{path}' lists frame '{name}' of '{folder.name}', which '{folder}' does not have")
    return list(listed)


class _Expression(NamedTuple):
    """What a file says of one expression: its video and number, its row, and what is said of the video."""

    video: str
    number: str
    row: Mapping[str, Any]
    facts: Mapping[str, Any]


def _find(path: Path, name: str) -> _Expression:
    """Returns an expression by the name of its sample, `<video>/<expression>`."""
    video, _, number = name.rpartition("/")
    facts = read_videos(path)[video]
    return _Expression(video, number, facts["expressions"][number], facts)


def _mevis_meta(root: Path, split: str) -> Path:
    if split not in MEVIS_SPLITS:
        raise SettingsError(f"MeViS has no split '{split}'; its splits are {', '.join(MEVIS_SPLITS)}")
    return root / split / META


def _mevis_names(root: Path, split: str) -> Sequence[str]:
    return expression_names(read_videos(_mevis_meta(root, split)))


def _open_mevis(root: Path, split: str, name: str) -> ReferSample:
    path = _mevis_meta(root, split)
    found = _find(path, name)
    folder, masks = root / split / "JPEGImages" / found.video, root / split / "mask_dict.json"
    frames, size = folder_frames(folder, found.video)
    listed = check_frames(found.facts.get("frames"), frames, folder, path)
    private = not masks.is_file() or "anno_id" not in found.row
    return ReferSample(
        dataset="mevis",
        name=name,
        video=folder,
        frames=frames,
        size=size,
        texts=(found.row["exp"],),
        truth={} if private else _mevis_truth(masks, found.row["anno_id"], listed, name),
        private=private,
    )


def _mevis_truth(path: Path, ids: Any, frames: Sequence[str], name: str) -> dict[str, RunTruth]:
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


def _open_vps(root: Path, split: str, name: str) -> ReferSample:
    found = _find(root / META, name)
    folder = root / "JPEGImages" / found.video
    frames, size, files = pair(found.video, folder, root / "Annotations" / found.video)
    return ReferSample(
        dataset="ref-vps",
        name=name,
        video=folder,
        frames=frames,
        size=size,
        texts=(found.row["exp"],),
        truth={frame: FileTruth(path, ignore=(IGNORE,)) for frame, path in files.items()},
    )


def _youtube_meta(root: Path, split: str) -> Path:
    return root / "meta_expressions" / split / META


def _youtube_videos(root: Path) -> list[str]:
    """Returns the validation videos: those of the file of "valid" that are not in that of "test"."""
    valid, test = (_youtube_meta(root, split) for split in ("valid", "test"))
    names = sorted(read_videos(valid).keys() - read_videos(test).keys())
    if not names:
        raise SettingsError(f"every video of '{valid}' is in '{test}' too; check them")
    return names


def _youtube_names(root: Path, split: str) -> Sequence[str]:
    if split == "train":
        return expression_names(read_videos(_youtube_meta(root, split)))
    return expression_names(read_videos(_youtube_meta(root, "valid")), _youtube_videos(root))


def _open_youtube(root: Path, split: str, name: str) -> ReferSample:
    part = "train" if split == "train" else "valid"
    path = _youtube_meta(root, part)
    found = _find(path, name)
    folder = root / part / "JPEGImages" / found.video
    frames, size = folder_frames(folder, found.video)
    asked = check_frames(found.facts.get("frames"), frames, folder, path)
    masks = root / part / "Annotations" / found.video
    truth = _youtube_truth(masks, found.number, found.row.get("obj_id"), asked, path)
    return ReferSample(
        dataset="ref-youtube-vos",
        name=name,
        video=folder,
        frames=frames,
        size=size,
        texts=(found.row["exp"],),
        truth=truth,
        private=not truth,
    )


def _youtube_truth(folder: Path, number: str, object_id: object, frames: Sequence[str], path: Path) -> dict[str, Truth]:
    """Returns the annotations, if there are any: a folder per expression, or label maps and the object's id.

    Raises:
        SettingsError: if there are label maps, but the expression does not say which object it is of.
    """
    own = {file.stem: file for file in sorted((folder / number).glob("*.png"))}
    if own:
        return {frame: FileTruth(own[frame]) for frame in frames if frame in own}
    maps = {file.stem: file for file in sorted(folder.glob("*.png"))}
    if not maps:
        return {}
    if object_id is None:
        raise SettingsError(
            f"'{folder}' has annotations, but '{path}' has no obj_id for expression '{number}'; give the file that "
            "came with them, or remove them"
        )
    values = ((whole(object_id, "obj_id", least=1, most=65534, source=path),),)
    return {frame: FileTruth(maps[frame], values) for frame in frames if frame in maps}


def _youtube_audit(root: Path, split: str) -> Iterator[Finding]:
    if split == "train":
        return
    count = len(_youtube_videos(root))
    if count != VIDEOS:
        problem = f"valid without test has {count} videos where the published one has {VIDEOS}"
        yield Finding(_youtube_meta(root, "valid"), problem, "odd")


DATASETS = (
    Dataset(
        name="mevis",
        task="refer",
        title="MeViS (Ding et al., ICCV 2023)",
        source="https://github.com/henghuiding/MeViS; CC BY-NC-SA 4.0. Published numbers are of the split 'valid', "
        "whose truth is private; 'valid_u' is the public one",
        tree="<split>/meta_expressions.json\n<split>/mask_dict.json: not in valid and test\n"
        "<split>/JPEGImages/<video>/<frame>.jpg",
        names=_mevis_names,
        open=_open_mevis,
        rules=("expressions",),
        splits=MEVIS_SPLITS,
        counts=(("valid_u", 793), ("valid", 2236)),
    ),
    Dataset(
        name="ref-vps",
        task="refer",
        title="Ref-VPS (Bagchi et al., ReferEverything, 2024)",
        source="announced at https://github.com/miccooper9/ReferEverything, not published when this was written",
        tree=f"{META}\nJPEGImages/<clip>/<frame>.jpg\nAnnotations/<clip>/<frame>.png: 0, 1, and 255 where nobody knows",
        names=lambda root, split: expression_names(read_videos(root / META)),
        open=_open_vps,
        rules=("region",),
        splits=("all",),
        # 145 clips with four expressions each.
        counts=(("all", 580),),
    ),
    Dataset(
        name="ref-youtube-vos",
        task="refer",
        title="Ref-YouTube-VOS (Seo et al., URVOS, ECCV 2020)",
        source="https://youtube-vos.org/dataset/rvos; CC BY 4.0 for annotations. Its servers are closed; the authors "
        "answer requests for the validation truth at https://github.com/skynbe/Refer-Youtube-VOS",
        tree="meta_expressions/valid/meta_expressions.json\nmeta_expressions/test/meta_expressions.json\n"
        "valid/JPEGImages/<video>/<frame>.jpg\n"
        "valid/Annotations/<video>/<frame>.png with obj_id in the file, or valid/Annotations/<video>/<expression>/"
        "<frame>.png: only to score here\n"
        "meta_expressions/train and train, likewise: only to train on",
        names=_youtube_names,
        open=_open_youtube,
        rules=("expressions",),
        splits=("val", "train"),
        counts=(("val", 834),),
        audit=_youtube_audit,
    ),
)
