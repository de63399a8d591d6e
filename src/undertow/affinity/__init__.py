"""The cross-frame kernel: exact, windowed, sparse, and the published orders of its operations as presets."""

from undertow.affinity.kernel import Affinity, compute_affinity
from undertow.affinity.presets import PRESETS, Preset, get_preset
from undertow.affinity.rows import AttentionRow, attention_row
from undertow.affinity.settings import KernelSettings

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
