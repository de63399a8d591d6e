"""`undertow train`: the recipes of the embedded models, and fine-tuning; `undertow estimate train`."""

import json as jsons
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from undertow.base import SettingsError, set_threads
from undertow.cli.options import Device, Dtype, Json, Model, Out, Threads, numbers
from undertow.cli.showing import say, show_table, shown_progress

train = typer.Typer(help="Train the embedded models, and fine-tune others.", no_args_is_help=True)
# What of it can be estimated; a group, although it is one command.
estimate_train = typer.Typer(help="Train the embedded models, and fine-tune others.", callback=lambda: None)

Settings = Annotated[
    list[str] | None, typer.Option("--set", help="Any setting, such as train=lora.", metavar="NAME=VALUE")
]


@train.command("embedded")
def train_embedded(
    name: Annotated[Literal["tiny", "tiny-sam", "tiny-video", "tiny-words"], typer.Argument(help="Model to train.")],
    work: Annotated[Path, typer.Option(help="Folder of pictures and checkpoints; the same folder continues a run.")],
    out: Out,
    photos: Annotated[
        Path | None,
        typer.Option(help="Folder of photographs with a SOURCES.csv to also learn from."),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(
            help="Train a model further (such as tiny, or a folder) instead of a new one; not for tiny-words."
        ),
    ] = None,
    minutes: Annotated[float | None, typer.Option(help="Stop after this long, at a checkpoint.")] = None,
    processes: Annotated[int, typer.Option(help="Number of processes that draw pictures.", min=1)] = 2,
    snapshots: Annotated[str, typer.Option(help="Denoiser steps to keep in WORK/snapshots, separated by commas.")] = "",
    device: Device = None,
    threads: Threads = None,
    json: Json = False,
) -> None:
    """Train an embedded model from scratch, in slices that can be continued."""
    from undertow.backbones import locate
    from undertow.refinement import locate_segmenter
    from undertow.training.recipe import train_tiny
    from undertow.training.segmenter_recipe import train_tiny_sam
    from undertow.training.video_recipe import train_tiny_video
    from undertow.training.word_recipe import train_tiny_words

    set_threads(threads)
    if minutes is not None and not minutes > 0:
        raise SettingsError(f"--minutes is {minutes:g}; give more than 0, or leave it out to train to the end")
    steps = numbers("--snapshots", snapshots, "steps such as 500,1000,2000")
    if steps and name == "tiny-sam":
        raise SettingsError("--snapshots is for tiny, tiny-video and tiny-words, not for tiny-sam; leave it out")
    if start and name == "tiny-words":
        raise SettingsError("--start is for tiny, tiny-video and tiny-sam; leave it out with tiny-words")
    find = locate_segmenter if name == "tiny-sam" else lambda known: locate(known).path
    further = find(start) if start else None
    with shown_progress(json) as progress:
        run: dict[str, Any] = {"minutes": minutes, "device": device, "progress": progress}
        pictures: dict[str, Any] = {"photos": photos, "start": further, "processes": processes}
        if name == "tiny-sam":
            done = train_tiny_sam(work, out, **pictures, **run)
        elif name == "tiny-video":
            done = train_tiny_video(work, out, photos=photos, start=further, snapshots=steps, **run)
        elif name == "tiny-words":
            done = train_tiny_words(work, out, photos=photos, snapshots=steps, **run)
        else:
            done = train_tiny(work, out, snapshots=steps, **pictures, **run)
    say(f"{name} is in {out}" if done else f"paused; repeat the command with --work {work} to resume")


@train.command("conditioning")
def train_conditioning(
    out: Annotated[Path, typer.Option("--out", help="File to write, ending in .safetensors.")],
    model: Model = "tiny",
    worlds: Annotated[int, typer.Option(min=1, help="Number of procedural worlds to fit on.")] = 48,
    steps: Annotated[int, typer.Option(min=1, help="Steps, one world each.")] = 240,
    device: Device = None,
    dtype: Dtype = None,
    threads: Threads = None,
    json: Json = False,
) -> None:
    """Fit a conditioning once on procedural worlds, for `undertow track --conditioning FILE`."""
    from undertow.backbones import load
    from undertow.training.conditioning import StartRecipe, fit_starting_tensor

    set_threads(threads)
    if out.suffix != ".safetensors":
        raise SettingsError(f"--out is '{out}'; give a file name that ends in .safetensors")
    backbone = load(model, device=device, dtype=dtype, sites="tuning")
    if backbone.card.family != "unet-image":
        raise SettingsError(f"'{model}' is no image model; its conditioning cannot be fitted")
    with shown_progress(json) as progress:
        fit_starting_tensor(backbone, out, StartRecipe(worlds=worlds, steps=steps), progress)
    say(f"the conditioning is in {out}")


