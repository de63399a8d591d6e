"""DRIFT: tracks masks through video with a frozen diffusion model's affinity."""

from undertow.tracking.inspection import Inspection, inspect
from undertow.tracking.losing import Verdict
from undertow.tracking.presence import PresenceModel, PresenceSignals
from undertow.tracking.sequence import check_masks, propagate, track
from undertow.tracking.settings import ResolvedSettings, TrackSettings, resolve
from undertow.tracking.tracker import MaskTracker, ObjectScore, TrackResult

__all__ = [
    "Inspection",
    "MaskTracker",
    "ObjectScore",
    "PresenceModel",
    "PresenceSignals",
    "ResolvedSettings",
    "TrackResult",
    "TrackSettings",
    "Verdict",
    "check_masks",
    "inspect",
    "propagate",
    "resolve",
    "track",
]
