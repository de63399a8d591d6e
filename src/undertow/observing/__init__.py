"""Frames in, observations out: size, noise, batches and a store of features, in one place for every task."""
