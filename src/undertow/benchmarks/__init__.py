"""Benchmarks: datasets, baselines, a runner that resumes, tables and plots; a wing for each task beside `core`."""
