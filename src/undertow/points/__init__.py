"""Point tracking with frozen diffusion models (DiffTrack), and the analysis that finds the layer for it."""

from typing import TYPE_CHECKING

from undertow.base.on_demand import on_demand

if TYPE_CHECKING:
    from undertow.observing.store import TensorStore
    from undertow.points.following import cover
    from undertow.points.matching import Evidence, VisibilityModel
    from undertow.points.queries import check_points, grid_points, mask_points, read_points
    from undertow.points.settings import (
        PRESETS,
        PointPreset,
        PointSettings,
        ResolvedPoints,
        get_point_preset,
        resolve_points,
    )
    from undertow.points.tracker import PointTracker, track_points
    from undertow.points.tracks import Tracks, read_tracks, write_tracks

__getattr__, __dir__ = on_demand(__name__)

__all__ = [
    "PRESETS",
    "Evidence",
    "PointPreset",
    "PointSettings",
    "PointTracker",
    "ResolvedPoints",
    "TensorStore",
    "Tracks",
    "VisibilityModel",
    "check_points",
    "cover",
    "get_point_preset",
    "grid_points",
    "mask_points",
    "read_points",
    "read_tracks",
    "resolve_points",
    "track_points",
    "write_tracks",
]
