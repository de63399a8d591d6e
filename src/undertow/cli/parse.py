"""`undertow parse`."""

from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from undertow.base import SettingsError, set_threads
from undertow.cli.options import (
    Continue,
    Device,
    Dtype,
    End,
    Every,
    Json,
    Model,
    NoisingKind,
    Out,
    Seed,
    Size,
    SkipDamaged,
    Start,
    Threads,
    choose_views,
    listed,
    sizes,
)
from undertow.cli.showing import say, shown_progress
from undertow.cli.track import opened

Views = Annotated[str, typer.Option(help="Pictures to draw: overlay,contours,sidebyside, or none.")]


_VIDSEG = ("classifier", "memory", "discover", "novelty", "place", "refine")


def parse(
    video: Annotated[
        str, typer.Argument(help="Video file, folder of frames, - for standard input, or camera:0.", show_default=False)
    ],
    out: Out,
    anchor: Annotated[
        list[str], typer.Option("--anchor", help="FILE[@F]: the class of every pixel of frame F, 0 being a class too.")
    ] = [],  # noqa: B006
    clusters: Annotated[str, typer.Option(help="Number of clusters, or auto.")] = "20",
    quality: Annotated[
        Literal["turbo", "fast", "exact"] | None, typer.Option(help="How pixels are made of tokens.")
    ] = None,
    method: Annotated[
        Literal["vidseg", "propagate", "emerdiff"] | None,
        typer.Option(help="How tokens get their labels; propagate if there is an anchor."),
    ] = None,
    classifier: Annotated[
        Literal["knn", "mlp", "forest", "adaboost"] | None, typer.Option(help="What labels tokens by those labelled.")
    ] = None,
    memory: Annotated[
        Literal["previous", "bank"] | None, typer.Option(help="Tokens remembered: the previous batch's, or a bank.")
    ] = None,
    discover: Annotated[
        bool | None, typer.Option("--discover/--no-discover", help="Whether what is unlike all becomes a new cluster.")
    ] = None,
    agree: Annotated[
        bool | None, typer.Option("--agree/--no-agree", help="Whether labels agree along correspondences.")
    ] = None,
    novelty: Annotated[
        float | None, typer.Option(help="How many times farther than usual is unlike all that is known.")
    ] = None,
    place: Annotated[float | None, typer.Option(help="Weight of where a token is, beside what it looks like.")] = None,
    balance: Annotated[float | None, typer.Option(help="How far small classes are favoured, 0 to 1.")] = None,
    crf: Annotated[bool, typer.Option("--crf", help="Let a CRF decide about pixels.")] = False,
    batch: Annotated[int | None, typer.Option(help="Frames labelled together.")] = None,
    names: Annotated[Path | None, typer.Option(help="JSON file of what ids are called.")] = None,
    namer: Annotated[Path | None, typer.Option(help="Folder of a CLIP model that names clusters.")] = None,
    vocabulary: Annotated[Path | None, typer.Option(help="File of the words to choose from, one a line.")] = None,
    views: Views = "overlay",
    soft: Annotated[bool, typer.Option("--soft", help="Write the probabilities of every pixel too.")] = False,
    model: Model = "tiny",
    size: Size = None,
    noising: NoisingKind = None,
    start: Start = None,
    end: End = None,
    every: Every = 1,
    skip_damaged: SkipDamaged = False,
    raw: Annotated[
        str | None, typer.Option(help="Standard input or a pipe is raw video: WIDTHxHEIGHT[:FORMAT][@RATE].")
    ] = None,
    render: Annotated[
        bool, typer.Option("--render", help="Only apply names.json of a finished run, and draw it anew.")
    ] = False,
    estimate: Annotated[bool, typer.Option("--estimate", help="Only say what it would take.")] = False,
    overwrite: Continue = False,
    max_memory: Annotated[
        str | None, typer.Option("--max-memory", help="Refuse what would need more, such as 8GB.")
    ] = None,
    device: Device = None,
    dtype: Dtype = None,
    seed: Seed = 0,
    threads: Threads = None,
    json: Json = False,
) -> None:
    """Give every pixel of a video a class: those of labelled frames, or clusters where there are none.

    The same command again goes on after an interruption. Classes are named in OUT/names.json, which may be edited: new
    names and colours, `merge` into another id, `split` into regions; --render then draws the run anew.
    """
    from undertow.backbones import load
    from undertow.cli.estimate import weigh
    from undertow.parsing import ParseSettings
    from undertow.parsing.naming import NameTable
    from undertow.parsing.task import TASK, render_again
    from undertow.refinement.crf import CrfSettings
    from undertow.runs import Latency, execute, read_cue
    from undertow.runs.budget import parse_memory

    set_threads(threads)
    drawn = choose_views(listed(views), TASK.views)
    asked: dict[str, Any] = {
        "quality": quality, "method": method, "classifier": classifier, "memory": memory, "discover": discover,
        "novelty": novelty, "place": place, "balance": balance, "refine": agree, "batch": batch,
        "noising": noising,
    }  # fmt: skip
    if method is None and (clusters != "20" or any(asked[name] is not None for name in _VIDSEG)):
        # These say how tokens are classified, which the other methods do not do.
        asked["method"] = "vidseg"
    asked = {name: value for name, value in asked.items() if value is not None} | sizes(size)
    settings = ParseSettings(
        **asked, clusters=_clusters(clusters), crf=CrfSettings() if crf else None, probabilities=soft, seed=seed,
        names=names, namer=namer, vocabulary=vocabulary,
    )  # fmt: skip
    allowed = None if max_memory is None else parse_memory(max_memory)
    with opened(video, raw, start, end, every, skip_damaged) as clip:
        if render:
            table = None if names is None else NameTable.read(names)
            with shown_progress(json) as progress:
                render_again(out, clip, drawn, names=table, namer=namer, vocabulary=vocabulary, progress=progress)
            shown = f"; drawn: {', '.join(drawn)}" if drawn else ""
            say(f"names of {out / 'names.json'} are applied{shown}")
            return
        loaded = cache(lambda: load(model, device=device, dtype=dtype, sites=("parse", "correspond")))
        given = TASK.gather([read_cue("anchor", each, clip) for each in anchor], clip, loaded, settings)
        weigh(TASK, clip, given, loaded(), settings, drawn, allowed, show=estimate, json=json)
        if estimate:
            return
        latency = Latency()
        with shown_progress(json) as progress:
            execute(
                TASK, out, clip, given, loaded(), settings, views=drawn, overwrite=overwrite, progress=progress,
                latency=latency,
            )  # fmt: skip
            if namer is not None and not latency.count:
                # The run was complete already; its clusters are named all the same.
                table = None if names is None else NameTable.read(names)
                render_again(out, clip, drawn, names=table, namer=namer, vocabulary=vocabulary, progress=progress)
    if latency.count:
        say(f"{latency}")
    say(f"class maps, labels.json and names.json are in {out}")


def _clusters(text: str) -> int | Literal["auto"]:
    """Returns what --clusters asks for."""
    if text == "auto":
        return "auto"
    if not text.isdecimal() or len(text) > 9:
        raise SettingsError(f"--clusters is '{text}'; give a whole number, or auto")
    return int(text)
