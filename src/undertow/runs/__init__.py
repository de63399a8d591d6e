"""Run folders: masks, scores and run lengths written as they come, and the overlay rendered from them at the end."""

from undertow.runs.folder import FrameResult, RunFolder, Score
from undertow.runs.plain import plain
from undertow.runs.render import render_overlay, write_overlay

__all__ = ["FrameResult", "RunFolder", "Score", "plain", "render_overlay", "write_overlay"]
