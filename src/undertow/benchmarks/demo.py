"""The demonstration: a procedural clip is drawn, tracked and scored against its ground truth, with no download."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

from undertow.backbones import load
from undertow.base import Progress, SettingsError, SilentProgress
from undertow.masks import LabelMap, object_ids, read_written_map, write_label_map
from undertow.metrics import DatasetSummary, SequenceEvaluator
from undertow.runs import execute
from undertow.tracking import TrackSettings, track
from undertow.tracking.cues import given_masks
from undertow.tracking.task import TASK
from undertow.video import Video, VideoWriter
from undertow.world import crossing_scene

FRAMES = 48
FPS = Fraction(24)


@dataclass(frozen=True)
class DemoResult:
    """What the demonstration showed: mean J&F in [0, 1] by method, where the files are, and a report to print."""

    scores: dict[str, float]
    folder: Path
    report: str

    @property
    def passed(self) -> bool:
        """Whether the model beat repeating the first mask."""
        return self.scores["tiny"] > self.scores["copy"]


def run_demo(
    out: Path, *, model: str = "tiny", overwrite: bool = False, progress: Progress | None = None, frames: int = FRAMES
) -> DemoResult:
    """Returns the scores of `tiny`, `copy` and `pixels` on a clip in which two look-alike objects cross.

    Writes below `out`: `crossing.mp4`, `first.png`, `truth/` and `run/`, the Run folder of `tiny`. The clip that is
    tracked is the compressed file, as it would be for a user.

    Args:
        out: Folder to make.
        model: What is measured as "tiny"; another name or folder is for trying one's own weights.
        overwrite: Whether to replace an earlier demonstration.
        progress: Advanced by every frame.
        frames: Length of the clip.

    Raises:
        SettingsError: if `out` exists and `overwrite` is false.
    """
    progress = progress or SilentProgress()
    if out.exists() and any(out.iterdir()):
        if not (out / "crossing.mp4").exists():
            raise SettingsError(f"--out '{out}' holds files that are not a demonstration; choose a new folder")
        if not overwrite:
            raise SettingsError(f"--out '{out}' holds a demonstration; add --overwrite or choose another --out")
        shutil.rmtree(out)

    scene = crossing_scene(frames=frames)
    truth: list[LabelMap] = []
    progress.start("draw", frames)
    with VideoWriter(out / "crossing.mp4", fps=FPS, width=scene.size[1], height=scene.size[0]) as writer:
        for index, picture in enumerate(scene.clip(frames)):
            writer.write(picture.image)
            truth.append(picture.labels)
            write_label_map(out / "truth" / f"{index:05d}.png", picture.labels)
            progress.advance()
    write_label_map(out / "first.png", truth[0])

    backbone = load(model, sites="track")
    with Video(out / "crossing.mp4") as video:
        given = given_masks(video, {0: truth[0]}, [{"mask": "first.png"}])
        masks = out / "run" / "masks"
        execute(TASK, out / "run", video, given, backbone, TrackSettings(), views=TASK.views, progress=progress)
        scores = {
            "tiny": _score(truth, (read_written_map(masks / f"{index:05d}.png") for index in range(frames))),
            "copy": _score(truth, (truth[0] for _ in range(frames))),
        }
        pixels = replace(TrackSettings(), preset="pixels")
        progress.start("pixels", frames)
        scores["pixels"] = _score(
            truth, (_told(progress, result.labels) for result in track(video, truth[0], backbone, pixels))
        )
    return DemoResult(scores, out, _report(scores, out))


def _score(truth: list[LabelMap], labels: Iterator[LabelMap]) -> float:
    """Returns the mean J&F over both objects, by the DAVIS protocol."""
    evaluator = SequenceEvaluator(object_ids(truth[0]))
    for predicted, true in zip(labels, truth, strict=True):
        evaluator.update(predicted, true)
    return DatasetSummary.of([evaluator.result()]).combined


def _told(progress: Progress, labels: LabelMap) -> LabelMap:
    progress.advance()
    return labels


def _report(scores: dict[str, float], out: Path) -> str:
    names = {
        "tiny": "`tiny`, frozen diffusion model",
        "pixels": "`pixels`, the same kernel on raw colours",
        "copy": "`copy`, the first mask repeated",
    }
    rows = "\n".join(f"| {names[name]} | {100 * scores[name]:.1f} |" for name in names)
    verdict = "**`tiny` did not beat `copy`: something is wrong with this installation.**"
    if scores["tiny"] > scores["copy"]:
        run = out / "run"
        verdict = f"The masks over the video are in `{run / 'overlay.mp4'}`, one mask per frame in `{run / 'masks'}`."
    return f"| method | J&F |\n|---|---:|\n{rows}\n\n{verdict}\n"
