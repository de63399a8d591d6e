"""Tracking into a Run folder: what the command line and the app do with a video and its masks."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from undertow.backbones import Backbone
from undertow.base import Progress, SilentProgress
from undertow.masks import LabelMap
from undertow.runs.folder import RunFolder
from undertow.runs.render import write_overlay
from undertow.tracking import TrackSettings, resolve, track
from undertow.video import Video


def track_into(
    out: Path,
    video: Video,
    masks: Mapping[int, LabelMap],
    backbone: Backbone,
    settings: TrackSettings | None = None,
    *,
    cues: Sequence[Any] = (),
    overwrite: bool = False,
    overlay: bool = True,
    progress: Progress | None = None,
) -> Path:
    """Returns the Run folder with a mask for every frame, tables and, if wanted, the overlay.

    Args:
        out: The folder to make.
        video: The video.
        masks: Label maps by frame number.
        backbone: The model.
        settings: Options.
        cues: What to log in run.json as the user's input, by default the frame numbers of the masks.
        overwrite: Whether to replace a run that is there.
        overlay: Whether to render overlay.mp4.
        progress: Told of every frame.
    """
    settings, progress = settings or TrackSettings(), progress or SilentProgress()
    resolved = resolve(settings, backbone, video.height, video.width)
    run = RunFolder.create(
        out,
        video_fingerprint=video.fingerprint(),
        model=resolved.model,
        settings=resolved.as_dict(),
        cues=list(cues) or [{"mask": index} for index in masks],
        overwrite=overwrite,
    )
    with run:
        progress.start("track", video.frame_count)
        for result in track(video, masks, backbone, settings):
            run.write_result(result)
            progress.advance(frame=result.index)
        run.finish()
        if overlay:
            progress.start("overlay", video.frame_count)
            write_overlay(run, video, progress)
    return run.path
