"""Benchmark worlds on disk: procedural clips, drawn once into frames and masks as DAVIS folders are."""

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from PIL import Image

from undertow.base import Progress, SettingsError, SilentProgress, atomic_path, write_json
from undertow.benchmarks.core.datasets import Dataset
from undertow.benchmarks.core.sample import Sample
from undertow.masks import write_label_map
from undertow.world import SUITES, WorldClip

# To be raised whenever a benchmark clip looks different from before, so that clips on disk are drawn anew.
VERSION = 1
STAMP = "clip.json"


def world_dataset(
    name: str,
    suite: str,
    open_clip: Callable[[WorldClip, Path], Sample],
    *,
    task: str,
    title: str,
    truth: str,
    rules: tuple[str, ...],
    draw: Callable[[WorldClip, Path], object] | None = None,
    clips: tuple[WorldClip, ...] = (),
) -> Dataset:
    """Returns a dataset whose clips are drawn into `root/<suite>/<clip>` on first use.

    Args:
        name: Its name.
        suite: Name of its folder, and of its clips in `undertow.world.SUITES`.
        open_clip: From a clip and its folder to the sample.
        task: What is asked of its videos.
        title: What it is, in a line.
        truth: Files with the truth in a clip's folder.
        rules: The ways of scoring it.
        draw: Writes whatever else the task needs into a clip's folder, if it is not there yet.
        clips: The clips, if the suite is not one of `undertow.world.SUITES`.
    """

    def chosen() -> tuple[WorldClip, ...]:
        return clips or SUITES[suite]

    def prepare(root: Path, progress: Progress | None) -> None:
        folders = render_clips(suite, chosen(), root, progress)
        if draw is None:
            return
        progress = progress or SilentProgress()
        progress.start(f"draw {name}", total=len(folders))
        for clip, folder in zip(chosen(), folders, strict=True):
            with _drawing(clip, folder):
                draw(clip, folder)
            progress.advance(1, sequence=clip.name)

    def open_one(root: Path, split: str, sample: str) -> Sample:
        return open_clip({clip.name: clip for clip in chosen()}[sample], root / suite / sample)

    return Dataset(
        name=name,
        task=task,
        title=title,
        source="drawn on first use; nothing to fetch",
        tree=f"{suite}/<clip>/frames/<frame>.png\n{suite}/<clip>/{truth}",
        names=lambda root, split: [clip.name for clip in chosen()],
        open=open_one,
        rules=rules,
        splits=("all",),
        prepare=prepare,
        may_show=True,
    )


def render_clips(
    name: str, clips: Sequence[WorldClip], root: Path | str, progress: Progress | None = None
) -> list[Path]:
    """Draws the clips of a suite that are not yet in `root`, and returns the folder of each, in order.

    Each clip is `root/<name>/<clip>` with `frames/00000.png`, `masks/00000.png` (palette) and `clip.json`, which is
    written last. A clip whose `clip.json` says what would be drawn is kept; an interrupted one is continued.

    Args:
        name: The suite.
        clips: Its clips.
        root: Folder that holds benchmark worlds; made if it does not exist.
        progress: Advanced by every frame that is drawn.

    Raises:
        SettingsError: if `root` cannot be written.
    """
    folders = [Path(root) / name / clip.name for clip in clips]
    missing = [pair for pair in zip(clips, folders, strict=True) if not _is_complete(*pair)]
    if missing:
        progress = progress or SilentProgress()
        progress.start(f"draw {name}", total=sum(clip.frames for clip, _ in missing))
        for clip, folder in missing:
            with _drawing(clip, folder):
                render_clip(clip, folder, progress)
    return folders


@contextmanager
def _drawing(clip: WorldClip, folder: Path) -> Iterator[None]:
    """Says what cannot be drawn where, if the system refuses."""
    try:
        yield
    except OSError as error:
        raise SettingsError(
            f"clip '{clip.name}' cannot be drawn into '{folder}' ({error.strerror}); choose another --root"
        ) from error


def render_clip(clip: WorldClip, folder: Path, progress: Progress | None = None) -> None:
    """Draws one clip into `folder`; frames that an interrupted drawing of the same clip has left are kept."""
    progress = progress or SilentProgress()
    begun = folder / "begun.json"
    if _read(begun) != _stamp(clip):
        # What lies here was drawn by another version or settings, or nothing does.
        for stale in (folder / "frames", folder / "masks"):
            shutil.rmtree(stale, ignore_errors=True)
        (folder / STAMP).unlink(missing_ok=True)
        write_json(begun, _stamp(clip))
    scene = clip.scene()
    for time in range(clip.frames):
        frame, mask = (folder / kind / f"{time:05d}.png" for kind in ("frames", "masks"))
        # The mask is written last, so a frame that has one is whole.
        if not (mask.is_file() and frame.is_file()):
            picture = scene.picture(float(time))
            with atomic_path(frame) as path:
                Image.fromarray(picture.image).save(path)
            write_label_map(mask, picture.labels)
        progress.advance(1, sequence=clip.name)
    write_json(folder / STAMP, _stamp(clip))
    begun.unlink()


def _stamp(clip: WorldClip) -> dict[str, object]:
    """Returns everything that decides a clip's pixels, as far as it is known."""
    return {"version": VERSION, **asdict(clip)}


def _is_complete(clip: WorldClip, folder: Path) -> bool:
    """Returns whether a folder has all of a clip, drawn as it would be drawn now."""
    if _read(folder / STAMP) != _stamp(clip):
        return False
    names = {f"{time:05d}.png" for time in range(clip.frames)}
    return all({path.name for path in (folder / kind).glob("*.png")} == names for kind in ("frames", "masks"))


def _read(path: Path) -> object:
    """Returns the content of a JSON file, None if there is none or it is broken."""
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return None
