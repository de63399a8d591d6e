"""Masks of objects: task, baselines, scores and datasets."""
