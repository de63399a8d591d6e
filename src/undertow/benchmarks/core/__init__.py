"""What all tasks of the benchmark share: samples, datasets, methods, the runner, outcomes and submissions."""
