"""Neither memory nor work grows with the video; memory is measured in fresh processes, from a generator."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from torch.utils.flop_counter import FlopCounterMode

from undertow import MaskTracker, TrackSettings

SCRIPT = """
import sys
from pathlib import Path
import numpy as np, torch
torch.set_num_threads(1)
from undertow.backbones import load
from undertow.tracking import TrackSettings, track
from undertow.video import Video
frames = int(sys.argv[1])
random = np.random.default_rng(0)
ground = random.integers(0, 255, (96, 160, 3), dtype=np.uint8)
mask = np.zeros((96, 96), np.uint16)
mask[30:60, 30:60] = 1
stream = (np.ascontiguousarray(np.roll(ground, t, axis=1)[:, :96]) for t in range(frames))
seen = 0
for result in track(Video(stream), mask, load("tiny", dtype="float32"), TrackSettings(size=(96, 96))):
    seen += 1
assert seen == frames
# Not getrusage: its peak outlives exec, so a child would report the test runner's.
status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
print(status["VmHWM"].split()[0])
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads its peak memory from /proc")
def test_two_thousand_frames_take_no_more_memory_than_fifty():
    peaks = []
    for frames in (50, 2000):
        command = [sys.executable, "-c", SCRIPT, str(frames)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        peaks.append(int(done.stdout.split()[-1]) / 1024)
    print(f"peak memory: {peaks[0]:.0f} MiB for 50 frames, {peaks[1]:.0f} MiB for 2000")
    assert peaks[1] <= 1.05 * peaks[0]


def test_a_step_costs_the_same_once_the_memory_is_full(tiny_like):
    tracker = MaskTracker(tiny_like, TrackSettings(tokens=48, recent=3, lost="keep"))
    image = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
    mask = np.zeros((48, 64), np.uint16)
    mask[10:30, 10:30] = 1
    work = []
    for step in range(8):
        with FlopCounterMode(display=False) as counter:
            tracker.step(image, mask=None if step else mask)
        work.append(counter.get_total_flops())
    assert work[1] < work[2] < work[3] < work[4] == work[5] == work[6] == work[7]
