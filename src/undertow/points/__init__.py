"""Point tracking with frozen diffusion models (DiffTrack), and the analysis that finds the layer for it."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from undertow.points.tracks import Tracks, read_tracks, write_tracks

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

# Where the other names are: tracks are read, written and scored without a model.
_HOMES = {
    "TensorStore": "observing.store",
    **dict.fromkeys(("check_points", "grid_points", "mask_points", "read_points"), "points.queries"),
    **dict.fromkeys(("PointTracker", "track_points"), "points.tracker"),
    **dict.fromkeys(("Evidence", "VisibilityModel"), "points.matching"),
    "cover": "points.following",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'undertow.points' has no attribute '{name}'")
    return getattr(import_module(f"undertow.{_HOMES.get(name, 'points.settings')}"), name)
