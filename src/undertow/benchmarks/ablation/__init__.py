"""Ablations of mask tracking: what each component is worth, beside what the paper prints."""

from undertow.benchmarks.ablation.running import AblationSettings, run_ablations
from undertow.benchmarks.ablation.variants import Ablation, Scale, Variant, make_ablations

__all__ = ["Ablation", "AblationSettings", "Scale", "Variant", "make_ablations", "run_ablations"]
