"""Benchmark `world-process`: clips of things that change what they are, in place of Ref-VPS, which is not published."""

from collections.abc import Sequence
from pathlib import Path

from undertow.base import Progress
from undertow.benchmarks.core.datasets import Dataset
from undertow.benchmarks.core.files import folder_frames
from undertow.benchmarks.core.worlds import render_clips
from undertow.benchmarks.refer.sample import FileTruth, ReferSample
from undertow.world.processes import PROCESS_CLIPS, VOID

NAME = "world-process"


def _names(root: Path, split: str) -> Sequence[str]:
    return [f"{clip.name}/{number}" for clip in PROCESS_CLIPS for number in range(len(clip.scene().texts))]


def _open(root: Path, split: str, sample: str) -> ReferSample:
    name, _, number = sample.rpartition("/")
    clip = next(each for each in PROCESS_CLIPS if each.name == name)
    folder = root / NAME / name
    frames, size = folder_frames(folder / "frames", name)
    scene = clip.scene()
    return ReferSample(
        dataset=NAME,
        name=sample,
        video=folder / "frames",
        frames=tuple(frames),
        size=size,
        texts=(scene.texts[int(number)],),
        truth={frame: FileTruth(folder / "masks" / f"{frame}.png", ((1,),), (VOID,)) for frame in frames},
        kinds=(clip.family,),
        chance=1 / (1 + len(scene.things) - scene.parts),
    )


def _draw(root: Path, progress: Progress | None) -> None:
    render_clips(NAME, PROCESS_CLIPS, root, progress)


DATASETS = (
    Dataset(
        name=NAME,
        task="refer",
        title="procedural clips of an object that grows, melts, falls apart, fades or spreads",
        source="drawn on first use; nothing to fetch",
        tree=f"{NAME}/<clip>/frames/<frame>.png, masks/<frame>.png: 1, others, and 255 where nobody knows",
        names=_names,
        open=_open,
        rules=("region",),
        splits=("all",),
        prepare=_draw,
        may_show=True,
    ),
)
