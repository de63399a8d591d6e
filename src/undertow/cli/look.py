"""`undertow demo` and `undertow inspect`: seeing that and how it works."""

import json as jsons
import re
from pathlib import Path
from typing import Annotated

import typer

from undertow.base import SettingsError, set_threads
from undertow.cli.options import Device, Dtype, Json, Model, NoisingKind, Out, Overwrite, Size, Threads, sizes
from undertow.cli.showing import say, show_report, shown_progress


def demo(
    out: Out = Path("demo-out"), overwrite: Overwrite = False, threads: Threads = None, json: Json = False
) -> None:
    """Draw a clip in which two look-alike objects cross, track it, and score the result against the known truth."""
    from undertow.benchmarks.demo import run_demo

    set_threads(threads)
    with shown_progress(json) as progress:
        result = run_demo(out, overwrite=overwrite, progress=progress)
    if json:
        typer.echo(jsons.dumps({"event": "report", "passed": result.passed, "report": result.report}))
    else:
        show_report(result.report)
    if not result.passed:
        raise typer.Exit(1)


def inspect(
    video: Annotated[Path, typer.Argument(help="Video file or folder of frames.")],
    at: Annotated[str, typer.Option(help="Pixel x,y of frame A.")],
    frame: Annotated[int, typer.Option(help="Number of the frame that asks.")] = 0,
    to: Annotated[int, typer.Option(help="Number of the frame that is looked at.")] = 1,
    out: Out = Path("inspect.png"),
    model: Model = "tiny",
    size: Size = None,
    noising: NoisingKind = None,
    timestep: Annotated[int | None, typer.Option(help="Noise level, 0 to 999.")] = None,
    device: Device = None,
    dtype: Dtype = None,
    threads: Threads = None,
) -> None:
    """Show where one pixel looks in another frame: per head, mixed, and under the drift, dift and pixels kernels."""
    from PIL import Image

    from undertow.backbones import load
    from undertow.base import atomic_path
    from undertow.drawing import inspection_sheet
    from undertow.tracking import TrackSettings, inspect
    from undertow.video import Video

    set_threads(threads)
    match = re.fullmatch(r"\s*(\d{1,9}(?:\.\d*)?)\s*,\s*(\d{1,9}(?:\.\d*)?)\s*", at)
    if match is None:
        raise SettingsError(f"--at is '{at}'; give x,y in pixels, such as 320,180")
    if out.is_dir() or out.suffix.lower() not in (".png", ".jpg", ".jpeg", ".webp"):
        raise SettingsError(f"--out '{out}' does not name a picture; give a file ending in .png, .jpg or .webp")
    settings = TrackSettings(noising=noising, timestep=timestep, **sizes(size))
    with Video(video) as opened:
        backbone = load(model, device=device, dtype=dtype, sites="track")
        seen = inspect(opened, (float(match[1]), float(match[2])), frame, to, backbone, settings)
    titles = (f"frame {frame}, pixel {at}", f"frame {to}")
    sheet = inspection_sheet(seen.source, seen.target, seen.at, seen.maps, titles=titles)
    with atomic_path(out) as temporary:
        Image.fromarray(sheet).save(temporary)
    say(f"attention of pixel {at} is drawn in {out}")
