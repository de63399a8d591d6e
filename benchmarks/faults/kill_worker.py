"""Kills a worker in the middle of a benchmark: are all results there in the end, and the same?

    python benchmarks/faults/kill_worker.py --root worlds --clips 3 --engines local,ray

A few clips of `world-easy` are measured under protocol `lab` by one process, then by two workers of each engine, then
again while one of the two is killed (SIGKILL) as soon as three quarters of the frames are done. Outcomes are compared
in all fields but the seconds, and predicted masks by their bytes. Needs psutil.
"""

import argparse
import hashlib
import json
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

import psutil
import torch

from undertow.base import SilentProgress
from undertow.benchmarks.core.datasets import open_dataset
from undertow.benchmarks.core.methods import make_methods
from undertow.benchmarks.core.runner import run_benchmark


class Killer(SilentProgress):
    """Kills one worker when a share of the frames is done, and notes what was tried again."""

    def __init__(self, share):
        self.share, self.done, self.total = share, 0, 0
        self.killed, self.retried = None, []

    def start(self, stage, total):
        """Notes the number of frames."""
        self.total = total

    def advance(self, units=1, **facts):
        """Counts frames, and kills when it is time."""
        self.done += units
        if "retried" in facts:
            self.retried.append(f"{facts['retried']} ({-units} frames again)")
        if self.share is not None and self.killed is None and self.done >= self.share * self.total:
            self.killed = max(workers(), key=lambda process: process.cpu_times().user).pid
            os.kill(self.killed, signal.SIGKILL)


def workers():
    """Returns the worker processes of either engine."""
    return [child for child in psutil.Process().children(recursive=True) if is_worker(child)]


def is_worker(process: psutil.Process) -> bool:
    """Returns whether a process is a worker of either engine."""
    try:
        line = process.cmdline()
    except psutil.Error:
        return False
    return "spawn_main" in " ".join(line) or (bool(line) and line[0].startswith("ray::_Actor"))


def contents(out):
    """Returns what a benchmark's folder holds, by name: outcomes without their seconds, digests of masks."""
    found = {}
    for path in sorted(out.rglob("*")):
        name = str(path.relative_to(out))
        if path.suffix == ".json" and name != "manifest.json":
            found[name] = json.loads(path.read_text())
            del found[name]["seconds"]
        elif path.suffix == ".png":
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path("worlds"))
    parser.add_argument("--clips", type=int, default=3)
    parser.add_argument("--models", default="tiny")
    parser.add_argument("--presets", default="dift")
    parser.add_argument("--baselines", default="copy")
    parser.add_argument("--engines", default="local,ray")
    return parser.parse_args()


def main():
    asked = options()
    torch.set_num_threads(1)
    samples = open_dataset("world-easy", asked.root)[: asked.clips]
    models, presets, baselines = ([part for part in text.split(",") if part] for text in
                                  (asked.models, asked.presets, asked.baselines))  # fmt: skip
    methods = make_methods(models, presets or [None], baselines, device="cpu")
    runs = [("local", 1, None)]
    for engine in asked.engines.split(","):
        runs += [(engine, 2, None), (engine, 2, 0.75)]
    expected, bad = None, 0
    with tempfile.TemporaryDirectory() as place:
        for number, (engine, count, share) in enumerate(runs):
            out, progress, begun = Path(place) / str(number), Killer(share), time.monotonic()
            run_benchmark(
                samples, methods, out, "lab", progress, keep=True, engine=engine, workers=count, threads=1
            )  # fmt: skip
            seconds, found = time.monotonic() - begun, contents(out)
            expected = expected or found
            unlike = [name for name in {**expected, **found} if expected.get(name) != found.get(name)]
            bad += bool(unlike) or (share is not None and not progress.retried)
            outcomes = sum(name.endswith(".json") for name in found)
            how = f"one killed, {', '.join(progress.retried) or 'nothing lost'}" if share else "none killed"
            print(
                f"{engine}, {count} worker(s), {how}: {outcomes} outcomes and {len(found) - outcomes} masks, "
                f"{f'unlike in {unlike[:3]}' if unlike else 'equal'}, {seconds:.0f} s",
                flush=True,
            )
    sys.exit(bad > 0)


if __name__ == "__main__":
    main()
