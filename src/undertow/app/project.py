"""A clip that is open, with a session for each task, and all that are open in one app."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from threading import RLock
from typing import Any

from undertow.app.classes import ClassSession
from undertow.app.edits import LOG
from undertow.app.jobs import Job, Jobs, News
from undertow.app.masks import MaskSession
from undertow.app.pictures import Frames
from undertow.app.points import PointSession
from undertow.app.session import Session
from undertow.app.words import WordSession
from undertow.backbones import Backbone
from undertow.base import SettingsError, printable
from undertow.runs.record import read_record
from undertow.tasks import TASKS
from undertow.video import Video

SESSIONS: tuple[type[Session], ...] = (MaskSession, PointSession, ClassSession, WordSession)
Models = Callable[[str], Backbone]


class Workspace:
    """What an app has open: clips, one queue for all of them, and the news.

    Attributes:
        projects: The clips, in the order in which they were opened.
        news: What has happened.
        jobs: What is to be done.
        uploads: Folder for clips that are dropped on the page; `None` if they are not taken.
        named: What the model is called on the command line.
    """

    def __init__(
        self,
        model: Models,
        settings: Mapping[str, Any] | None = None,
        uploads: Path | None = None,
        named: str = "tiny",
    ) -> None:
        """Begins without clips.

        Args:
            model: From the name of a task to the model; called when something is to be run, once for each.
            settings: Options of tasks, by name.
            uploads: Folder for clips that are dropped on the page.
            named: What the model is called on the command line.
        """
        self._model, self._settings, self.uploads, self.named = model, settings or {}, uploads, named
        self._models: dict[str, Backbone] = {}
        self._lock = RLock()
        self.projects: list[Project] = []
        self.news = News()
        self.jobs = Jobs(self._changed)

    def open(self, video: Path | None, out: Path) -> "Project":
        """Opens a clip, or a run; see `Project`."""
        project = Project(self, video, out)
        self.projects.append(project)
        return project

    def model(self, task: str) -> Backbone:
        """Returns the model of a task."""
        with self._lock:
            if task not in self._models:
                self._models[task] = self._model(task)
            return self._models[task]

    def settings(self, task: str) -> Any:
        """Returns the options of a task."""
        return self._settings.get(task) or TASKS[task].settings()

    def close(self, seconds: float | None = None) -> None:
        """Stops what is being done, and closes the clips.

        Args:
            seconds: How long a job may take to stop; one that takes longer keeps its clips open.
        """
        self.jobs.stop()
        self.jobs.wait(seconds=seconds)
        if self.jobs.current() is None:
            for project in self.projects:
                project.close()

    def _changed(self, job: Job) -> None:
        session: Session = job.owner
        session.tell("edit" if job.state in ("waiting", "running") else "done", {"frame": None, "what": job.what})


class Project:
    """A clip and what is made of it.

    Attributes:
        path: The video; `None` if only a run is known.
        video: Its frames.
        size: Their (height, width).
        named: What the model is called.
        frames: The frames as pictures.
        sessions: By the name of the task.
    """

    def __init__(self, workspace: Workspace, video: Path | None, out: Path) -> None:
        """Opens a clip, and the runs and edits that are there.

        Args:
            workspace: What it is opened in.
            video: The video; `None` to look at a run, with the video that its edits name if they do.
            out: The folder of the run of track, or of that of another task.

        Raises:
            SettingsError: if there is neither a video nor a run.
        """
        self._workspace, self.jobs, self.model = workspace, workspace.jobs, workspace.model
        self.named = workspace.named
        record = read_record(out) if out.is_dir() else None
        self.opened = "track" if record is None else record.task
        if self.opened not in TASKS:
            raise SettingsError(f"'{out}' is a run of {self.opened}, which the app does not know")
        if video is None:
            video = _named_video(out)
        if video is None and (record is None or record.size is None):
            raise SettingsError(f"'{out}' is neither a video nor a run; name one of them")
        self.path, self.video = video, None if video is None else Video(video)
        size = (self.video.height, self.video.width) if self.video else (record.size if record else None)
        self.size: tuple[int, int] = size or (1, 1)
        self.frames = Frames(self.video, self.size)
        self.sessions: dict[str, Session] = {}
        try:
            for kind in SESSIONS:
                place = out if kind.task == self.opened else _beside(out, self.opened, kind.task)
                self.sessions[kind.task] = kind(self, place, workspace.settings(kind.task))
        except SettingsError:
            self.close()
            raise

    @property
    def label(self) -> str:
        """What the clip is called."""
        return printable(self.path.name if self.path is not None else self.sessions[self.opened].out.name)

    @property
    def count(self) -> int:
        """Number of frames of the video, or up to the last of the runs."""
        if self.video is not None:
            return self.video.frame_count or 0
        return max((max(each.results.names, default=-1) for each in self.sessions.values()), default=-1) + 1

    def about(self) -> dict[str, Any]:
        """Returns what does not change: size, times of the frames in seconds, tasks, and formats of export."""
        times = [] if self.video is None else [float(self.video.time_of(number)) for number in range(self.count)]
        height, width = self.size
        return {
            "label": self.label, "width": width, "height": height, "count": self.count, "times": times,
            "tasks": {name: session.formats for name, session in self.sessions.items()}, "opened": self.opened,
            "editable": self.video is not None, "uploads": self._workspace.uploads is not None,
        }  # fmt: skip

    def tell(self, name: str, facts: Mapping[str, Any]) -> None:
        """Tells pages that something happened on this clip."""
        self._workspace.news.tell(name, {"clip": self.number, **facts})

    @property
    def number(self) -> int:
        """Its place among the clips that are open."""
        projects = self._workspace.projects
        return projects.index(self) if self in projects else len(projects)

    def close(self) -> None:
        """Stops what is being done on it, and lets go of its files."""
        for session in self.sessions.values():
            session.close()
        if self.video is not None:
            self.video.close()


def _beside(out: Path, opened: str, task: str) -> Path:
    """Returns the folder of the run of another task on the same clip."""
    base = out.name.removesuffix(f".{opened}")
    name = base if task == "track" and base != out.name else f"{base}.{task}"
    return out.with_name(name)


def _named_video(out: Path) -> Path | None:
    """Returns the video that the edits beside a run name, if it is there."""
    try:
        path = Path(str(json.loads(out.with_name(f"{out.name}.app").joinpath(LOG).read_text("utf-8"))["video"]))
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None
    return path if path.is_absolute() and path.exists() else None
