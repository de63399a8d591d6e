"""Ref-YouTube-VOS: expressions of the validation videos, whose truth was long kept by a server."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from undertow.base import SettingsError
from undertow.benchmarks.datasets.reading import folder_frames
from undertow.benchmarks.datasets.registry import Dataset, register
from undertow.benchmarks.refer.expressions import check_frames, expression_names, read_videos
from undertow.benchmarks.refer.sample import FileTruth, ReferSample, Truth
from undertow.benchmarks.tasks import Finding

VIDEOS = 202


def _meta(root: Path, split: str) -> Path:
    return root / "meta_expressions" / split / "meta_expressions.json"


def _videos(root: Path) -> list[str]:
    """Returns the validation videos: those of the file of "valid" that are not in that of "test"."""
    valid = read_videos(_meta(root, "valid"))
    test = read_videos(_meta(root, "test"))
    names = sorted(valid.keys() - test.keys())
    if not names:
        raise SettingsError(f"every video of '{_meta(root, 'valid')}' is in '{_meta(root, 'test')}' too; check them")
    return names


def _names(root: Path, split: str) -> Sequence[str]:
    return expression_names(read_videos(_meta(root, "valid")), _videos(root))


def _open(root: Path, split: str, name: str) -> ReferSample:
    video, _, number = name.rpartition("/")
    path = _meta(root, "valid")
    facts = read_videos(path)[video]
    row = facts["expressions"][number]
    folder = root / "valid" / "JPEGImages" / video
    frames, size = folder_frames(folder, video)
    asked = check_frames(facts.get("frames"), frames, folder, path)
    truth = _truth(root / "valid" / "Annotations" / video, number, row.get("obj_id"), asked, path)
    return ReferSample(
        dataset="ref-youtube-vos",
        name=name,
        video=folder,
        frames=frames,
        size=size,
        texts=(row["exp"],),
        truth=truth,
        private=not truth,
    )


def _truth(folder: Path, number: str, object_id: object, frames: Sequence[str], path: Path) -> dict[str, Truth]:
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
    if not str(object_id).isdecimal():
        raise SettingsError(
            f"'{folder}' has annotations, but '{path}' has no obj_id for expression '{number}'; give the file that "
            "came with them, or remove them"
        )
    values = ((int(str(object_id)),),)
    return {frame: FileTruth(maps[frame], values) for frame in frames if frame in maps}


def _audit(root: Path, split: str) -> Iterator[Finding]:
    count = len(_videos(root))
    if count != VIDEOS:
        yield Finding(
            _meta(root, "valid"), f"valid without test has {count} videos where the published one has {VIDEOS}", "odd"
        )


REF_YOUTUBE_VOS = register(
    Dataset(
        name="ref-youtube-vos",
        task="refer",
        title="Ref-YouTube-VOS (Seo et al., URVOS, ECCV 2020)",
        source="https://youtube-vos.org/dataset/rvos; CC BY 4.0 for annotations. Its servers are closed; the authors "
        "answer requests for the validation truth at https://github.com/skynbe/Refer-Youtube-VOS",
        tree="meta_expressions/valid/meta_expressions.json\nmeta_expressions/test/meta_expressions.json\n"
        "valid/JPEGImages/<video>/<frame>.jpg\n"
        "valid/Annotations/<video>/<frame>.png with obj_id in the file, or valid/Annotations/<video>/<expression>/"
        "<frame>.png: only to score here",
        names=_names,
        open=_open,
        rules=("expressions",),
        splits=("val",),
        counts=(("val", 834),),
        audit=_audit,
    )
)
