"""Run folders: masks, scores and run lengths written as they come, and the overlay rendered from them at the end."""

from undertow.runs.budget import parse_memory, shown_memory
from undertow.runs.corrections import Correction
from undertow.runs.cues import read_masks, split_cue
from undertow.runs.estimate import Estimate, check_budget, estimate
from undertow.runs.folder import FrameResult, RunFolder, Score
from undertow.runs.latency import Latency
from undertow.runs.plain import plain
from undertow.runs.prompts import Prompt, Prompted, parse_box, parse_point, prompted_masks
from undertow.runs.render import LiveOverlay, render_overlay, write_overlay
from undertow.runs.tracking import track_into

__all__ = [
    "Correction",
    "Estimate",
    "FrameResult",
    "Latency",
    "LiveOverlay",
    "Prompt",
    "Prompted",
    "RunFolder",
    "Score",
    "check_budget",
    "estimate",
    "parse_box",
    "parse_memory",
    "parse_point",
    "plain",
    "prompted_masks",
    "read_masks",
    "render_overlay",
    "shown_memory",
    "split_cue",
    "track_into",
    "write_overlay",
]
