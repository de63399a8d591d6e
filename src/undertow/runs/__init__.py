"""Run folders: masks, scores and run lengths written as they come, and the overlay rendered from them at the end."""

from undertow.runs.cues import read_masks, split_cue
from undertow.runs.folder import FrameResult, RunFolder, Score
from undertow.runs.plain import plain
from undertow.runs.render import render_overlay, write_overlay
from undertow.runs.tracking import track_into

__all__ = [
    "FrameResult",
    "RunFolder",
    "Score",
    "plain",
    "read_masks",
    "render_overlay",
    "split_cue",
    "track_into",
    "write_overlay",
]
