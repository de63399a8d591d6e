"""One way to run every task: into a folder, in spite of interruptions, with events and views."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from time import monotonic
from typing import Any

import torch

from undertow.backbones import Backbone
from undertow.base import Progress, SettingsError, SilentProgress, counted
from undertow.runs.folder import Folder, check_place, check_same
from undertow.runs.plan import Plan
from undertow.runs.record import FRAMES, Record, digests
from undertow.runs.task import Given, Job, Task
from undertow.runs.views import Views, render
from undertow.video import Clip, Frame, FramesDigest, Video

log = logging.getLogger(__name__)

# Between two states; a state of `tiny` takes some 20 ms to write.
STATE_SECONDS = 5.0


def execute(
    task: Task,
    out: Path | str,
    clip: Clip | Video,
    given: Given[Any],
    backbone: Backbone,
    settings: Any,
    *,
    views: Sequence[str] = (),
    overwrite: bool = False,
    budget: int | None = None,
    progress: Progress | None = None,
    state_seconds: float = STATE_SECONDS,
) -> Folder:
    """Returns the folder of a complete run: the task's files and tables, and the views wanted.

    Called again after an interruption, however hard, it goes on where it was, and the run becomes what it would have
    been. A complete run is left as it is, but for views that are missing, or amended if the task can make it one of
    the cues given now. A stream that is interrupted from the keyboard has ended: its tables and views are finished
    before the interruption goes on.

    Args:
        task: What is done.
        out: The folder to make, or of the run to continue.
        clip: The video, or a part of it.
        given: The cues, as the task's `gather` returns them.
        backbone: The model.
        settings: Options, of the task's class.
        views: Names of the files of the pictures that are drawn, such as "overlay.mp4".
        overwrite: Whether to replace a run that is there, of whatever task.
        budget: Most bytes of memory that the run may need; `None` to leave that unchecked.
        progress: Notified after each frame.
        state_seconds: Least time between two states; an interruption costs no more work than that.

    Raises:
        SettingsError: if the folder holds another run or other files, or the video is a stream and the run there is
            complete or began with another.
        MemoryBudgetError: if the run would not fit.
    """
    out, progress = Path(out), progress or SilentProgress()
    clip = clip if isinstance(clip, Clip) else Clip(clip)
    check_place(out, overwrite=overwrite)
    resolved = task.resolve(settings, backbone, (clip.height, clip.width), given)
    if budget is not None:
        Plan.of(task, clip, given, backbone, settings, views).check(budget, "--max-memory allows")

    def start() -> Job:
        return task.start(settings, backbone, clip, given, out, progress)

    job = start()
    chosen = {"frames": {"start": clip.start, "end": clip.end, "every": clip.every}}
    record = Record(
        task=task.name,
        video=clip.fingerprint(),
        model=f"{backbone.card.name} {backbone.fingerprint()}",
        settings=resolved.as_dict() | chosen | {"threads": torch.get_num_threads()} | dict(job.facts),
        cues=given.log,
        files=(*task.files, FRAMES, *task.extras, *task.views),
        source=_source(clip),
        size=(clip.height, clip.width),
    )
    if stray := [name for name in views if not clip.again and name not in task.live]:
        log.warning(
            "%s cannot be drawn while frames come, and a stream comes once; save it to a file to have it", stray[0]
        )
    with Folder.open(out, record, overwrite=overwrite, amend=task.amend is not None) as run:
        if run.finished:
            if not clip.again:
                # Nothing tells whether this is the stream of that run; to do nothing would lose a new one.
                raise SettingsError(
                    f"--out '{out}' already holds a complete run of a stream; add --overwrite to replace it, or choose "
                    "another --out"
                )
            if digests(run.record.cues) != digests(record.cues):
                _amend(task, run, record, clip, given, start, progress)
            render(run, job, clip, [name for name in views if not (out / name).exists()], progress)
            return run
        if run.state is not None:
            job.restore(run.state)
        interrupted = _work(task, run, job, clip, views, progress, state_seconds)
        run.complete([name for name in task.files if "*" not in name])
        if interrupted:
            raise KeyboardInterrupt
    return run


def _source(clip: Clip) -> str:
    """Returns what a file or folder is called, without its suffix; nothing for a stream or an array."""
    label = clip.label.removeprefix("folder ")
    return Path(label.strip("'")).stem if clip.again and label.startswith("'") else ""


def _work(
    task: Task,
    run: Folder,
    job: Job,
    clip: Clip,
    views: Sequence[str],
    progress: Progress,
    state_seconds: float,
) -> bool:
    """Does the frames that are left, tables and views, and returns whether a stream was ended from the keyboard."""
    interrupted, earlier = False, run.done
    begun = saved = monotonic()
    with ExitStack() as stack:
        # A stream cannot be read again for its views, so they are drawn as frames come.
        live = None if clip.again else stack.enter_context(Views(run, job, clip, [v for v in views if v in task.live]))
        frames = _Frames(clip, run, live)
        progress.start(task.name, clip.frame_count)
        progress.advance(run.done)
        try:
            for result in job.run(frames, progress):
                run.note(result, job.write(run, result))
                if live is not None:
                    live.add(frames.waiting.pop(result.index))
                progress.advance(frame=result.index)
                if run.done % job.batch == 0 and monotonic() - saved >= state_seconds:
                    run.save(job.state(), frames.digest)
                    saved = monotonic()
        except KeyboardInterrupt:
            if clip.again or not run.done:
                raise
            interrupted = True
        else:
            # Tables and views may take long: should they be interrupted, no frame is done again.
            run.save(job.state(), frames.digest)
        seconds = max(monotonic() - begun, 1e-3)
        job.finish(run, progress)
        if live is None:
            render(run, job, clip, views, progress)
        else:
            live.finish()
    if done := run.done - earlier:
        log.info("%s in %.1f s, %.2f per second", counted(done, "frame"), seconds, done / seconds)
    return interrupted


def _amend(
    task: Task, run: Folder, record: Record, clip: Clip, given: Given[Any], start: Any, progress: Progress
) -> None:
    """Makes a complete run one of the cues given now, by as many changes as that takes."""
    changes = None if task.amend is None else task.amend(run, clip, given, start)
    if changes is None:
        check_same(run.path, run.record, record)
        return
    for change in changes:
        with run.stage() as staged:
            progress.start("amend", len(change.frames))
            for result in change.job.run(clip.video.frames(change.frames), progress):
                staged.note(result, change.job.write(staged, result))
                progress.advance(frame=result.index)
            for entry in change.log:
                staged.log(entry)
            change.job.finish(staged, progress)
            run.put_in_place(staged, task.views)


class _Frames:
    """The frames that a run still needs, on their way to the job, and what has been seen so far.

    Of a stream, the frames that the run had already are read again, and have to be the same.
    """

    def __init__(self, clip: Clip, run: Folder, live: Views | None) -> None:
        self._clip, self._run, self._live, self._had = clip, run, live, run.done
        self._seen = FramesDigest()
        # Those that are to be drawn once the job has a result of them.
        self.waiting: dict[int, Frame] = {}

    @property
    def digest(self) -> str:
        """Of all frames of a stream up to the last that was taken; empty for a video that can be read again."""
        return "" if self._clip.again else self._seen.hexdigest()

    def __iter__(self) -> Iterator[Frame]:
        for frame in self._left() if self._clip.again else self._streamed():
            if self._live is not None:
                self.waiting[frame.index] = frame
            yield frame

    def _left(self) -> Iterator[Frame]:
        """Returns the frames that are left of a video that can be read at any place."""
        return self._clip.video.frames((self._clip.numbers or range(0))[self._had :])

    def _streamed(self) -> Iterator[Frame]:
        """Yields the frames of a stream after those that the run had, which are only looked at."""
        for frame in self._clip:
            self._seen.update(frame)
            if self._seen.count > self._had:
                yield frame
                continue
            if self._live is not None:
                self._live.add(frame)
            if self._seen.count == self._had:
                self._check()
        if self._seen.count < self._had:
            self._check()

    def _check(self) -> None:
        if self._seen.hexdigest() != self._run.digest:
            raise SettingsError(
                f"the run in '{self._run.path}' began with another stream; give it the same frames from the start, "
                "add --overwrite to replace it, or choose another --out"
            )
