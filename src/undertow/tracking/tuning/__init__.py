"""Test-time tuning: a conditioning and head weights for each object, learned on the frame of its mask."""

from typing import TYPE_CHECKING

from undertow.base.on_demand import on_demand

if TYPE_CHECKING:
    from undertow.tracking.kernels import ObjectKernel, TunedKernels
    from undertow.tracking.tuning.learning import Learned, learn
    from undertow.tracking.tuning.objective import Objective
    from undertow.tracking.tuning.per_object import tune
    from undertow.tracking.tuning.settings import TUNING, TuningSettings, get_tuning
    from undertow.tracking.tuning.start import starting_conditioning
    from undertow.tracking.tuning.store import read_facts, read_kernel, write_kernel

__getattr__, __dir__ = on_demand(__name__)

__all__ = [
    "TUNING",
    "Learned",
    "ObjectKernel",
    "Objective",
    "TunedKernels",
    "TuningSettings",
    "get_tuning",
    "learn",
    "read_facts",
    "read_kernel",
    "starting_conditioning",
    "tune",
    "write_kernel",
]
