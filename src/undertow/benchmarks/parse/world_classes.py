"""Benchmark worlds as semantic datasets: each pixel's class is the shape of what it shows."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from undertow.base import Progress, SettingsError, SilentProgress
from undertow.benchmarks.datasets.registry import Dataset, register
from undertow.benchmarks.parse.labelled import semantic_sample
from undertow.benchmarks.parse.sample import LabelCoding, SemanticSample, write_values
from undertow.benchmarks.parse.task import ParseTask
from undertow.benchmarks.worlds import STAMP, render_clips
from undertow.world import CLASSES, FIRST_BENCHMARK_SEED, SUITES, Picture, WorldClip, semantic_map

# Truth has a class everywhere; a prediction may leave it open.
CODING = LabelCoding(values=tuple(range(len(CLASSES))), void=(255,))
FOLDER = "classes"
# Of the family "entrances", clips in which a class that the first frame does not have comes into view for long.
LATE = tuple(
    WorldClip(f"late-{place:02d}", "entrances", FIRST_BENCHMARK_SEED + 2000 + offset)
    for place, offset in enumerate((0, 6, 7, 8, 9, 10, 11, 13, 14, 15, 19, 22))
)


def draw_classes(clip: WorldClip, folder: Path, progress: Progress | None = None) -> None:
    """Writes the class maps of a clip that are missing or older than its pictures into `folder/classes`."""
    progress = progress or SilentProgress()
    drawn = (folder / STAMP).stat().st_mtime_ns
    scene = None
    for time in range(clip.frames):
        path = folder / FOLDER / f"{time:05d}.png"
        if not path.is_file() or path.stat().st_mtime_ns < drawn:
            scene = scene or clip.scene()
            surfaces = scene.surfaces(float(time))
            # Only surfaces are looked at, and painting takes several times longer.
            picture = Picture(np.zeros((*surfaces.shape, 3), np.uint8), surfaces, surfaces)
            write_values(path, semantic_map(scene, picture))
        progress.advance(1, sequence=clip.name)


def _suite(suite: str, late: tuple[WorldClip, ...] = ()) -> Dataset:
    name = f"{suite}-classes"

    def clips() -> tuple[WorldClip, ...]:
        return late or SUITES[suite]

    def prepare(root: Path, progress: Progress | None) -> None:
        folders = render_clips(suite, clips(), root, progress)
        if progress is not None:
            progress.start(f"draw {name}", total=sum(clip.frames for clip in clips()))
        for clip, folder in zip(clips(), folders, strict=True):
            try:
                draw_classes(clip, folder, progress)
            except OSError as error:
                raise SettingsError(
                    f"classes of clip '{clip.name}' cannot be drawn into '{folder}' ({error.strerror}); "
                    "choose another --root"
                ) from error

    def names(root: Path, split: str) -> Sequence[str]:
        return [clip.name for clip in clips()]

    def open_one(root: Path, split: str, clip: str) -> SemanticSample:
        folder = root / suite / clip
        labels = {path.stem: path for path in sorted((folder / FOLDER).glob("*.png"))}
        return semantic_sample(name, clip, folder / "frames", labels, classes=CLASSES, coding=CODING)

    return Dataset(
        name=name,
        task="parse",
        title=f"benchmark clips of the procedural world, '{suite}', with the shape of things as their class"
        + ("; classes enter that frame 0 does not have" if late else ""),
        source="drawn on first use; nothing to fetch",
        tree=f"{suite}/<clip>/frames/<frame>.png\n{suite}/<clip>/{FOLDER}/<frame>.png",
        names=names,
        open=open_one,
        rules=ParseTask.rules,
        splits=("all",),
        prepare=prepare,
        may_show=True,
    )


WORLD_CLASSES = (*(register(_suite(suite)) for suite in SUITES), register(_suite("world-late", LATE)))
