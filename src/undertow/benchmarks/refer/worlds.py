"""Benchmark worlds and what can be said of them: `world-refer`, pictures, and `world-refer-videos`, clips.

The pictures are calm scenes and first frames of several families, drawn once into `world-refer`; the clips are calm
ones, drawn into `world-calm`, and those of `world-easy` and `world-hard`. Every expression is clearly true of the
objects it names and clearly false of all others.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from undertow.base import Progress, SettingsError, SilentProgress, atomic_path, write_json
from undertow.benchmarks.core.datasets import Dataset
from undertow.benchmarks.core.files import folder_frames, read_json
from undertow.benchmarks.core.worlds import render_clips
from undertow.benchmarks.refer.sample import FileTruth, ReferSample
from undertow.benchmarks.refer.scoring import PICTURE_KINDS
from undertow.masks import write_label_map
from undertow.world import (
    FIRST_BENCHMARK_SEED,
    SUITES,
    Expression,
    Scene,
    WorldClip,
    make_family_scene,
    scene_expressions,
)
from undertow.world.calm import calm_scene

# To be raised whenever a picture or an expression is another than before.
VERSION = 1
SIZE = (270, 480)
CALM = 24
FAMILIES = ("plain", "light", "deformation", "camera", "look-alikes", "camouflage")
EACH = 4
PER_PICTURE, PER_CLIP = 8, 4
VIDEO_SUITES: Mapping[str, tuple[WorldClip, ...]] = {
    "world-calm": tuple(WorldClip(f"calm-{n:02d}", "calm", FIRST_BENCHMARK_SEED + 5000 + n) for n in range(12)),
    **{suite: SUITES[suite] for suite in ("world-easy", "world-hard")},
}


def pictures() -> Iterator[tuple[str, Scene]]:
    """Yields the scenes of `world-refer` with their names."""
    for number in range(CALM):
        yield f"calm-{number:02d}", calm_scene(FIRST_BENCHMARK_SEED + 3000 + number, SIZE)
    for place, family in enumerate(FAMILIES):
        for number in range(EACH):
            seed = FIRST_BENCHMARK_SEED + 4000 + 100 * place + number
            yield f"{family}-{number:02d}", make_family_scene(family, seed, *SIZE)


def said_of(scene: Scene, frames: int, kinds: Sequence[str], most: int) -> list[Expression]:
    """Returns up to `most` expressions of a scene that speak of `kinds` alone, as different ones as there are."""
    found = [each for each in scene_expressions(scene, frames=frames) if not kinds or set(each.kinds) <= set(kinds)]
    shuffled = [found[int(index)] for index in np.random.default_rng((scene.seed, 41)).permutation(len(found))]
    chosen: list[Expression] = []
    counts: dict[str, int] = {}
    while shuffled and len(chosen) < most:
        # The next one is that whose kinds have been least spoken of.
        best = min(shuffled, key=lambda each: max(counts.get(kind, 0) for kind in each.kinds))
        shuffled.remove(best)
        chosen.append(best)
        for kind in best.kinds:
            counts[kind] = counts.get(kind, 0) + 1
    return chosen


def _draw_pictures(root: Path, progress: Progress | None) -> None:
    progress = progress or SilentProgress()
    progress.start("draw world-refer", total=CALM + EACH * len(FAMILIES))
    for name, scene in pictures():
        folder = root / "world-refer" / name
        if _facts(folder).get("version") != VERSION:
            try:
                folder.mkdir(parents=True, exist_ok=True)
                picture = scene.picture(0.0)
                with atomic_path(folder / "picture.png") as path:
                    Image.fromarray(picture.image).save(path)
                write_label_map(folder / "labels.png", picture.labels)
                _write(
                    folder,
                    said_of(scene, 2, PICTURE_KINDS, PER_PICTURE),
                    len(np.unique(picture.labels[picture.labels > 0])),
                )
            except OSError as error:
                raise SettingsError(
                    f"'{folder}' cannot be written ({error.strerror}); choose another --root"
                ) from error
        progress.advance(1, sequence=name)


def _draw_clips(root: Path, progress: Progress | None) -> None:
    for suite, clips in VIDEO_SUITES.items():
        for clip, folder in zip(clips, render_clips(suite, clips, root, progress), strict=True):
            if _facts(folder).get("version") != VERSION:
                scene = clip.scene()
                _write(folder, said_of(scene, clip.frames, (), PER_CLIP), len(scene.things))


def _write(folder: Path, said: Sequence[Expression], objects: int) -> None:
    write_json(
        folder / "expressions.json",
        {"version": VERSION, "objects": objects, "expressions": [asdict(each) for each in said]},
    )


def _facts(folder: Path) -> dict[str, Any]:
    path = folder / "expressions.json"
    facts = read_json(path) if path.is_file() else {}
    return facts if isinstance(facts, dict) else {}


def _sample(dataset: str, folder: Path, name: str, number: int, clip: WorldClip | None) -> ReferSample:
    facts = _facts(folder)
    try:
        said, objects = Expression(**facts["expressions"][number]), int(facts["objects"])
        labels = tuple(int(label) for label in said.labels)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise SettingsError(
            f"'{folder / 'expressions.json'}' is not as it was written; remove '{folder}' and run again"
        ) from error
    if clip is None:
        video, size = folder / "picture.png", SIZE
        frames: Sequence[str] = ("picture",)
        truth = {"picture": FileTruth(folder / "labels.png", (labels,))}
    else:
        video = folder / "frames"
        frames, size = folder_frames(video, name)
        truth = {frame: FileTruth(folder / "masks" / f"{frame}.png", (labels,)) for frame in frames}
    return ReferSample(
        dataset=dataset,
        name=f"{name}/{number}",
        video=video,
        frames=tuple(frames),
        size=size,
        texts=(said.text,),
        truth=truth,
        image=clip is None,
        kinds=tuple(said.kinds),
        chance=len(labels) / max(objects, 1),
    )


def _numbered(folders: Iterator[tuple[str, Path]]) -> list[str]:
    return [
        f"{name}/{number}" for name, folder in folders for number in range(len(_facts(folder).get("expressions", ())))
    ]


def _picture_names(root: Path, split: str) -> Sequence[str]:
    names = [
        *(f"calm-{number:02d}" for number in range(CALM)),
        *(f"{f}-{n:02d}" for f in FAMILIES for n in range(EACH)),
    ]
    chosen = [name for name in names if split == "all" or name.startswith("calm") == (split == "calm")]
    return _numbered((name, root / "world-refer" / name) for name in chosen)


def _open_picture(root: Path, split: str, sample: str) -> ReferSample:
    name, _, number = sample.rpartition("/")
    return _sample("world-refer", root / "world-refer" / name, name, int(number), None)


def _clips() -> dict[str, tuple[str, WorldClip]]:
    return {clip.name: (suite, clip) for suite, clips in VIDEO_SUITES.items() for clip in clips}


def _clip_names(root: Path, split: str) -> Sequence[str]:
    folders = [(name, root / suite / name, suite == "world-calm") for name, (suite, _) in _clips().items()]
    return _numbered((name, folder) for name, folder, calm in folders if split == "all" or calm == (split == "calm"))


def _open_clip(root: Path, split: str, sample: str) -> ReferSample:
    name, _, number = sample.rpartition("/")
    suite, clip = _clips()[name]
    return _sample("world-refer-videos", root / suite / name, name, int(number), clip)


DATASETS = (
    Dataset(
        name="world-refer",
        task="refer",
        title="pictures of procedural worlds and expressions of one object or group in them",
        source="drawn on first use; nothing to fetch",
        tree="world-refer/<picture>/picture.png, labels.png, expressions.json",
        names=_picture_names,
        open=_open_picture,
        rules=("images", "kinds"),
        splits=("all", "calm", "worlds"),
        prepare=_draw_pictures,
        may_show=True,
    ),
    Dataset(
        name="world-refer-videos",
        task="refer",
        title="calm clips and those of world-easy and world-hard, and expressions of one object or group in them",
        source="drawn on first use; nothing to fetch",
        tree="world-calm/<clip>/frames/<frame>.png, masks/<frame>.png, expressions.json\n"
        "world-easy/...\nworld-hard/...",
        names=_clip_names,
        open=_open_clip,
        rules=("expressions",),
        splits=("all", "calm", "worlds"),
        prepare=_draw_clips,
        may_show=True,
    ),
)
