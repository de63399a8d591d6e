"""Times tracking frame by frame on a procedural clip of 854 x 480, per preset, in the steady state.

python benchmarks/speed/track_speed.py --threads 2
"""

import argparse
import statistics
import time

import numpy as np
import torch

from undertow.backbones import load
from undertow.tracking import TrackSettings, track
from undertow.world import crossing_scene

ORDERS = (("dift", None), ("drift", None), ("drift", "window"), ("pixels", None))
# By frame 12 the memory is full.
FRAMES, WARM = 24, 12


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--model", default="tiny")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    scene = crossing_scene(height=480, width=854)
    pictures = list(scene.clip(FRAMES))
    images, mask = np.stack([picture.image for picture in pictures]), pictures[0].labels
    backbone = load(asked.model)
    print("| preset | softmax over | s / frame |\n|---|---|---:|")
    for preset, scope in ORDERS:
        ends = []
        for _ in track(images, mask, backbone, TrackSettings(preset=preset, softmax_scope=scope)):
            ends.append(time.perf_counter())
        # Features come in batches, so a mean over whole batches and not a median of frames.
        print(f"| {preset} | {scope or 'its own'} | {statistics.mean(np.diff(ends[WARM - 1 :])):.2f} |")


if __name__ == "__main__":
    main()
