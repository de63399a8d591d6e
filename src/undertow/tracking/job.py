"""Tracking into a Run folder: what the command line and the app do with a video and its masks."""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from time import monotonic, perf_counter
from typing import Any

import torch

from undertow.backbones import Backbone
from undertow.base import Progress, SettingsError, SilentProgress
from undertow.masks import LabelMap, read_written_map, too_small
from undertow.runs.cues import described
from undertow.runs.folder import RunFolder, run_record
from undertow.runs.latency import Latency
from undertow.runs.render import LiveOverlay, write_overlay
from undertow.tracking import (
    MaskTracker,
    Refiner,
    TrackResult,
    TrackSettings,
    TunedKernels,
    check_masks,
    propagate,
    resolve,
)
from undertow.tracking.corrections import Correction, correct, new_masks
from undertow.video import Clip, Frame, FramesDigest, Video

log = logging.getLogger(__name__)

# Between two states; a state of `tiny` takes some 20 ms to write.
STATE_SECONDS = 5.0


def track_into(
    out: Path,
    video: Video | Clip,
    masks: Mapping[int, LabelMap],
    backbone: Backbone,
    settings: TrackSettings | None = None,
    *,
    cues: Sequence[Any] = (),
    overwrite: bool = False,
    overlay: bool = True,
    progress: Progress | None = None,
    latency: Latency | None = None,
    corrections: list[Correction] | None = None,
    tuned: TunedKernels | None = None,
    refiner: Refiner | None = None,
    state_seconds: float = STATE_SECONDS,
) -> Path:
    """Returns the Run folder with a mask for every frame, tables and, if wanted, the overlay.

    Called again after an interruption, however hard, it goes on where it was, and the run becomes what it would have
    been; a run that is complete is left as it is, or corrected if a mask is new. A stream that is interrupted from the
    keyboard has ended: tables and overlay are finished before the interruption goes on.

    Args:
        out: The folder to make, or of the run to continue.
        video: The video, or a clip of one.
        masks: Label maps by frame number.
        backbone: The model.
        settings: Options.
        cues: What to log in run.json as the user's input, by default the frame numbers of the masks.
        overwrite: Whether to replace a run that is there.
        overlay: Whether to render overlay.mp4.
        progress: Told of every frame.
        latency: Told how long every frame took.
        corrections: Told what became of masks that are new since a run was complete; see
            `undertow.tracking.corrections`.
        tuned: Kernels of objects; see `undertow.tracking.tuning`.
        refiner: What makes better masks of the tracker's; see `undertow.tracking.refining`.
        state_seconds: Least time between two states; an interruption costs no more work than that.

    Raises:
        SettingsError: if the folder holds another run or other files, or the video is a stream and the run there is
            complete or began with another.
        CueError, VideoError, MaskError: if a mask does not fit the video.
    """
    settings, progress = settings or TrackSettings(), progress or SilentProgress()
    given = check_masks(video, masks)
    resolved = resolve(settings, backbone, video.height, video.width, tuned=tuned is not None)
    for index, labels in given.items():
        if small := too_small(labels, resolved.grid):
            log.warning(
                "the mask of frame %d: %s smaller than a cell of the model's grid, and may be lost at once; "
                "use a larger --size",
                index,
                f"object {small[0]} is" if len(small) == 1 else f"objects {', '.join(map(str, small))} are",
            )
    tracker = MaskTracker(backbone, settings, tuned)
    about: dict[str, Any] = {
        "video": video.fingerprint(),
        "model": f"{resolved.model} {backbone.fingerprint()}",
        "settings": resolved.as_dict() | selection(video) | _extras(tuned, refiner),
        "cues": [*cues, *(described(index, labels) for index, labels in given.items())],
    }
    for frame in [] if overwrite else new_masks(Path(out), run_record(**about)):
        fresh = MaskTracker(backbone, settings, tuned)
        done = correct(Path(out), video, given, frame, fresh, run_record(**about), progress, refiner)
        if corrections is not None:
            corrections.append(done)
    run = RunFolder.open(out, **about, overwrite=overwrite)
    with run, ExitStack() as stack:
        if run.finished:
            if not video.again:
                # Nothing tells whether this is the stream of that run; to do nothing would lose a new one.
                raise SettingsError(
                    f"--out '{run.path}' already holds a complete run of a stream; add --overwrite to replace it, "
                    "or choose another --out"
                )
            if overlay and video.again and not (run.path / "overlay.mp4").exists():
                progress.start("overlay", video.frame_count)
                write_overlay(run, video, progress)
            return run.path
        if run.state is not None:
            tracker.restore(run.state)
        # A stream cannot be read again for the overlay, so it is drawn as frames come.
        live = stack.enter_context(LiveOverlay(run, video)) if overlay and not video.again else None
        progress.start("track", video.frame_count)
        progress.advance(run.frames)
        frames = _Frames(video, run, live)
        interrupted = False
        try:
            results = propagate(frames, given, tracker, refiner)
            _write(results, run, frames, min(given), tracker, live, progress, latency or Latency(), state_seconds)
        except KeyboardInterrupt:
            if video.again or not run.frames:
                raise
            interrupted = True
        run.finish()
        if live is not None:
            live.finish()
        elif overlay:
            progress.start("overlay", video.frame_count)
            write_overlay(run, video, progress)
        run.complete()
        if interrupted:
            raise KeyboardInterrupt
    return run.path


