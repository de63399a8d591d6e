"""Semantic classes: samples, task, methods, baselines, scores and datasets."""
