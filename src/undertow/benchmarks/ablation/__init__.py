"""Ablations of mask tracking: what each component is worth, beside what the paper prints."""
