"""Times the stages of several models, and writes what was found as tables and as a figure."""

import csv
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch

from undertow.backbones import Backbone, get_card, list_cards, load, random_backbone
from undertow.base import Progress, SilentProgress, atomic_path, resolve_device, resolve_dtype, write_json, write_text
from undertow.benchmarks.report import charts
from undertow.benchmarks.report.tables import Table
from undertow.benchmarks.speed.ceiling import Ceiling
from undertow.benchmarks.speed.stages import OURS, Timing, time_stages
from undertow.tracking import TrackSettings

REPORT = "speed.md"


@dataclass(frozen=True)
class SpeedSettings:
    """What is timed.

    Attributes:
        models: Names; with `random_weights` only the shapes of models are needed.
        size: Height and width of the frames, in pixels.
        settings: Of tracking.
        references: Frames that each is compared with.
        repeats: How often each way is timed; the least counts.
        random_weights: Whether models have random weights in their published shape.
        device: Where; `None` for the best device there is.
        dtype: Number type; `None` for what suits the device.
    """

    models: tuple[str, ...] = ("tiny",)
    size: tuple[int, int] = (480, 854)
    settings: TrackSettings = field(default_factory=TrackSettings)
    references: int = 8
    repeats: int = 3
    random_weights: bool = False
    device: str | None = None
    dtype: str | None = None


def run_speed(asked: SpeedSettings, out: Path, progress: Progress | None = None) -> str:
    """Times every stage and way, writes speed.csv, speed.json, speed.png and speed.md, and returns the last."""
    progress = progress or SilentProgress()
    device = resolve_device(asked.device)
    dtype = resolve_dtype(asked.dtype, device)
    ceiling = Ceiling.measured(device, dtype)
    found: list[Timing] = []
    progress.start("bench speed", None)
    for name in asked.models:
        backbone = _loaded(name, asked, device, dtype)
        single = None if dtype == torch.float32 else _loaded(name, asked, device, torch.float32)
        for timing in time_stages(
            backbone, asked.settings, asked.size, ceiling, references=asked.references, repeats=asked.repeats,
            float32=single,
        ):  # fmt: skip
            found.append(timing)
            progress.advance(model=name, stage=timing.stage, way=timing.way)
    facts = {
        "device": str(device), "dtype": str(dtype).removeprefix("torch."), "threads": torch.get_num_threads(),
        "torch": torch.__version__, "width": asked.size[1], "height": asked.size[0], **asdict(ceiling),
    }  # fmt: skip
    report = _report(found, facts)
    write_json(out / "speed.json", {"machine": facts, "stages": [asdict(each) for each in found]})
    with atomic_path(out / "speed.csv") as path, path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [each.name for each in fields(Timing)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(each) for each in found)
    with atomic_path(out / "speed.png") as path:
        charts.save(_figure(found), path, dpi=150)
    write_text(out / REPORT, report)
    return report


def _loaded(name: str, asked: SpeedSettings, device: torch.device, dtype: torch.dtype) -> Backbone:
    """Returns a model, whole, so that what is left out otherwise can be timed too."""
    if asked.random_weights and name in {card.name for card in list_cards() if not card.embedded}:
        return random_backbone(get_card(name), device=device, dtype=dtype)
    return load(name, device=str(device), dtype=str(dtype).removeprefix("torch."))


def _report(found: Sequence[Timing], facts: dict[str, Any]) -> str:
    """Returns the page: the machine, and a row for each way of each stage."""
    rows = tuple(
        (
            each.model, each.stage, each.way, f"{each.seconds:.4f}", f"{each.gigaflops:.2f}", f"{each.megabytes:.2f}",
            f"{100 * each.share:.0f} %", "" if each.way == OURS else f"{each.ratio:.2f}",
        )
        for each in found
    )  # fmt: skip
    table = Table(("model", "stage", "way", "s / frame", "GFLOP", "MB", "of the ceiling", "times undertow"), rows)
    products, single, copied = (facts[name] / 1e9 for name in ("flops", "flops32", "bandwidth"))
    machine = (
        f"Frames of {facts['width']}x{facts['height']}; {facts['device']}, {facts['dtype']}, {facts['threads']} "
        f"threads, torch {facts['torch']}. This machine multiplies {products:.0f} GFLOP/s (float32: {single:.0f}) and "
        f"copies {copied:.1f} GB/s, measured in this run."
    )
    return f"# Speed\n\n{machine}\n\n{table.markdown()}\n"


def _figure(found: Sequence[Timing]) -> Any:
    """Returns seconds per frame as bars, a group for each stage."""
    stages = list(dict.fromkeys((each.model, each.stage) for each in found))
    figure = charts.new_figure(7.0, max(2.0, 0.28 * len(found) + 0.8))
    axes = figure.add_subplot()
    order = sorted(found, key=lambda each: stages.index((each.model, each.stage)))
    for place, each in enumerate(order):
        colour = charts.COLOURS[0] if each.way == OURS else charts.COLOURS[1]
        axes.barh(place, 1000 * each.seconds, 0.8, color=colour)
    axes.set_yticks(range(len(order)), [f"{each.model} {each.stage}: {each.way}" for each in order], fontsize=7)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xlabel("milliseconds per frame")
    return figure
