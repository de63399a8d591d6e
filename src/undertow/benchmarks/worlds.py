"""Benchmark worlds on disk: procedural clips, drawn once into frames and masks as DAVIS folders are."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from PIL import Image

from undertow.base import Progress, SettingsError, SilentProgress, atomic_path, write_json
from undertow.masks import write_label_map
from undertow.world import SUITES, WorldClip

# To be raised whenever a benchmark clip looks different from before, so that clips on disk are drawn anew.
VERSION = 1
STAMP = "clip.json"


def render_world(name: str, root: Path | str, progress: Progress | None = None) -> list[Path]:
    """Draws the clips of a benchmark world that are not yet in `root`, and returns the folder of each, in order.

    Each clip is `root/<name>/<clip>` with `frames/00000.png`, `masks/00000.png` (palette) and `clip.json`, which is
    written last. A clip whose `clip.json` says what would be drawn is kept; an interrupted one is continued.

    Args:
        name: A name of `undertow.world.SUITES`.
        root: Folder that holds benchmark worlds; made if it does not exist.
        progress: Told of every frame that is drawn.

    Raises:
        SettingsError: if the name is unknown, or `root` cannot be written.
    """
    if name not in SUITES:
        raise SettingsError(f"benchmark world '{name}' is not one of {', '.join(SUITES)}")
    return render_clips(name, SUITES[name], root, progress)


def render_clips(
    name: str, clips: Sequence[WorldClip], root: Path | str, progress: Progress | None = None
) -> list[Path]:
    """Draws the clips of a list called `name` that are not yet in `root`, as `render_world` does.

    Raises:
        SettingsError: if `root` cannot be written.
    """
    folders = [Path(root) / name / clip.name for clip in clips]
    missing = [pair for pair in zip(clips, folders, strict=True) if not _is_complete(*pair)]
    if missing:
        progress = progress or SilentProgress()
        progress.start(f"draw {name}", total=sum(clip.frames for clip, _ in missing))
        for clip, folder in missing:
            try:
                render_clip(clip, folder, progress)
            except OSError as error:
                raise SettingsError(
                    f"clip '{clip.name}' cannot be drawn into '{folder}' ({error.strerror}); choose another --root"
                ) from error
    return folders


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
    """Tells whether a folder has all of a clip, drawn as it would be drawn now."""
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
