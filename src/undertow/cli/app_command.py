"""`undertow app`: a page on this machine in which a person sees, corrects and exports."""

from pathlib import Path
from typing import Annotated

import typer

from undertow.base import SettingsError, set_threads
from undertow.cli.options import Device, Model, Size, Threads, sizes
from undertow.cli.showing import say


def app(
    source: Annotated[Path, typer.Argument(metavar="CLIP|RUN", help="A video, a folder of frames, or a run of track.")],
    out: Annotated[Path | None, typer.Option(help="Folder of the run; by default CLIP.run, here.")] = None,
    video: Annotated[Path | None, typer.Option(help="The video that a run is of, to change it.")] = None,
    model: Model = "tiny",
    size: Size = None,
    segmenter: Annotated[
        str | None, typer.Option(help="Model that makes masks of boxes and points; GrabCut if not given.")
    ] = None,
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1; any that is free if 0.", min=0, max=65535)] = 0,
    device: Device = None,
    threads: Threads = None,
) -> None:
    """Open a clip or a run of track in a page on this machine: click, track, correct, export."""
    set_threads(threads)
    if not source.exists():
        raise SettingsError(f"'{source}' does not exist; name a video, a folder of frames or a run")
    try:
        from undertow.app import Session, serve
    except ModuleNotFoundError as error:
        raise SettingsError(f"the app needs {error.name}; install it with: pip install 'undertow[app]'") from None
    from undertow.backbones import load
    from undertow.runs.record import read_record
    from undertow.tracking import TrackSettings

    if source.is_dir() and read_record(source) is not None:
        if out is not None:
            raise SettingsError("a run stays in its folder; leave --out out")
        clip, out = video, source
    else:
        if video is not None:
            raise SettingsError("--video is for a run; leave it out")
        clip, out = source, out or Path(f"{source.absolute().stem}.run")
    session = Session(
        clip,
        out,
        lambda: load(model, device=device, sites="track"),
        TrackSettings(segmenter=segmenter, **sizes(size)),
    )
    say(f"results are kept in {out}, edits in {session.edits.folder}; Ctrl-C ends")
    serve(session, port, lambda address: say(f"open {address}"))
