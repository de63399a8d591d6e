"""Video perception from frozen diffusion models.

    import undertow as ut

    video = ut.Video("clip.mp4")
    for frame in ut.track(video, mask="first.png", model="tiny"):
        frame.labels, frame.scores

Whatever a name needs, such as torch, is imported when the name is first used.
"""

from typing import TYPE_CHECKING

from undertow.base.on_demand import on_demand

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
    from undertow.batches import batch
    from undertow.export import open_run
    from undertow.masks import read_label_map, write_label_map
    from undertow.parsing import Parser, ParseResult, ParseSettings, parse
    from undertow.points import PointSettings, PointTracker, Tracks, track_points
    from undertow.referring import ReferSettings, refer
    from undertow.tracking import MaskTracker, TrackResult, TrackSettings, track
    from undertow.video import Clip, Video, VideoWriter, open_stream

__getattr__, __dir__ = on_demand(__name__)

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
    "ReferSettings",
    "SettingsError",
    "TrackResult",
    "TrackSettings",
    "Tracks",
    "UndertowError",
    "Video",
    "VideoError",
    "VideoWriter",
    "WeightsUnavailable",
    "batch",
    "list_cards",
    "load",
    "open_run",
    "open_stream",
    "parse",
    "read_label_map",
    "refer",
    "track",
    "track_points",
    "write_label_map",
]
