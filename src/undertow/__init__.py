"""Video perception from frozen diffusion models.

import undertow as ut

video = ut.Video("clip.mp4")
for frame in ut.track(video, mask="first.png", model="tiny"):
frame.labels, frame.scores
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from undertow.backbones import list_cards, load
    from undertow.base import (
        CueError,
        MaskError,
        MemoryBudgetError,
        SettingsError,
        UndertowError,
        VideoError,
        WeightsUnavailable,
    )
    from undertow.export import open_run
    from undertow.masks import read_label_map, write_label_map
    from undertow.parsing import Parser, ParseResult, ParseSettings, parse
    from undertow.points import PointSettings, PointTracker, Tracks, track_points
    from undertow.tracking import MaskTracker, TrackResult, TrackSettings, track
    from undertow.video import Clip, Video, VideoWriter, open_stream

# Names are looked up when first used, so that `undertow.world` and `undertow.training` import without a video library
# and `undertow --help` without torch.
_HOMES = {
    "Clip": "video",
    "CueError": "base",
    "MaskError": "base",
    "MaskTracker": "tracking",
    "MemoryBudgetError": "base",
    "ParseResult": "parsing",
    "ParseSettings": "parsing",
    "Parser": "parsing",
    "PointSettings": "points",
    "PointTracker": "points",
    "SettingsError": "base",
    "TrackResult": "tracking",
    "TrackSettings": "tracking",
    "Tracks": "points",
    "UndertowError": "base",
    "Video": "video",
    "VideoError": "base",
    "VideoWriter": "video",
    "WeightsUnavailable": "base",
    "list_cards": "backbones",
    "load": "backbones",
    "open_run": "export",
    "open_stream": "video",
    "parse": "parsing",
    "read_label_map": "masks",
    "track": "tracking",
    "track_points": "points",
    "write_label_map": "masks",
}

__all__ = [
    "Clip",
    "CueError",
    "MaskError",
    "MaskTracker",
    "MemoryBudgetError",
    "ParseResult",
    "ParseSettings",
    "Parser",
    "PointSettings",
    "PointTracker",
    "SettingsError",
    "TrackResult",
    "TrackSettings",
    "Tracks",
    "UndertowError",
    "Video",
    "VideoError",
    "VideoWriter",
    "WeightsUnavailable",
    "list_cards",
    "load",
    "open_run",
    "open_stream",
    "parse",
    "read_label_map",
    "track",
    "track_points",
    "write_label_map",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'undertow' has no attribute '{name}'")
    return getattr(import_module(f"undertow.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
