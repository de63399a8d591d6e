"""Compares what `undertow estimate` says with what `undertow track` takes, each in a process of its own.

Peak memory is what Linux kept of the process (VmHWM), so this runs on Linux only. Seconds are of the processor.

OMP_NUM_THREADS=1 python benchmarks/speed/memory_estimate.py
"""

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from undertow.masks import write_label_map
from undertow.video import write_video
from undertow.world import crossing_scene

# Imports come before the clock starts: every command has them. The clock counts what the process computed, which other
# work on the machine does not stretch; it is put in place for the estimate too, before that can be imported.
CHILD = """
import sys, time
from pathlib import Path
time.perf_counter = time.process_time
import undertow.runs, undertow.tracking, undertow.video, undertow.backbones
from undertow.cli import main
started = time.perf_counter()
try:
    main()
finally:
    seconds = time.perf_counter() - started
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    print(f"PEAK {int(status['VmHWM'].split()[0]) * 1024} {seconds}", file=sys.stderr)
"""


@dataclass(frozen=True)
class Combination:
    """A run: size and number of frames, number of objects, and options of the command line."""

    height: int
    width: int
    frames: int
    objects: int
    options: str


COMBINATIONS = (
    Combination(270, 480, 16, 1, "--preset drift --size tokens=960 --dtype float32"),
    Combination(480, 854, 12, 2, "--preset drift --size tokens=3600 --dtype float32"),
    Combination(480, 854, 12, 5, "--preset drift --size tokens=3600 --dtype bfloat16"),
    Combination(480, 854, 10, 5, "--preset dift --size tokens=9216 --dtype float32"),
    Combination(480, 854, 12, 20, "--preset pixels --size tokens=9216"),
    Combination(1080, 1920, 10, 20, "--preset dift --size tokens=960"),
)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args()
    print("| frames | objects | options | peak MB, estimated | measured | ratio | s, estimated | measured | ratio |")
    print("|---|---:|---|---:|---:|---:|---:|---:|---:|")
    worst = 1.0
    for each in COMBINATIONS:
        with tempfile.TemporaryDirectory() as folder:
            said, peak, seconds = compare(each, Path(folder), asked.threads)
        ratio = said["memory"] / peak
        worst = max(worst, ratio, 1 / ratio)
        print(
            f"| {each.frames} of {each.width}x{each.height} | {each.objects} | `{each.options}` "
            f"| {said['memory'] / 1e6:.0f} | {peak / 1e6:.0f} | {ratio:.2f} "
            f"| {said['seconds']:.1f} | {seconds:.1f} | {said['seconds'] / seconds:.2f} |",
            flush=True,
        )
    print(f"\nworst ratio of memory {worst:.2f}")
    sys.exit(worst > 1.2)


def compare(each, folder, threads):
    """Returns an estimate, and the bytes and seconds of the run."""
    pictures = list(crossing_scene(height=each.height, width=each.width).clip(each.frames))
    write_video(folder / "clip.mp4", [picture.image for picture in pictures], fps=24)
    write_label_map(folder / "first.png", tiled(each.objects, each.height, each.width))
    common = [str(folder / "clip.mp4"), "--mask", str(folder / "first.png"), "--threads", str(threads)]
    common += each.options.split()
    said, _, _ = run(["estimate", "track", *common, "--json"])
    _, peak, seconds = run(["track", *common, "--out", str(folder / "out")])
    return json.loads(said), peak, seconds


def run(arguments):
    """Returns what a command printed, the most bytes its process held, and its seconds after imports."""
    command = [sys.executable, "-c", CHILD, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    peak, seconds = done.stderr.rpartition("PEAK ")[2].split()
    return done.stdout, int(peak), float(seconds)


def tiled(objects, height, width):
    """Returns a label map with objects on a grid, a third of the picture in all."""
    columns = int(np.ceil(objects**0.5))
    rows = -(-objects // columns)
    y, x = np.arange(height)[:, None] * rows / height, np.arange(width)[None] * columns / width
    cell = np.floor(y) * columns + np.floor(x) + 1
    inside = (y % 1 - 0.5) ** 2 + (x % 1 - 0.5) ** 2 < 0.33**2
    return np.where(inside & (cell <= objects), cell, 0).astype(np.uint16)


if __name__ == "__main__":
    main()
