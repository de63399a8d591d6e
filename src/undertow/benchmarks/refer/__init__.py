"""Referring expressions: samples, task, baselines, scores and datasets."""
