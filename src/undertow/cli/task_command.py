"""One command per task, made of what the task is: its kinds of cue, its settings, and what every run has.

`undertow estimate TASK`, and `--estimate` and `--max-memory` of every task, say what a run would take.
"""

import json as json_text
from collections.abc import Mapping, Sequence
from functools import cache, partial
from inspect import Parameter, Signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from undertow.base import SettingsError, set_threads
from undertow.base.options import listed, text_options
from undertow.cli.options import SectionedCommand, described, parameters, show_all
from undertow.cli.showing import say, show_table, shown_progress
from undertow.runs.request import Request, settings_of, usual_views

if TYPE_CHECKING:
    from undertow.backbones import Backbone
    from undertow.runs import Given, Task
    from undertow.runs.estimate import Estimate
    from undertow.video import Clip


# What is typed for a cue of each kind, and what it means; for some tasks, something else.
CUES: Mapping[str, tuple[str, str]] = {
    "mask": ("FILE[@F]", "Objects painted on frame F (a number or 1.5s), or annotations."),
    "box": ("X0,Y0,X1,Y1[@F][#ID]", "A box around an object, in pixels, or a file of annotations."),
    "point": ("X,Y[,-][@F][#ID]", "A point on an object, or outside it with -."),
    "text": ("WORD[@F][#ID]", "A word for an object (experimental)."),
    "anchor": ("FILE[@F]", "The class of every pixel of frame F; 0 is a class too."),
    "grid": ("N[@F]", "N by N points spread evenly over frame F."),
    "queries": ("FILE", "Points in a .csv file (x, y, perhaps frame), a .npz file or annotations."),
    "refer text": ("TEXT[@F][#ID]", 'What to find, such as "the red kite"; anywhere in the clip, or on frame F.'),
    "points point": ("X,Y[@F]", "A point on frame F (a number, or seconds like 1.5s)."),
    "points mask": ("FILE[@F]", "About 100 points on the objects painted on frame F."),
}
# Settings that say how cues are read.
OF_CUES = ("mask_colors", "mask_threshold", "soft", "segmenter")


def task_command(task: "Task", title: str, *, only_estimate: bool = False) -> typer.Typer:
    """Returns the command of a task.

    Args:
        task: The task.
        title: First line of the help.
        only_estimate: Whether it only says what a run would take.
    """
    cues = [_cue(kind, task.name) for kind in task.cues]
    settings = settings_of(task)
    of_cues = parameters([each for each in settings if each.name in OF_CUES], "Input")
    others = parameters([each for each in settings if each.name not in OF_CUES], "Method")

    def function(**typed: Any) -> None:
        run(task, typed | {"estimate": typed["estimate"] or only_estimate})

    # typer reads from here which parameters there are.
    function.__signature__ = Signature(  # type: ignore[attr-defined]
        [_VIDEO, *cues, *of_cues, *_FRAMES, *_MODEL, *others, _SET, *_run_options(task)]
    )
    amends = "" if task.amend is None else "; with other cues it changes a complete run"
    help = f"{title}\n\nRepeat the command to resume after an interruption{amends}."
    within = [(f"--set {name}=...", described(each)) for name, each in text_options(task.settings) if "." in name]
    made = typer.Typer(add_completion=False)
    made.command(task.name, cls=type("TaskCommand", (SectionedCommand,), {"within": within}), help=help)(function)
    return made


