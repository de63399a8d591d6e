"""Tracks an endless stream for a short and a long while: do memory and speed depend on its length?

    python benchmarks/speed/endless.py --frames 10000 --threads 2

Each length is a process of its own: a generator of procedural images goes through `execute` with everything a run
writes (masks, tables, overlay, states). Printed are peak memory, and processor time per frame at the start and at the
end (which other work on the machine does not change much).
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path

from undertow.backbones import load
from undertow.base import SilentProgress, set_threads
from undertow.runs import execute
from undertow.tracking import TrackSettings
from undertow.tracking.cues import given_masks
from undertow.tracking.task import TASK
from undertow.video import Video
from undertow.world import crossing_scene

PERIOD = 48


class Clock(SilentProgress):
    """Notes when each frame was done."""

    def __init__(self):
        self.times = [time.process_time()]

    def advance(self, units=1, **facts):
        """Notes the time."""
        if "frame" in facts:
            self.times.append(time.process_time())


def peak_memory():
    """Returns the most bytes this process has held; Linux only. ru_maxrss would be that of the parent as well."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def images(pictures):
    """Yields a clip back and forth, for ever."""
    while True:
        yield from (picture.image for picture in pictures)
        yield from (picture.image for picture in reversed(pictures))


def run(frames, window):
    """Tracks so many frames, and prints peak memory in MiB and the time of the first and last `window` frames in ms."""
    scene = crossing_scene(height=96, width=160, frames=PERIOD)
    pictures = [scene.picture(float(index)) for index in range(PERIOD)]
    out, clock = Path(tempfile.mkdtemp()), Clock()
    try:
        video = Video(islice(images(pictures), frames), fps=24)
        settings = TrackSettings(tokens=240, batch=1)
        given = given_masks(video, {0: pictures[0].labels})
        execute(TASK, out / "run", video, given, load("tiny"), settings, views=TASK.views, progress=clock)
        masks = len(list((out / "run" / "masks").iterdir()))
    finally:
        shutil.rmtree(out)
    times = clock.times[1:]
    # The first frames pay for what is loaded on first use.
    parts = times[window // 10 : window + window // 10 + 1], times[-window - 1 :]
    first, last = (1000 * (part[-1] - part[0]) / window for part in parts)
    print(masks, peak_memory() / 2**20, first, last)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=10_000)
    parser.add_argument("--short", type=int, default=100)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    set_threads(asked.threads)
    if asked.one:
        run(asked.one, min(1000, asked.one // 2))
        return
    print("| frames | peak memory MiB | ms per frame at the start | at the end |\n|---:|---:|---:|---:|")
    peaks = []
    for frames in (asked.short, asked.frames):
        threads = [] if asked.threads is None else ["--threads", str(asked.threads)]
        command = [sys.executable, __file__, "--one", str(frames), *threads]
        said = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
        masks, peak, first, last = int(said[0]), *map(float, said[1:])
        assert masks == frames
        peaks.append(peak)
        print(f"| {frames} | {peak:.0f} | {first:.1f} | {last:.1f} |", flush=True)
    print(f"\nmemory of {asked.frames} frames over that of {asked.short}: {peaks[1] / peaks[0]:.3f}")


if __name__ == "__main__":
    main()
