"""Parsing into a Run folder: what the command line does with a video and its anchors."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import monotonic, perf_counter
from typing import Any

import torch

from undertow.backbones import Backbone
from undertow.base import CueError, Progress, SettingsError, SilentProgress
from undertow.drawing import View
from undertow.masks import LabelMap, read_class_map
from undertow.parsing import Parser, ParseSettings, resolve_parse
from undertow.parsing.anchors import check_anchors, classes_of
from undertow.parsing.folder import NAMES, ParseFolder, read_labels
from undertow.parsing.naming import NameTable
from undertow.parsing.views import VIEWS, apply_names, draw_views
from undertow.runs.cues import described, split_cue
from undertow.runs.execute import STATE_SECONDS
from undertow.runs.latency import Latency
from undertow.runs.room import check_room
from undertow.video import Clip, Video

log = logging.getLogger(__name__)


def read_anchors(cues: Sequence[str], video: Video | Clip) -> dict[int, LabelMap]:
    """Returns the class map of each frame that `FILE[@F]` cues name; 0 is a class like any other, white is void.

    Raises:
        CueError: if a frame does not exist, or has two anchors.
        MaskError: if a file is not a class map of the video's size.
    """
    anchors: dict[int, LabelMap] = {}
    for cue in cues:
        name, index = split_cue(cue, video)
        if index in anchors:
            raise CueError(f"frame {index} has two anchors; give one of them")
        anchors[index] = read_class_map(name, size=(video.height, video.width))
    return anchors


def parse_into(
    out: Path,
    video: Video | Clip,
    anchors: Mapping[int, LabelMap],
    backbone: Backbone,
    settings: ParseSettings | None = None,
    *,
    cues: Sequence[Any] = (),
    names: NameTable | None = None,
    views: Sequence[View] = ("overlay",),
    overwrite: bool = False,
    progress: Progress | None = None,
    latency: Latency | None = None,
    state_seconds: float = STATE_SECONDS,
) -> Path:
    """Returns the Run folder with a class map for every frame, tables and the pictures wanted.

    Called again after an interruption, however hard, it goes on where it was, and the run becomes what it would have
    been; a run that is complete is left as it is, but for pictures that are missing.

    Args:
        out: The folder to make, or of the run to continue.
        video: The video, or a clip of one.
        anchors: Class maps by frame number; none for clusters.
        backbone: The model.
        settings: Options.
        cues: What to log in run.json as the user's input, by default the frame numbers of the anchors.
        names: What to call the classes; the rest is called by number.
        views: Which pictures to draw; none can be drawn of a stream, which cannot be read again.
        overwrite: Whether to replace a run that is there.
        progress: Told of every frame.
        latency: Told how long every frame took.
        state_seconds: Least time between two states; an interruption costs no more work than that.

    Raises:
        SettingsError: if the folder holds another run or other files.
        CueError, VideoError, MaskError: if an anchor does not fit the video.
    """
    settings, progress, latency = settings or ParseSettings(), progress or SilentProgress(), latency or Latency()
    parser = Parser(backbone, check_anchors(video, anchors), settings)
    resolved = resolve_parse(settings, backbone, video.height, video.width, anchored=bool(anchors))
    facts = {"task": "parse", **resolved.as_dict(), **_selection(video), "threads": torch.get_num_threads()}
    run = ParseFolder.open(
        out,
        video=video.fingerprint(),
        model=f"{resolved.model} {backbone.fingerprint()}",
        settings=facts,
        cues=[*cues, *(described(index, labels) for index, labels in anchors.items())],
        overwrite=overwrite,
    )
    if views and not video.again:
        log.warning("a stream cannot be read a second time, so nothing is drawn; save it to a file to have pictures")
        views = ()
    with run:
        if not run.finished:
            if not (run.path / NAMES).exists():
                # What an anchor names is a class; what is found without one stays a cluster until it has a name.
                (names or NameTable()).extended(NameTable.of(classes_of(anchors), "class")).write(run.path / NAMES)
            if run.state is not None:
                parser.restore(run.state)
            _write(parser, run, video, progress, latency, state_seconds)
            run.finish()
            apply_names(run, progress)
        missing = [view for view in views if not (run.path / f"{view}.mp4").exists()]
        draw_views(run, video, missing, progress)
        if not run.finished:
            run.complete()
    return run.path


def render_parsed(
    out: Path,
    video: Video | Clip,
    views: Sequence[View] = ("overlay",),
    *,
    names: NameTable | None = None,
    progress: Progress | None = None,
) -> Path:
    """Returns the folder of a finished run after its names.json was applied and its pictures drawn anew.

    Args:
        out: Folder of the run.
        video: The video that the run is of.
        views: Which pictures to draw; others that are there are removed, as they would show old names.
        names: A table to put in place of the rows of names.json that have the same ids.
        progress: Told of every frame.

    Raises:
        SettingsError: if there is no finished parsing run, it is of another video, or names.json is no table.
    """
    progress = progress or SilentProgress()
    record = check_room(Path(out)) if Path(out).is_dir() else None
    if record is None or not isinstance(record.get("settings"), dict) or record["settings"].get("task") != "parse":
        raise SettingsError(f"'{out}' holds no parsing run; name the --out of one")
    if record.get("video") != video.fingerprint():
        raise SettingsError(f"the run in '{out}' is of another video; give the one it was made of")
    about = {key: record[key] for key in ("video", "model", "settings", "cues")}
    with ParseFolder.open(out, **about) as run:
        if not run.finished:
            raise SettingsError(f"the run in '{out}' is not finished; run the command that began it again")
        if names is not None:
            names.extended(run.names(read_labels(run.path).ids)).write(run.path / NAMES)
        apply_names(run, progress)
        for view in VIEWS:
            if view not in views:
                (run.path / f"{view}.mp4").unlink(missing_ok=True)
        draw_views(run, video, views, progress)
        return run.path


def _write(
    parser: Parser,
    run: ParseFolder,
    video: Video | Clip,
    progress: Progress,
    latency: Latency,
    state_seconds: float,
) -> None:
    """Writes results as they come and, between batches, the state."""
    progress.start("parse", video.frame_count)
    progress.advance(run.frames)
    if run.frames == video.frame_count:
        # Interrupted after the last frame: only tables and pictures were missing.
        return
    written = monotonic()
    begun = perf_counter()
    for result in parser.run(video):
        run.write_parsed(result)
        seconds, begun = perf_counter() - begun, perf_counter()
        latency.add(seconds)
        progress.advance(frame=result.index, classes=len(result.areas), ms=round(1000 * seconds))
        if run.frames == parser.next and monotonic() - written >= state_seconds:
            run.write_state(parser.state())
            written = monotonic()


def _selection(video: Video | Clip) -> dict[str, Any]:
    """Returns which frames of a video are parsed, for run.json."""
    chosen = (video.start, video.end, video.every) if isinstance(video, Clip) else (0, None, 1)
    return {"frames": dict(zip(("start", "end", "every"), chosen, strict=True))}