def run(task: "Task", typed: Mapping[str, Any]) -> None:
    """Does what was typed; whatever can be checked before the video is opened or the model loaded is checked first.

    Args:
        task: The task.
        typed: Values of the options by name.
    """
    from undertow.backbones import load
    from undertow.export import ExportSettings, check_format, export
    from undertow.runs import execute
    from undertow.runs.budget import parse_memory

    set_threads(typed["threads"])
    out, estimate = typed["out"], typed["estimate"]
    if out is None and not estimate:
        raise SettingsError("missing option '--out'; give a folder for the results")
    asked = Request.read(task, typed)
    settings, views = asked.settings, asked.views
    if not typed["overlay"]:
        views = tuple(view for view in views if not view.startswith("overlay."))
    budget = None if typed["max_memory"] is None else parse_memory(typed["max_memory"])
    exports = listed(typed["export"] or "")
    for name in exports:
        check_format(name, task.name)
    with asked.clip() as clip:
        if typed.get("render"):
            with shown_progress(typed["json"]) as progress:
                task.redraw(out, clip, settings, views, progress)  # type: ignore[misc]
            say(f"the run in {out} is drawn anew")
            return
        loaded = cache(lambda: load(typed["model"], device=typed["device"], dtype=typed["dtype"], sites=task.name))
        given = asked.given(task, clip, loaded)
        weigh(task, clip, given, loaded(), settings, views, budget, show=estimate, json=typed["json"])
        if estimate:
            return
        with shown_progress(typed["json"]) as progress:
            done = execute(
                task, out, clip, given, loaded(), settings, views=views, overwrite=typed["overwrite"], progress=progress
            ).done
            if task.redraw is not None and not done and _names_anew(task, settings):
                task.redraw(out, clip, settings, views, progress)
        again = clip.again
    say(f"results are in {out}")
    for name in exports:
        # Pictures of a stream have gone by.
        how = ExportSettings(video=Path(typed["video"])) if again else ExportSettings(edges="hard")
        with shown_progress(typed["json"]) as progress:
            finished = export(out, name, out.with_name(f"{out.name}.{name}"), how, progress=progress)
        say(finished.said(out.with_name(f"{out.name}.{name}")))


def _names_anew(task: "Task", settings: Any) -> bool:
    """Returns whether settings were given that a complete run can take over, since no result depends on them."""
    return any(getattr(settings, each.name) != each.default for each in settings_of(task) if not each.decides)


def _option(
    name: str, kind: Any, help: str, default: Any = None, *, section: str = "Run", flag: str = "", **more: Any
) -> Parameter:
    """Returns an option of a command; `more` goes to `typer.Option`."""
    declared = typer.Option(flag or f"--{name.replace('_', '-')}", help=help, rich_help_panel=section, **more)
    return Parameter(name, Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, declared])


def _cue(kind: str, task: str) -> Parameter:
    typed, help = CUES.get(f"{task} {kind}", CUES[kind])
    return _option(kind, list[str], help, [], section="Input", metavar=typed, show_default=False)


_input, _method = partial(_option, section="Input"), partial(_option, section="Method")
_VIDEO = Parameter(
    "video",
    Parameter.KEYWORD_ONLY,
    annotation=Annotated[
        str,
        typer.Argument(
            help="Video file, folder of frames, - for standard input, or camera:0.", rich_help_panel="Input"
        ),
    ],
)
_FRAMES = (
    _input("start", str | None, "First frame (a number, or seconds like 4.5s).", metavar="F"),
    _input("end", str | None, "Frame to stop before.", metavar="F"),
    _input("every", int, "Use every n-th frame only.", 1, metavar="N"),
    _input("raw", str | None, "Format of raw video in a pipe.", metavar="WIDTHxHEIGHT[:FORMAT][@RATE]", hidden=True),
    _input("skip_damaged", bool, "Skip frames that cannot be decoded, with a message.", False, hidden=True),
)
_MODEL = (
    _method(
        "model",
        str,
        "One of `undertow models`, folder or file; NAME=PATH reads these as that model.",
        "tiny",
        metavar="NAME",
    ),
    _method("size", str | None, "Model input as WIDTHxHEIGHT or tokens=N.", metavar="SIZE"),
)
_SET = _method("set", list[str], "Set anything by its name; --help-all shows all names.", [], metavar="NAME=VALUE")