@train.command("rem")
def train_rem(
    model: Model,
    out: Out,
    data: Annotated[
        list[str] | None,
        typer.Option(
            help="NAME:FOLDER[@SPLIT] of a referring dataset, world:COUNT, calm:COUNT[:PHOTOGRAPHS] or "
            "calm-clips:COUNT[:PHOTOGRAPHS]; several times.",
            metavar="DATA",
        ),
    ] = None,
    work: Annotated[
        Path | None, typer.Option(help="Folder of latents, states of texts and checkpoints; it continues a run.")
    ] = None,
    validate: Annotated[str | None, typer.Option(help="Data to validate on during training.", metavar="DATA")] = None,
    pseudo: Annotated[int, typer.Option(help="Clips to make from each dataset of images.", min=0)] = 0,
    assignments: Settings = None,
    minutes: Annotated[float | None, typer.Option(help="Stop after this long, at a checkpoint.")] = None,
    estimate: Annotated[
        bool, typer.Option("--estimate", help="Only print what training would hold in memory.")
    ] = False,
    device: Device = None,
    threads: Threads = None,
    json: Json = False,
) -> None:
    """Fine-tune a video generator to segment what a text names, for `undertow refer --method rem`."""
    from undertow.base.options import assigned
    from undertow.training.rem.datasets import read_sources
    from undertow.training.rem.recipe import train_rem as fine_tune
    from undertow.training.rem.settings import RemSettings

    set_threads(threads)
    if estimate:
        estimate_rem(model, assignments, json=json)
        return
    settings = assigned(RemSettings(), assignments or ())
    if not data or work is None:
        raise SettingsError("--data and --work are needed; give data such as world:2000, and a folder for checkpoints")
    if minutes is not None and not minutes > 0:
        raise SettingsError(f"--minutes is {minutes:g}; give more than 0, or leave it out to train to the end")
    sources = read_sources(data, settings, pseudo)
    looked = read_sources([validate], settings, training=False)[0] if validate else None
    with shown_progress(json) as progress:
        done = fine_tune(
            model, sources, work, out, settings,
            validation=looked, minutes=minutes, device=device, progress=progress,
        )  # fmt: skip
    say(f"the model is in {out}" if done else f"paused; repeat the command with --work {work} to resume")


@estimate_train.command("rem")
def estimate_rem(
    model: Model,
    assignments: Settings = None,
    clips: Annotated[int, typer.Option(help="Clips of a step on each GPU.", min=1)] = 1,
    processes: Annotated[int, typer.Option(help="GPUs that share the weights.", min=1)] = 1,
    json: Json = False,
) -> None:
    """Predict the memory that fine-tuning takes on each GPU, whatever is trained; nothing is fetched or allocated."""
    from undertow.base.options import assigned
    from undertow.training.rem.memory import memory_of_kinds
    from undertow.training.rem.settings import RemSettings

    settings = assigned(RemSettings(), assignments or ())
    found = memory_of_kinds(model, settings, clips, processes)
    if json:
        kinds = {kind: held.as_dict() | {"recomputed": again.as_dict()} for kind, (held, again) in found.items()}
        typer.echo(jsons.dumps({"event": "estimate", "kinds": kinds}))
        return
    columns = [
        {
            "weights trained": f"{held.trained / 1e6:.1f} M of {(held.trained + held.frozen) / 1e6:.0f} M",
            **{part: f"{size / 1e9:.1f} GB" for part, size in held.parts.items()},
            "in all": f"{held.total / 1e9:.1f} GB",
            "fits": ", ".join(f"{size} GB" for size in held.cards) or "none",
            "activations, recomputed": f"{again.parts['activations'] / 1e9:.1f} GB",
            "in all, recomputed": f"{again.total / 1e9:.1f} GB",
            "fits, recomputed": ", ".join(f"{size} GB" for size in again.cards) or "none",
        }
        for held, again in found.values()
    ]
    show_table([(name, *(column[name] for column in columns)) for name in columns[0]], "", *found)
