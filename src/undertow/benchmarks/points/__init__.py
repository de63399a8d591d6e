"""Tracks of points: samples, task, methods, baselines and datasets."""