def _write(
    results: Iterable[tuple[Frame, TrackResult]],
    run: RunFolder,
    frames: "_Frames",
    first: int,
    tracker: MaskTracker,
    live: LiveOverlay | None,
    progress: Progress,
    latency: Latency,
    state_seconds: float,
) -> None:
    """Writes results as they come and, between batches, the state; `first` is the first frame with a mask."""
    written = monotonic()
    for frame, result in results:
        run.write_result(result)
        if live is not None:
            live.draw(frame, result.labels)
        seconds = perf_counter() - frames.arrived.pop(frame.index)
        latency.add(seconds)
        progress.advance(frame=frame.index, ms=round(1000 * seconds))
        between = run.frames % tracker.settings.batch == 0
        if between and frame.index >= first and monotonic() - written >= state_seconds:
            run.write_state(tracker.state(), frames.digest)
            written = monotonic()


class _Frames:
    """The frames a run still needs, on their way to the tracker: when each arrived, and what has been seen so far.

    Of a stream, the frames that the run had already are read again, and have to be the same.
    """

    def __init__(self, video: Video | Clip, run: RunFolder, live: LiveOverlay | None) -> None:
        self._video, self._run, self._live, self._done = video, run, live, run.frames
        self._seen = FramesDigest()
        self.arrived: dict[int, float] = {}

    @property
    def digest(self) -> str:
        """Of all frames of a stream up to the last that was taken; empty for a video that can be read again."""
        return "" if self._video.again else self._seen.hexdigest()

    def __iter__(self) -> Iterator[Frame]:
        for frame in self._left() if self._video.again else self._streamed():
            self.arrived[frame.index] = perf_counter()
            yield frame

    def _left(self) -> Iterator[Frame]:
        """Returns the frames that are left of a video that can be read at any place."""
        whole = self._video.video if isinstance(self._video, Clip) else self._video
        return whole.frames((self._video.numbers or range(0))[self._done :])

    def _streamed(self) -> Iterator[Frame]:
        """Yields the frames of a stream after those that the run had, which are only looked at."""
        for frame in self._video:
            self._seen.update(frame)
            if self._seen.count > self._done:
                yield frame
                continue
            if self._live is not None:
                self._live.draw(frame, read_written_map(self._run.mask_path(frame.name)))
            if self._seen.count == self._done:
                self._check()
        if self._seen.count < self._done:
            self._check()

    def _check(self) -> None:
        if self._seen.hexdigest() != self._run.digest:
            raise SettingsError(
                f"the run in '{self._run.path}' began with another stream; give it the same frames from the start, "
                "add --overwrite to replace it, or choose another --out"
            )


def _extras(tuned: TunedKernels | None, refiner: Refiner | None) -> dict[str, Any]:
    """Returns what else decides the results, for run.json."""
    extras: dict[str, Any] = {"threads": torch.get_num_threads()}
    if tuned is not None:
        extras["tuned"] = tuned.fingerprint()
    return extras if refiner is None else extras | {"refiner": refiner.facts()}


def selection(video: Video | Clip) -> dict[str, Any]:
    """Returns which frames of a video are tracked, for run.json."""
    chosen = (video.start, video.end, video.every) if isinstance(video, Clip) else (0, None, 1)
    return {"frames": dict(zip(("start", "end", "every"), chosen, strict=True))}
