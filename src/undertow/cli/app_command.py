"""`undertow app`: a page on this machine in which a person sees, corrects and exports."""

import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from undertow.base import SettingsError, set_threads
from undertow.base.options import sizes
from undertow.cli.options import Device, Model, Size, Threads
from undertow.cli.showing import INTERRUPTED, say

if TYPE_CHECKING:
    from undertow.backbones import Backbone


def app(
    source: Annotated[
        list[Path], typer.Argument(metavar="CLIP|RUN...", help="Videos, folders of frames, or runs of any task.")
    ],
    out: Annotated[Path | None, typer.Option(help="Folder of the run; by default CLIP.run, here.")] = None,
    video: Annotated[Path | None, typer.Option(help="The video of a run, to correct the run.")] = None,
    uploads: Annotated[
        Path | None, typer.Option(help="Folder for clips dropped on the page; without it none are accepted.")
    ] = None,
    model: Model = "tiny",
    size: Size = None,
    segmenter: Annotated[
        str | None, typer.Option(help="Model that makes masks of boxes and points; GrabCut if not given.")
    ] = None,
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1; 0 for any free port.", min=0, max=65535)] = 0,
    device: Device = None,
    threads: Threads = None,
) -> None:
    """Open clips or runs in a page on this machine: mark, follow, correct, export."""
    set_threads(threads)
    for each in source:
        if not each.exists():
            raise SettingsError(f"'{each}' does not exist; name a video, a folder of frames or a run")
    try:
        from undertow.app import Workspace, listen, serve
    except ModuleNotFoundError as error:
        raise SettingsError(f"the app needs {error.name}; install it with: pip install 'undertow[app]'") from None
    from undertow.parsing import ParseSettings
    from undertow.points import PointSettings
    from undertow.referring import ReferSettings
    from undertow.runs.record import read_record
    from undertow.tracking import TrackSettings

    if len(source) > 1 and (out is not None or video is not None):
        raise SettingsError("--out and --video are for one clip or run; leave them out")
    shown = sizes(size)
    settings = {
        "track": TrackSettings(segmenter=segmenter, **shown),
        # What the network saw is kept, so that points can be added at once.
        "points": PointSettings(keep_features=True, **shown),
        "parse": ParseSettings(**shown),
        "refer": ReferSettings(segmenter=segmenter, **shown),
    }

    def loaded(task: str) -> "Backbone":
        # Not before it is needed: the libraries of models take seconds to import.
        from undertow.backbones import load

        return load(model, device=device, sites=task)

    # Before anything is said: whoever asks for a port may have this app running already.
    listening = listen(port)
    workspace = Workspace(loaded, settings, uploads, model)
    try:
        for each in source:
            is_run = each.is_dir() and read_record(each) is not None
            if is_run and out is not None:
                raise SettingsError("a run stays in its folder; leave --out out")
            if not is_run and video is not None:
                raise SettingsError("--video is for a run; leave it out")
            place = each if is_run else out or Path(f"{_called(each, source)}.run")
            workspace.open(video if is_run else each, place)
            say(f"results are kept in {place}, edits in {place}.app")
    except Exception:
        workspace.close()
        listening.close()
        raise
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        serve(workspace, listening, lambda address: say(f"open {address} (Ctrl-C ends)"))
    except KeyboardInterrupt:
        say("interrupted; finished work is kept")
        # Threads that still make a mask or load a model are not waited for: what is finished is on disk.
        sys.stderr.flush()
        os._exit(INTERRUPTED)


def _called(clip: Path, others: list[Path]) -> str:
    """Returns what the run of a clip is called: after its folder too where another clip has its name."""
    path, stems = clip.absolute(), [each.absolute().stem for each in others]
    name = path.stem if stems.count(path.stem) == 1 else f"{path.parent.name}-{path.stem}"
    if len({each.absolute() for each in others}) < len(others):
        raise SettingsError(f"'{clip}' is named twice; name it once")
    return name
