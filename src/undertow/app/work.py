"""What takes long: running a session's task through `undertow.runs.execute`, estimating it, and exporting the run."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from undertow.app.jobs import Job
from undertow.app.results import Following
from undertow.base import SettingsError, counted
from undertow.export import Exporter, ExportSettings, check_format, export
from undertow.runs import Cue, execute
from undertow.runs.budget import shown_memory
from undertow.runs.estimate import check_budget, estimate
from undertow.runs.record import Record, digests
from undertow.runs.task import Given
from undertow.tasks import TASKS
from undertow.video import Clip, Video

if TYPE_CHECKING:
    from undertow.app.session import Session

# Seconds between two states of a run: stopping keeps all but the last frames.
STATE_SECONDS = 0.25


def ran(session: "Session", job: Job, cues: Sequence[Cue]) -> str:
    """Runs the task of a session: what is left of it, what a correction changes, or all of it."""
    task, backbone, earlier = TASKS[session.task], session.project.model(session.task), session.record
    settings = session.chosen
    with opened(session) as clip:
        given = task.gather(cues, clip, lambda: backbone, settings)
        job.check()
        check_budget(estimate(task, clip, given, backbone, settings, trial=False), None)
        again = earlier is not None and _begins_again(session, earlier, given)
        if again and not session.edits.own:
            raise SettingsError(f"the run in '{session.out}' cannot be changed so; start the app with another --out")
        if again:
            session.results.forget()
        execute(
            task, session.out, clip, given, backbone, settings,
            overwrite=again, progress=following(session, job), state_seconds=STATE_SECONDS,
        )  # fmt: skip
    session.kept()
    said = ["the whole clip is done" if is_whole(session) else "the part is done"]
    if earlier is not None and not again and (record := session.record) is not None:
        for entry in record.cues[len(earlier.cues) :]:
            if isinstance(found := entry.get("corrected"), Mapping):
                said.append(f"frames {found['first']} to {found['last']} were tracked again")
                said.append(f"changed: {found['changed']}" if found["changed"] else "none changed")
                session.changed += spans(found["changed"])
    return "; ".join(said)


def spans(text: str) -> tuple[tuple[int, int], ...]:
    """Returns first and last of each part of numbers such as "3, 7-9"."""
    parts = [part.split("-") for part in text.split(", ") if part]
    return tuple((int(part[0]), int(part[-1])) for part in parts)


def estimated(session: "Session", job: Job, cues: Sequence[Cue]) -> str:
    """Returns what a run of a session would take, for which a small part of it is run."""
    with opened(session) as clip:
        backbone, task = session.project.model(session.task), TASKS[session.task]
        given = task.gather(cues, clip, lambda: backbone, session.settings)
        job.check()
        found = estimate(task, clip, given, backbone, session.settings)
    job.check()
    seconds = "an unknown time" if found.seconds is None else f"about {found.seconds:.0f} s"
    frames = "all frames" if found.frames is None else counted(found.frames, "frame")
    return f"{seconds} for {frames}, and {shown_memory(found.memory)} of memory"


def exported(session: "Session", job: Job, name: str, template: str) -> str:
    """Exports the run of a session, and reads the files back if they can be."""
    session.prepare()
    target, video = _free(session.out.with_name(f"{session.out.name}.{name}")), session.project.path
    asked = ExportSettings(
        name=template or None, labels=session.called(), video=video, edges="hard" if video is None else "soft"
    )
    check = check_format(name, session.task).back is not Exporter.back
    done = export(session.out, name, target, asked, check=check, progress=following(session, job))
    return done.said(target)


def takes(name: str, task: str) -> bool:
    """Returns whether runs of a task can be exported in a format, with what is installed."""
    try:
        check_format(name, task)
    except (SettingsError, ImportError):
        return False
    return True


@contextmanager
def opened(session: "Session") -> Iterator[Clip]:
    """Opens a reader of its own: frames for the page are read elsewhere in the video at the same time."""
    assert session.project.path is not None
    first, last = session.part
    with Video(session.project.path) as video:
        yield Clip(video) if is_whole(session) else Clip(video, first, last + 1)


def part_of(session: "Session", record: Record) -> tuple[int, int]:
    """Returns the first and the last frame of a run."""
    frames: Any = record.settings.get("frames", {})
    end = frames.get("end")
    return int(frames.get("start") or 0), max(0, session.project.count - 1) if end is None else int(end) - 1


def following(session: "Session", job: Job) -> Following:
    """Returns what tells pages of each frame, and stops if that was asked for."""

    def step(stage: str, done: int, total: int | None) -> None:
        session.tell("progress", {"stage": stage, "done": done, "total": total})
        job.check()

    return Following(session.out, session.made, step)


def _free(path: Path) -> Path:
    """Returns a path beside what was exported before: a run that was corrected since is another export."""
    beside = (path.with_name(f"{path.name}-{number}") for number in count(2))
    return next(each for each in chain([path], beside) if not each.exists())


def _begins_again(session: "Session", earlier: Record, given: Given[Any]) -> bool:
    """Returns whether a run is to be replaced: of other cues, unless it is complete and can be changed into that."""
    if part_of(session, earlier) != session.part:
        return True
    if digests(earlier.cues) == digests(given.log):
        return False
    return earlier.complete is None or not session.amends(earlier, given)


def is_whole(session: "Session") -> bool:
    """Returns whether all frames are worked on."""
    return session.part == (0, session.project.count - 1)
