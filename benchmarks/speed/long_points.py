"""Follows points through a clip of 1000 frames: peak memory, and the same tracks after being killed and run again.

python benchmarks/speed/long_points.py --frames 1000 --out /tmp/long
"""

import argparse
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from undertow.backbones import load
from undertow.base.memory import PeakMeter
from undertow.points import PointSettings, grid_points
from undertow.points.job import read_run
from undertow.points.queries import given_points
from undertow.points.task import TASK
from undertow.runs import execute
from undertow.video import Video, write_video

SIZE = (96, 128)


def picture(time):
    """Returns a frame of a texture that drifts in circles."""
    random = np.random.default_rng(0).integers(0, 255, (40, 50, 3), np.uint8)
    texture = np.kron(random, np.ones((6, 6, 1), np.uint8))
    x, y = int(40 + 30 * np.cos(time / 20)), int(40 + 30 * np.sin(time / 20))
    return texture[y : y + SIZE[0], x : x + SIZE[1]]


def follow(video, out):
    """Follows a grid of points with features in 8 MB of memory, and returns the tracks and the peak."""
    settings = PointSettings(preset="points", size=(SIZE[1], SIZE[0]), feature_memory=8)
    backbone = load("tiny", device="cpu", dtype="float32")
    with Video(video) as clip, PeakMeter() as meter:
        execute(TASK, out, clip, given_points(clip, grid_points(8, SIZE)), backbone, settings)
    return read_run(out), meter


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=1000)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--worker", action="store_true")
    args = parser.parse_args()
    video = args.out / f"clip-{args.frames}.mp4"
    if args.worker:
        follow(video, args.out / "killed")
        return
    args.out.mkdir(parents=True, exist_ok=True)
    for count in (args.frames // 10, args.frames):
        write_video(args.out / f"clip-{count}.mp4", (picture(t) for t in range(count)), fps=24)
        tracks, meter = follow(args.out / f"clip-{count}.mp4", args.out / f"whole-{count}")
        print(f"{count} frames: peak {meter.peak / 1e6:.0f} MB, {meter.before / 1e6:.0f} MB of it before", flush=True)
    command = [sys.executable, __file__, "--worker", "--frames", str(args.frames), "--out", str(args.out)]
    worker = subprocess.Popen(command)
    features = args.out / "killed" / "features"
    while worker.poll() is None and len(list(features.glob("*"))) < args.frames // 2:
        time.sleep(0.05)
    os.kill(worker.pid, signal.SIGKILL)
    worker.wait()
    print(f"killed with {len(list(features.glob('*.safetensors')))} frames observed", flush=True)
    again, _ = follow(video, args.out / "killed")
    print("tracks are equal" if np.array_equal(again.tracks, tracks.tracks) else "tracks DIFFER")


if __name__ == "__main__":
    main()
