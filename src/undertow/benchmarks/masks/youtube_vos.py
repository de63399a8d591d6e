"""YouTube-VOS 2018 and 2019: objects that join late, categories seen in training or not, and truth kept by a server."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from undertow.base import SettingsError, inside, whole
from undertow.benchmarks.core.datasets import Dataset
from undertow.benchmarks.core.files import Finding, pair, read_json
from undertow.benchmarks.masks.sample import MaskSample

SPLITS = ("valid", "train", "test")

# The 65 categories in `meta.json` of the training split. A category of another split that is not among them is
# "unseen": 26 in valid, 29 in test (Xu et al., "YouTube-VOS: A Large-Scale Video Object Segmentation Benchmark", 2018).
_SEEN = """
    airplane ape bear bike bird boat bucket bus camel cat cow crocodile deer dog dolphin duck eagle earless_seal
    elephant fish fox frisbee frog giant_panda giraffe hand hat hedgehog horse knife leopard lion lizard monkey
    motorbike mouse others owl paddle parachute parrot penguin person plant rabbit raccoon sedan shark sheep sign
    skateboard snail snake snowboard squirrel surfboard tennis_racket tiger toilet train truck turtle umbrella whale
    zebra
"""
SEEN = frozenset(_SEEN.split())


def _folder(root: Path, split: str) -> Path:
    """Returns the folder of a split: `root/<split>`, or `root` itself if that is the split's own folder."""
    if split not in SPLITS:
        raise SettingsError(f"YouTube-VOS has no split '{split}'; its splits are {', '.join(SPLITS)}")
    folder = root / split if (root / split).is_dir() else root
    for name in ("JPEGImages", "Annotations"):
        if not (folder / name).is_dir():
            raise SettingsError(
                f"'{root}' is no YouTube-VOS tree: '{folder / name}' is missing; check --root and --split"
            )
    return folder


def _videos(folder: Path) -> Mapping[str, Any]:
    content = read_json(folder / "meta.json")
    videos = content.get("videos") if isinstance(content, dict) else None
    if not isinstance(videos, dict) or not videos:
        raise SettingsError(f"'{folder / 'meta.json'}' names no videos; fetch it again")
    for name in videos:
        inside(folder, name, source=folder / "meta.json", single=True)
    return videos


def _names(root: Path, split: str) -> Sequence[str]:
    return sorted(_videos(_folder(root, split)))


def _objects(folder: Path, name: str) -> dict[int, tuple[tuple[str, ...], str | None]]:
    """Returns the frame names and the category of each object of a video."""
    meta = folder / "meta.json"
    objects: dict[int, tuple[tuple[str, ...], str | None]] = {}
    try:
        for number, facts in _videos(folder)[name]["objects"].items():
            category = facts.get("category")
            objects[whole(number, "object", least=1, most=254, source=meta)] = (
                tuple(sorted(map(str, facts["frames"]))),
                None if category is None else str(category),
            )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise SettingsError(f"'{meta}' does not say which objects '{name}' has, and on which frames") from error
    empty = [number for number, (frames, _) in objects.items() if not frames]
    if not objects or empty:
        what = f"frames for object {empty[0]}" if empty else "objects"
        raise SettingsError(f"'{meta}' names no {what} of '{name}'; fetch it again")
    return objects


def open_video(dataset: str, root: Path, split: str, name: str) -> MaskSample:
    """Returns one video, its objects as `meta.json` has them: where each starts, and on which frames it counts.

    The truth is private if some frame that counts has no annotation.

    Raises:
        SettingsError: naming what is missing.
    """
    folder = _folder(root, split)
    objects = _objects(folder, name)
    frames = folder / "JPEGImages" / name
    pairs = pair(name, frames, folder / "Annotations" / name)
    places = {frame: index for index, frame in enumerate(pairs.frames)}
    asked: dict[int, tuple[int, ...]] = {}
    starts: dict[int, int] = {}
    for number, (listed, _) in objects.items():
        missing = [frame for frame in listed if frame not in places]
        if missing:
            raise SettingsError(
                f"'{folder / 'meta.json'}' lists frame '{missing[0]}' of '{name}', which is not in '{frames}'"
            )
        if listed[0] not in pairs.files:
            raise SettingsError(
                f"object {number} of '{name}' has no first mask: '{folder / 'Annotations' / name / listed[0]}.png'"
            )
        starts[number] = places[listed[0]]
        asked[number] = tuple(places[frame] for frame in listed[1:])
    annotated = {places[frame] for frame in pairs.files}
    categories = {number: category for number, (_, category) in objects.items() if category is not None}
    return MaskSample(
        dataset=dataset,
        name=name,
        video=frames,
        frames=pairs.frames,
        size=pairs.size,
        masks=pairs.files,
        ids=tuple(sorted(objects)),
        starts=starts,
        groups={number: "seen" if word in SEEN else "unseen" for number, word in categories.items()},
        asked=asked,
        private=any(not annotated.issuperset(indices) for indices in asked.values()),
    )


def _audit(root: Path, split: str) -> Iterator[Finding]:
    folder = _folder(root, split)
    known = _videos(folder)
    for kind in ("JPEGImages", "Annotations"):
        extra = sorted(path.name for path in (folder / kind).iterdir() if path.is_dir() and path.name not in known)
        if extra:
            yield Finding(folder / kind / extra[0], "is not named in meta.json, so that it is not used", "odd")
    unnamed = [name for name, facts in known.items() if any("category" not in one for one in _facts(facts))]
    if unnamed:
        problem = f"has no category for objects of {len(unnamed)} videos, so that G cannot be computed"
        yield Finding(folder / "meta.json", problem, "odd")


def _facts(video: Any) -> list[Any]:
    objects = video.get("objects") if isinstance(video, dict) else None
    return [one for one in objects.values() if isinstance(one, dict)] if isinstance(objects, dict) else []


def _release(year: int, valid: int, test: int) -> Dataset:
    name = f"youtube-vos-{year}"
    return Dataset(
        name=name,
        task="masks",
        title=f"YouTube-VOS {year}, semi-supervised (Xu et al., ECCV 2018)",
        source=f"https://youtube-vos.org, VOS {year}; for research, videos under their own licences",
        tree="<split>/JPEGImages/<video>/<frame>.jpg\n<split>/Annotations/<video>/<frame>.png\n<split>/meta.json",
        names=_names,
        open=lambda root, split, video: open_video(name, root, split, video),
        rules=("youtube-vos", "late", "once-seen"),
        splits=SPLITS,
        counts=(("valid", valid), ("train", 3471), ("test", test)),
        audit=_audit,
    )


DATASETS = (_release(2018, 474, 508), _release(2019, 507, 541))
