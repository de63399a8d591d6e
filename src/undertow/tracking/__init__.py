"""DRIFT: tracks masks through video with a frozen diffusion model's affinity."""

from undertow.tracking.inspection import Inspection, inspect
from undertow.tracking.settings import ResolvedSettings, TrackSettings, resolve
from undertow.tracking.tracker import MaskTracker, ObjectScore, TrackResult, track

__all__ = [
    "Inspection",
    "MaskTracker",
    "ObjectScore",
    "ResolvedSettings",
    "TrackResult",
    "TrackSettings",
    "inspect",
    "resolve",
    "track",
]
