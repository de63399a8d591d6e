"""What a frame costs each model, from its published shape: counted on tensors without memory, so no weights are needed.

Only matrix products and convolutions count, a multiplication with its addition as two operations, as PyTorch's counter
does. Encoding, every pass of an inversion and every draw of an ensemble are in it; the kernel, which compares frames,
is not.
"""

import csv
import io
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from undertow.backbones import Backbone, Card, load, random_backbone
from undertow.benchmarks.core.files import shipped_rows
from undertow.tracking import TrackSettings
from undertow.tracking.settings import ResolvedSettings, resolve

# Of DAVIS, (height, width) in pixels.
FRAME = (480, 854)


@dataclass(frozen=True)
class Cost:
    """What one way to track a frame takes.

    Attributes:
        model: Name of the card.
        preset: Way to propagate.
        published: Whether by the numbers of the preset's paper, or else by the card's.
        width: Of the model input, in pixels.
        height: Of the model input, in pixels.
        tokens: Per frame.
        weights: Of denoiser and autoencoder, in millions; a vision transformer is all denoiser.
        read: How many of these are read.
        teraflops: Operations of a frame, in units of 10^12.
        kilobytes: What a frame leaves behind to compare later ones with, in float32.
    """

    model: str
    preset: str
    published: bool
    width: int
    height: int
    tokens: int
    weights: float
    read: float
    teraflops: float
    kilobytes: float


def ways(card: Card) -> list[tuple[str, bool]]:
    """Returns the presets of a model that are measured, and whether by published numbers: its own, and all of these."""
    return [(card.preset, False), *((preset, True) for preset in card.published)]


def costs_of(card: Card) -> list[Cost]:
    """Returns what each way to track with a model takes."""
    whole = _empty(card)
    rows = []
    for preset, published in ways(card):
        settings = TrackSettings(preset=preset, published=published)
        resolved = resolve(settings, whole, *FRAME)
        sites = resolved.sites
        keys = resolved.directions or sum(site.heads * site.head_dim for site in sites)
        tokens = resolved.grid[0] * resolved.grid[1]
        # All weights are float32.
        millions = [sum(whole.parts(part).values()) / 4e6 for part in (None, sites)]
        rows.append(
            Cost(
                card.name, preset, published, resolved.input_size[1], resolved.input_size[0], tokens,
                round(millions[0], 1), round(millions[1], 1), round(teraflops(whole, resolved), 4),
                round(4 * tokens * keys / 1000, 1),
            )
        )  # fmt: skip
    return rows


@torch.no_grad()
def teraflops(backbone: Backbone, resolved: ResolvedSettings) -> float:
    """Returns the operations that observing a frame takes, in units of 10^12; frames that go together share them."""
    level, frames = resolved.noising, min(resolved.batch, backbone.card.chunk)
    images = np.zeros((frames, *resolved.input_size, 3), np.uint8)
    hidden = resolved.preset.source == "features"
    with FlopCounterMode(display=False) as encoding:
        latents = backbone.encode(images)
    with FlopCounterMode(display=False) as observing:
        backbone.observe(latents, level.timestep, resolved.sites, features=hidden)
    operations = encoding.get_total_flops() + level.ensemble * observing.get_total_flops()
    if level.kind == "invert":
        with FlopCounterMode(display=False) as denoising:
            backbone.denoise(latents, level.timestep)
        operations += len(level.steps_grid) * denoising.get_total_flops()
    return operations / frames / 1e12


def _empty(card: Card) -> Backbone:
    """Returns a model of the published shape without memory; those that ship are read, as they are small."""
    if card.embedded:
        return load(card.name, device="cpu", dtype="float32")
    return random_backbone(card, device="meta")


def costs_csv(costs: Iterable[Cost]) -> str:
    """Returns costs as the CSV that ships."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [field.name for field in fields(Cost)], lineterminator="\n")
    writer.writeheader()
    writer.writerows({**asdict(cost), "published": int(cost.published)} for cost in costs)
    return text.getvalue()


def shipped_costs() -> list[Cost]:
    """Returns the costs that `benchmarks/speed/rival_costs.py` counted, of all models that it could build."""
    kinds: dict[str, Callable[[str], Any]] = {"model": str, "preset": str, "published": lambda text: text == "1"}
    kinds |= dict.fromkeys(("width", "height", "tokens"), int)
    return [
        Cost(**{name: kinds.get(name, float)(text) for name, text in row.items()})
        for row in shipped_rows("undertow.benchmarks.rivals", "costs.csv")
    ]