def _run_options(task: "Task") -> list[Parameter]:
    """Returns the options that every run has; the usual help leaves out those that are hidden."""
    names = {view: view.partition(".")[0] for view in task.views}
    render = _option("render", bool, "Only apply OUT/names.json and draw again.", False)
    return [
        _option("out", Path | None, "Folder for the results.", metavar="FOLDER"),
        _option("views", str, f"Pictures: {', '.join(names.values())}, or none.", usual_views(task), metavar="VIEWS"),
        _option("overlay", bool, "Whether to draw the overlay.", True, flag="--overlay/--no-overlay", hidden=True),
        *([] if task.redraw is None else [render]),
        _option("export", str | None, "Formats of `undertow export`, into OUT.FORMAT.", metavar="FORMAT,..."),
        _option("overwrite", bool, "Replace the run in --out.", False, flag="--overwrite/--resume"),
        _option("estimate", bool, "Only print what the run would take.", False),
        _option("max_memory", str | None, "Refuse a run that would need more memory, such as 8GB.", metavar="SIZE"),
        _option("device", str, "cpu, cuda, cuda:1, mps or auto.", "auto", metavar="NAME"),
        _option("dtype", str, "float32, bfloat16 or auto.", "auto", metavar="NAME", hidden=True),
        _option("threads", int | None, "CPU threads.", metavar="N", hidden=True),
        _option("json", bool, "Print events as JSON lines.", False),
        _option("help_all", bool, "Show all options and exit.", False, is_eager=True, callback=show_all),
    ]


def weigh(
    task: "Task",
    clip: "Clip",
    given: "Given[Any]",
    backbone: "Backbone",
    settings: Any,
    views: "Sequence[str]",
    budget: int | None,
    *,
    show: bool,
    json: bool,
) -> None:
    """Shows what a run would take, if that is wanted, and refuses one that would not fit.

    Raises:
        MemoryBudgetError: if the run needs more than there is, or than is allowed.
    """
    from undertow.runs.estimate import check_budget
    from undertow.runs.estimate import estimate as estimate_run

    trial = show or budget is not None
    found = estimate_run(task, clip, given, backbone, settings, views=views, trial=trial, max_memory=budget)
    if show and json:
        print(json_text.dumps({"event": "estimate", **found.as_dict()}))
    elif show:
        _show(found)
    check_budget(found, budget)


def _show(found: "Estimate") -> None:
    """Prints an estimate as a small table."""
    from undertow.runs.budget import shown_memory

    height, width = found.size
    rows, columns = found.grid
    phase = max(found.phases, key=lambda name: found.phases[name])
    show_table(
        [
            ("frames", f"{_or_unknown(found.frames)} of {width}x{height}"),
            ("model input", f"{found.input_size[1]}x{found.input_size[0]}, {columns}x{rows} = {found.tokens} tokens"),
            ("passes", f"{found.passes_per_frame:g} per frame, {_or_unknown(found.passes)} in all"),
            ("time", _shown_time(found)),
            ("peak memory", f"{shown_memory(found.memory)} while {phase}"),
            *((f"  {name}", shown_memory(size)) for name, size in found.parts.items()),
            ("disk", shown_memory(found.disk or 0) + (" per frame" if found.frames is None else "")),
        ]
    )


def _or_unknown(number: float | None) -> str:
    return "unknown" if number is None else f"{number:g}"


def _shown_time(found: "Estimate") -> str:
    """Returns the time per frame and in all."""
    if found.seconds_per_frame is None:
        return "unknown"
    text = f"{found.seconds_per_frame:.2f} s per frame"
    if found.seconds is not None:
        minutes, seconds = divmod(round(found.seconds), 60)
        text += f", {minutes} min {seconds:02d} s in all"
    # What was too slow or too large to be measured whole is known less exactly.
    return text if found.measured_at == 1 else f"{text}\n(from {found.measured_at:.0%} of the tokens)"
