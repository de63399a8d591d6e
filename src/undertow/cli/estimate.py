"""`undertow estimate TASK`, and what `--estimate` and `--max-memory` of every task do."""

import json as json_text
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from undertow.cli.showing import show_table

if TYPE_CHECKING:
    from undertow.backbones import Backbone
    from undertow.runs import Given, Task
    from undertow.runs.estimate import Estimate
    from undertow.video import Clip


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
