"""The cross-frame kernel: exact, windowed, sparse, and the published orders of its operations as presets."""

from typing import TYPE_CHECKING

from undertow.base.on_demand import on_demand

if TYPE_CHECKING:
    from undertow.affinity.kernel import Affinity, AttentionRow, attention_row, compute_affinity
    from undertow.affinity.settings import PRESETS, KernelSettings, Preset, get_preset

__getattr__, __dir__ = on_demand(__name__)

__all__ = [
    "PRESETS",
    "Affinity",
    "AttentionRow",
    "KernelSettings",
    "Preset",
    "attention_row",
    "compute_affinity",
    "get_preset",
]
