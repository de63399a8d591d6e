"""What a session does, as a command line and as Python, to be copied into a terminal or a script."""

import shlex
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from undertow.app.work import is_whole
from undertow.runs import Cue

if TYPE_CHECKING:
    from undertow.app.session import Session


def command(session: "Session") -> str:
    """Returns the command that does the same; empty if the video is not known."""
    if session.project.path is None:
        return ""
    first, last = session.part
    part = [] if is_whole(session) else ["--start", str(first), "--end", str(last + 1)]
    said = [word for cue in session.cues() for word in (f"--{cue.kind}", _typed(cue))]
    model = [] if session.project.named == "tiny" else ["--model", session.project.named]
    size, tokens = session.settings.size, session.settings.tokens
    shown = [] if size is None else ["--size", f"{size[0]}x{size[1]}"]
    shown = shown if tokens is None else ["--size", f"tokens={tokens}"]
    video, out = str(session.project.path.absolute()), str(session.out.absolute())
    return shlex.join(["undertow", session.task, video, *said, *part, *model, *shown, "--out", out])


def python(session: "Session") -> str:
    """Returns lines of Python that make the same; empty if the video is not known, or there is nothing to make."""
    called = session.call()
    if session.project.path is None or not called:
        return ""
    first, last = session.part
    video = f"ut.Video({str(session.project.path.absolute())!r})"
    if not is_whole(session):
        video = f"ut.Clip({video}, {first}, {last + 1})"
    settings, plain = session.settings, type(session.settings)()
    changed = {each.name: getattr(settings, each.name) for each in fields(settings)}
    words = ", ".join(f"{name}={value!r}" for name, value in changed.items() if value != getattr(plain, name))
    more = f", settings=ut.{type(settings).__name__}({words})" if words else ""
    function, argument, result = called
    make = f"ut.{function}(video, {argument}, model={session.project.named!r}{more})"
    if result == "tracks":
        return f"import undertow as ut\n\nvideo = {video}\ntracks = {make}\nprint(tracks.tracks.shape)\n"
    return f"import undertow as ut\n\nvideo = {video}\nfor frame in {make}:\n    print(frame.index, frame.{result})\n"


def _typed(cue: Cue) -> str:
    """Returns a cue as it is typed, whatever the folder."""
    return f"{cue.value.absolute()}@{cue.frame}" if isinstance(cue.value, Path) else cue.typed
