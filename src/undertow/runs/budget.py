"""Memory budgets: sizes as people write them, the option that would fit, a guard against what no machine could hold."""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch

from undertow.backbones import Backbone
from undertow.base import MemoryBudgetError, SettingsError
from undertow.base.memory import total_memory
from undertow.tracking import TrackSettings, resolve
from undertow.tracking.footprint import Footprint, Work, footprint

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "KI": 2**10, "MI": 2**20, "GI": 2**30, "TI": 2**40}
_SIZE = re.compile(r"(?P<number>\d+\.?\d*(?:e\d+)?|\.\d+)\s*(?P<unit>[KMGT]?I?)B?", re.IGNORECASE | re.ASCII)

# Beyond these no estimate is needed.
_MOST_TOKENS, _MOST_PIXELS = 10**10, 10**12
# Steps in which smaller sizes are tried, and the smallest that is proposed.
_STEP, _LEAST_TOKENS = 0.85, 64


@dataclass(frozen=True)
class Plan:
    """What an estimate was made from, so that other options can be tried: formulas only, nothing is run."""

    work: Work
    settings: TrackSettings
    backbone: Backbone

    def footprint(self) -> Footprint:
        """Returns what the plan holds.

        Raises:
            SettingsError: if the model has no such settings.
        """
        return footprint(self.work, resolve(self.settings, self.backbone, self.work.height, self.work.width))

    def with_options(
        self, *, batch: int | None = None, overlay: bool | None = None, tokens: int | None = None
    ) -> "Plan":
        """Returns the plan with those options changed that are not None."""
        settings = self.settings if batch is None else replace(self.settings, batch=batch)
        if tokens is not None:
            settings = replace(settings, tokens=tokens, size=None)
        work = self.work if overlay is None else replace(self.work, overlay=overlay)
        return replace(self, work=work, settings=settings)


def parse_memory(text: str) -> int:
    """Returns the bytes that "8GB", "512MiB", "1.5 g" or "2e9" mean; a plain number is bytes.

    Raises:
        SettingsError: if it is no size, or less than one byte.
    """
    match = _SIZE.fullmatch(text.strip())
    unit = None if match is None else _UNITS.get(match["unit"].upper())
    number = math.nan if match is None or unit is None else float(match["number"]) * unit
    if not 1 <= number < math.inf:
        raise SettingsError(f"--max-memory is '{text}'; give a size such as 8GB, 512MiB or a number of bytes")
    return int(number)


def shown_memory(size: float) -> str:
    """Returns bytes as people read them: "640 MB", "3.12 GB"."""
    for unit, name in ((10**12, "TB"), (10**9, "GB")):
        if size >= unit:
            return f"{size / unit:.{2 if size < 100 * unit else 0}f} {name}"
    return f"{size / 10**6:.0f} MB"


def fitting_option(plan: Plan, budget: int) -> str:
    """Returns a clause that names the least change to a plan that would fit in `budget` bytes, found by trying.

    What changes no result comes first (a smaller batch, no overlay), then a coarser grid, then all of it together.
    """
    least = ""
    for options, changed in _smaller(plan):
        need = changed.footprint().peak
        if need <= budget:
            return f"`{options}` would need about {shown_memory(need)}"
        least = f"even `{options}` would need about {shown_memory(need)}"
    return f"{least}, so give more memory" if least else "give more memory"


def check_machine(plan: Plan) -> None:
    """Refuses, by formula and before anything is allocated, what could not fit in this machine.

    Raises:
        MemoryBudgetError: naming need, memory and an option that would fit.
    """
    memory = machine_memory(plan.backbone.device)
    settings = plan.settings
    if settings.size is not None and settings.size[0] * settings.size[1] > _MOST_PIXELS:
        raise MemoryBudgetError(
            f"no machine could hold a model input of {settings.size[0]}x{settings.size[1]} pixels; "
            f"{fitting_option(_usual(plan), memory)}"
        )
    if settings.tokens is not None and settings.tokens > _MOST_TOKENS:
        raise MemoryBudgetError(
            f"no machine could hold frames of {settings.tokens} tokens; {fitting_option(_usual(plan), memory)}"
        )
    need = plan.footprint().peak
    if need > memory:
        raise MemoryBudgetError(
            f"tracking would need about {shown_memory(need)} where this machine has {shown_memory(memory)}; "
            f"{fitting_option(plan, memory)}"
        )


def machine_memory(device: torch.device) -> int:
    """Returns the bytes of memory that a device has: of the GPU, or of the machine."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[1])
    return total_memory()


def _usual(plan: Plan) -> Plan:
    """Returns the plan at twice the model's own number of tokens, from where `fitting_option` goes down."""
    return plan.with_options(tokens=2 * plan.backbone.card.token_budget)


def _smaller(plan: Plan) -> Iterator[tuple[str, Plan]]:
    """Yields options that make a plan smaller, as they are typed, and the plan with them."""
    batch, overlay = plan.settings.batch, plan.work.overlay
    fewer = batch
    while (fewer := fewer // 2) >= 1:
        yield f"--batch {fewer}", plan.with_options(batch=fewer)
    if overlay:
        yield "--no-overlay", plan.with_options(overlay=False)
    rows, columns = resolve(plan.settings, plan.backbone, plan.work.height, plan.work.width).grid
    sizes, tokens = [], int(rows * columns * _STEP)
    while tokens >= _LEAST_TOKENS:
        sizes.append(tokens)
        tokens = int(tokens * _STEP)
    for tokens in sizes:
        yield f"--size tokens={tokens}", plan.with_options(tokens=tokens)
    words = ["--batch 1"] * (batch > 1) + ["--no-overlay"] * overlay
    least = plan.with_options(batch=1, overlay=False)
    if len(words) == 2:
        yield " ".join(words), least
    if words:
        for tokens in sizes:
            yield " ".join([*words, f"--size tokens={tokens}"]), least.with_options(tokens=tokens)
