"""DRIFT: tracks masks through video with a frozen diffusion model's affinity."""

from typing import TYPE_CHECKING

from undertow.base.on_demand import on_demand

if TYPE_CHECKING:
    from undertow.tracking.inspection import Inspection, inspect
    from undertow.tracking.kernels import ObjectKernel, TunedKernels
    from undertow.tracking.lost import Verdict
    from undertow.tracking.passes import propagate
    from undertow.tracking.presence import PresenceModel, PresenceSignals
    from undertow.tracking.refining import CrfRefiner, GuidedRefiner, Refiner, SegmenterRefiner, make_refiner
    from undertow.tracking.results import ObjectScore, TrackResult
    from undertow.tracking.sequence import check_masks, track
    from undertow.tracking.settings import ResolvedSettings, TrackSettings, resolve
    from undertow.tracking.tracker import MaskTracker

__getattr__, __dir__ = on_demand(__name__)

__all__ = [
    "CrfRefiner",
    "GuidedRefiner",
    "Inspection",
    "MaskTracker",
    "ObjectKernel",
    "ObjectScore",
    "PresenceModel",
    "PresenceSignals",
    "Refiner",
    "ResolvedSettings",
    "SegmenterRefiner",
    "TrackResult",
    "TrackSettings",
    "TunedKernels",
    "Verdict",
    "check_masks",
    "inspect",
    "make_refiner",
    "propagate",
    "resolve",
    "track",
]
