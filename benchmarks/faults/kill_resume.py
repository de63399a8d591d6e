"""Kills runs at random moments and continues them: does every one end as the run that was left alone?

    python benchmarks/faults/kill_resume.py --runs 100

Two thirds of the runs are killed (SIGKILL) during a write: before or after a file's data reach the disk, between that
and the rename, right after the rename, or in the middle of a line of the journal. The others are killed at a random
time. Half are killed a second time on the way. Then the same command continues to the end, and masks, tables and
run.json are compared by SHA-256, the overlay by its decoded frames. Needs fork (Linux or macOS).
"""

import argparse
import hashlib
import os
import pathlib
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import torch

from undertow.backbones import load
from undertow.runs import Folder, execute
from undertow.tracking import TrackSettings
from undertow.tracking.cues import given_masks
from undertow.tracking.task import TASK
from undertow.video import Video, write_video
from undertow.world import crossing_scene

FRAMES = 20
SETTINGS = TrackSettings(tokens=240, batch=2)


def work(out, clip, labels, backbone):
    with Video(clip) as video:
        given = given_masks(video, {0: labels})
        execute(TASK, out, video, given, backbone, SETTINGS, views=TASK.views, state_seconds=0)


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def die_at_write(number):
    """Makes this process kill itself at its n-th step of writing."""
    left = [number]

    def step():
        left[0] -= 1
        if left[0] == 0:
            die()

    fsync, replace, note = os.fsync, pathlib.Path.replace, Folder.note

    def stepped_fsync(handle):
        step()
        fsync(handle)
        step()

    def stepped_replace(self, target):
        step()
        done = replace(self, target)
        step()
        return done

    def stepped_note(self, result, line):
        journal = self._journal
        write = journal.write

        class HalfLine:
            """A journal that may die with half a line written."""

            def write(_, line):
                left[0] -= 1
                if left[0] == 0:
                    write(line[: len(line) // 2])
                    journal.flush()
                    die()
                return write(line)

            def __getattr__(_, name):
                return getattr(journal, name)

        self._journal = HalfLine()
        try:
            note(self, result, line)
        finally:
            self._journal = journal

    os.fsync, pathlib.Path.replace, Folder.note = stepped_fsync, stepped_replace, stepped_note


def in_child(function, kill_after=None):
    """Runs a function in a forked process, perhaps killing it, and returns how that ended."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            function()
            code = 0
        finally:
            os._exit(code)
    if kill_after is not None:
        time.sleep(kill_after)
        os.kill(child, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    return -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def contents(out):
    """Returns what a run holds: digests by name."""
    found = {}
    for path in sorted(out.rglob("*")):
        if path.name == "overlay.mp4":
            with Video(path) as video:
                pixels = b"".join(hashlib.sha256(frame.image.tobytes()).digest() for frame in video)
            found["overlay.mp4"] = hashlib.sha256(pixels).hexdigest()
        elif path.is_file():
            found[str(path.relative_to(out))] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def main():
    asked, ends, caught = options(), Counter(), Counter()
    chance = random.Random(asked.seed)
    torch.set_num_threads(1)
    backbone = load("tiny")
    with tempfile.TemporaryDirectory() as place:
        place = Path(place)
        scene = crossing_scene(height=48, width=80, frames=24)
        pictures = [scene.picture(float(index)) for index in range(FRAMES)]
        clip, labels = place / "clip.mp4", pictures[0].labels
        write_video(clip, [picture.image for picture in pictures], fps=24)
        begun = time.monotonic()
        assert in_child(lambda: work(place / "whole", clip, labels, backbone)) == 0
        seconds, expected = time.monotonic() - begun, contents(place / "whole")
        for run in range(asked.runs):
            out = place / f"run-{run}"
            for _ in range(chance.choice((1, 2))):
                if chance.random() < 2 / 3:
                    step = chance.randrange(1, 200)
                    how = "write"
                    end = in_child(lambda step=step: (die_at_write(step), work(out, clip, labels, backbone)))  # noqa: B023
                else:
                    how = "time"
                    end = in_child(lambda: work(out, clip, labels, backbone), chance.uniform(0, seconds))  # noqa: B023
                caught[f"killed by {how}" if end == -signal.SIGKILL else "ended before it was killed"] += 1
                states = (out / "state.safetensors").exists(), (out / "scores.csv").exists()
                caught["with a state" if states[0] else "tables there" if states[1] else "without a state"] += 1
            code = in_child(lambda: work(out, clip, labels, backbone))  # noqa: B023
            same = code == 0 and contents(out) == expected
            ends["equal" if same else f"exit {code}" if code else "different"] += 1
            if not same:
                found = contents(out)
                unlike = [name for name in {**expected, **found} if expected.get(name) != found.get(name)]
                print(f"run {run}: exit {code}, differs in {unlike}", file=sys.stderr, flush=True)
    print(f"{asked.runs} runs of {FRAMES} frames: " + ", ".join(f"{n} {end}" for end, n in ends.items()))
    print(f"kills: {', '.join(f'{n} {kind}' for kind, n in caught.items())}")
    sys.exit(ends["equal"] != asked.runs)


if __name__ == "__main__":
    main()
