"""A run as people ask for it: the options of a task's command, as the texts that were typed or that a table holds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from undertow.base import Option, SettingsError, options_of
from undertow.base.options import assigned, listed, sizes, text_options

if TYPE_CHECKING:
    from collections.abc import Callable

    from undertow.backbones import Backbone
    from undertow.runs.task import Given, Task
    from undertow.video import Clip

# The settings that the option `size` stands for.
SIZES = ("size", "tokens")


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked of a task; nothing is opened before `clip`.

    Attributes:
        video: A file, a folder of frames, "-" or "camera:0".
        settings: Options, of the task's class.
        views: Files of the pictures that are drawn.
        cues: Kind and text of each cue.
        start: The first frame, a number or seconds such as "4.5s".
        end: The frame before which to stop.
        every: Only every n-th frame is looked at.
        raw: Format of raw video in a pipe.
        skip_damaged: Whether frames that cannot be decoded are skipped.
    """

    video: str
    settings: Any
    views: tuple[str, ...] = ()
    cues: tuple[tuple[str, str], ...] = ()
    start: str | None = None
    end: str | None = None
    every: int = 1
    raw: str | None = None
    skip_damaged: bool = False

    @classmethod
    def read(cls, task: "Task", typed: Mapping[str, Any]) -> Self:
        """Returns what the values of a command's options ask for.

        Args:
            task: What is to be done.
            typed: Values by the names of options; those that are missing or `None` were not given. Cues and `set` are
                lists.

        Raises:
            SettingsError: if an option does not take its value.
        """
        from undertow.video import is_stream

        fields = {name: typed.get(name) for name, _ in text_options(task.settings) if name != "size"}
        if task.live and is_stream(typed["video"]) and fields["batch"] is None:
            # Frames that come live are not to wait for others.
            fields["batch"] = 1
        settings = assigned(task.settings(), typed.get("set") or (), fields | sizes(typed.get("size")))
        words = typed.get("views")
        views = choose_views(listed(usual_views(task) if words is None else words), task.views)
        own = {name: typed[name] for name in ("start", "end", "every", "raw", "skip_damaged") if name in typed}
        cues = tuple((kind, text) for kind in task.cues for text in typed.get(kind) or ())
        return cls(typed["video"], settings, views, cues, **own)

    def clip(self) -> "Clip":
        """Returns the frames that are asked for, opened; to be closed, or used as a context manager.

        Raises:
            VideoError: if there is no such video.
            SettingsError: if it has no such frames.
        """
        from undertow.video import Clip, Video, frame_number, is_stream, open_stream

        live = is_stream(self.video)
        if self.raw is not None and not live:
            raise SettingsError(f"--raw is for standard input and pipes, and '{self.video}' is neither; leave it out")
        whole = open_stream(self.video, raw=self.raw) if live else Video(self.video, skip_damaged=self.skip_damaged)
        first = 0 if self.start is None else frame_number(self.start, whole, "--start")
        return Clip(whole, first, None if self.end is None else frame_number(self.end, whole, "--end"), self.every)

    def given(self, task: "Task", clip: "Clip", loaded: "Callable[[], Backbone]") -> "Given[Any]":
        """Returns the cues in the form that the task works with, for the clip that was opened.

        Raises:
            CueError: if one cannot be used.
        """
        from undertow.runs.cues import read_cue

        return task.gather([read_cue(kind, text, clip) for kind, text in self.cues], clip, loaded, self.settings)


def settings_of(task: "Task") -> list[Option]:
    """Returns the options that the settings of a task are, but those that `size` stands for."""
    kind: type = task.settings
    return [each for each in options_of(kind) if each.name not in SIZES]


def usual_views(task: "Task") -> str:
    """Returns the names of the pictures that are drawn unless others are asked for."""
    # The usual one, and still pictures, which cost little.
    return ",".join(view.partition(".")[0] for view in task.views if view == task.views[0] or not view.endswith(".mp4"))


def choose_views(words: Sequence[str], files: Sequence[str]) -> tuple[str, ...]:
    """Returns those of the files of views whose names were typed, such as "overlay.mp4"; "none" for none.

    Raises:
        SettingsError: for a word that is no view.
    """
    names = {file.partition(".")[0]: file for file in files}
    stray = [word for word in words if word not in (*names, "none")]
    if stray:
        raise SettingsError(f"view '{stray[0]}' is not one of {', '.join((*names, 'none'))}")
    return tuple(file for name, file in names.items() if name in words)
