"""The cross-frame kernel: exact, windowed, sparse, and the published orders of its operations as presets."""

from undertow.affinity.kernel import Affinity, AttentionRow, attention_row, compute_affinity
from undertow.affinity.settings import PRESETS, KernelSettings, Preset, get_preset

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
