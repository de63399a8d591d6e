"""`undertow doctor`: what this machine has, what is missing, and what to type."""

import json as jsons
import os
import platform
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Any

import typer

from undertow.base import UndertowError, resolve_device, resolve_dtype
from undertow.cli.options import Device
from undertow.cli.showing import show_table

PACKAGES = ("undertow", "torch", "diffusers", "transformers", "huggingface-hub", "safetensors", "numpy", "av")
# Seconds that a repository on the hub has to answer.
PATIENCE = 3.0


def doctor(
    device: Device = None,
    offline: Annotated[bool, typer.Option("--offline", help="Do not use the network.")] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
) -> None:
    """Check this machine: versions, device, memory, codecs, weights; exit code 3 if the embedded model cannot run."""
    report = examine(device, offline=offline)
    if json:
        print(jsons.dumps(report, indent=2))
    else:
        _show(report)
    if not report["ok"]:
        raise typer.Exit(3)


def examine(device: str | None = None, *, offline: bool = False) -> dict[str, Any]:
    """Returns all that `undertow doctor` prints, ready for JSON.

    Under "problems" is a list of what was `found` and what to `do`; "ok" is whether the embedded model runs.

    Raises:
        SettingsError: if `device` is not here.
    """
    import torch
    from huggingface_hub import constants

    from undertow.backbones.weights import hub
    from undertow.base import memory

    place = resolve_device(device)
    cache = hub.cache_folder()
    offline = offline or constants.HF_HUB_OFFLINE
    problems: list[dict[str, str]] = []
    codecs = _codecs(problems)
    models = _models(offline, problems)
    runs = _trial(place, problems)
    return {
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}},
        "system": platform.platform(),
        "device": str(place),
        "dtype": str(resolve_dtype(None, place)).removeprefix("torch."),
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "memory": {"total": memory.total_memory(), "available": memory.available_memory()},
        "codecs": codecs,
        "cache": {"folder": str(cache), "free": hub.free_space(cache)},
        "offline": offline,
        "models": models,
        "segmenters": _segmenters(),
        "problems": problems,
        "ok": runs,
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _codecs(problems: list[dict[str, str]]) -> dict[str, dict[str, bool]]:
    try:
        from undertow.video.container import codecs

        support = {name: asdict(each) for name, each in codecs().items()}
    except ImportError as error:
        problems.append({"found": f"video cannot be read ({error})", "do": f"{sys.executable} -m pip install av"})
        return {}
    if not support["h264"]["encode"]:
        found = "h264 cannot be encoded, so that no overlay.mp4 is written"
        problems.append({"found": found, "do": "pip install --force-reinstall --only-binary av av"})
    return support


def _models(offline: bool, problems: list[dict[str, str]]) -> dict[str, dict[str, Any]]:
    """Returns by name where weights are, and how the repositories answer that hold those that are not here."""
    from undertow.backbones import list_cards, weights_state

    models: dict[str, dict[str, Any]] = {
        card.name: {"weights": weights_state(card, layout=card.layout), "repositories": {}} for card in list_cards()
    }
    # What no repository holds cannot be fetched, whatever is the matter.
    absent = [card for card in list_cards() if models[card.name]["weights"] == "not here" and card.sources]
    if offline:
        if absent:
            names = ", ".join(card.name for card in absent)
            do = f"undertow models fetch {absent[0].name}, where there is a network"
            problems.append({"found": f"offline, and the weights of {names} are not here", "do": do})
        return models
    sources = [(card.name, *source) for card in absent for source in card.sources]
    with ThreadPoolExecutor(8) as pool:
        asked = list(pool.map(lambda source: _answer(*source[1:]), sources))
    for (name, hub_id, _), answer in zip(sources, asked, strict=True):
        models[name]["repositories"][hub_id] = answer
    barred: dict[str, list[str]] = {}
    for card in absent:
        answers = dict.fromkeys(models[card.name]["repositories"].values())
        if not any(answer.startswith("reachable") for answer in answers):
            barred.setdefault("; ".join(answers), []).append(card.name)
    for reason, out_of_reach in barred.items():
        first = out_of_reach[0]
        found = f"the weights of {', '.join(out_of_reach)} are not here and cannot be fetched ({reason})"
        do = f"undertow models fetch {first} later, or --model {first}=FOLDER with a folder that holds them"
        problems.append({"found": found, "do": do})
    return models


def _segmenters() -> dict[str, str]:
    """Returns by name where the weights of segmenters are; nothing needs them, so that their lack is no problem."""
    from undertow.backbones import weights_state
    from undertow.refinement import list_segmenter_cards

    return {card.name: weights_state(card, layout="transformers") for card in list_segmenter_cards()}


def _answer(hub_id: str, revision: str | None) -> str:
    from undertow.backbones.weights import hub

    try:
        listing = hub.ask(hub_id, revision, timeout=PATIENCE)
    except hub.FetchError as error:
        return error.reason
    return "reachable, but its licence must be accepted first" if listing.gated else "reachable"


def _trial(place: Any, problems: list[dict[str, str]]) -> bool:
    """Returns whether the embedded model looks at a picture and says something finite."""
    import numpy as np

    from undertow.backbones import load

    try:
        backbone = load("tiny", device=place, sites="track")
        latents = backbone.encode(np.zeros((1, backbone.multiple * 2, backbone.multiple * 2, 3), np.uint8))
        if backbone.denoise(latents, 1).isfinite().all():
            return True
        found, do = "the embedded model answers with NaN", f"undertow track ... --device {place} --dtype float32"
    except UndertowError as error:
        found, _, do = str(error).partition("; ")
    except (RuntimeError, NotImplementedError) as error:
        found, do = f"the embedded model does not run on {place} ({error})", "undertow doctor --device cpu"
    problems.append({"found": found, "do": do or "pip install --force-reinstall undertow"})
    return False


def _show(report: dict[str, Any]) -> None:
    memory, cache = report["memory"], report["cache"]
    codecs = (
        f"{name} ({' and '.join(kind for kind, able in (('read', each['decode']), ('write', each['encode'])) if able)})"
        for name, each in report["codecs"].items()
        if each["decode"] or each["encode"]
    )
    facts = {
        "versions": ", ".join(f"{name} {found or 'missing'}" for name, found in report["versions"].items()),
        "system": report["system"],
        "device": f"{report['device']}, {report['dtype']}, {report['threads']} threads on {report['cores']} cores",
        "memory": f"{memory['available'] / 1e9:.1f} of {memory['total'] / 1e9:.1f} GB available",
        "codecs": ", ".join(codecs) or "none",
        "weights cache": f"{cache['folder']}, {cache['free'] / 1e9:.1f} GB free",
        "network": "not asked" if report["offline"] else "asked for weights that are not here",
    }
    for name, model in report["models"].items():
        answers = (f"{hub_id}: {answer}" for hub_id, answer in model["repositories"].items())
        facts[name] = "\n".join([model["weights"], *answers])
    facts |= report["segmenters"]
    show_table(facts.items())
    for problem in report["problems"]:
        print(f"problem: {problem['found']}\n  do: {problem['do']}")
    if report["ok"]:
        print("the embedded model runs")
