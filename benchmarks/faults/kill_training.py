"""Kills `train rem` at random moments: does a run that goes on learn what one that was left alone learns?

    python benchmarks/faults/kill_training.py --kills 20

A few steps on small procedural clips, saved after every second one. Each run is killed (SIGKILL) once, between its
first step and its end, and started again; weights, losses and their order are compared with those of a run that was
not. A kill can hit a step, a save or the writing of the model.
"""

import argparse
import hashlib
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

TRAIN = """
import sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from undertow.training.rem.recipe import train_rem
from undertow.training.rem.settings import RemSettings
from undertow.training.rem.worlds import World
model, steps, work, out = sys.argv[1:]
settings = RemSettings(steps=int(steps), batch=2, image_batch=2, frames=3, size=(48, 32), rate=1e-3, warmup=1)
train_rem(model, [World(count=4, frames=3, size=(32, 48))], Path(work), Path(out), settings, save_every=2, device="cpu")
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="tiny-video")
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--kills", type=int, default=20)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        kill_some(Path(folder), asked.model, asked.steps, asked.kills)


def kill_some(folder: Path, model: str, steps: int, kills: int) -> None:
    random = np.random.default_rng(0)
    whole = start(folder / "whole", model, steps)
    wait_for_a_step(whole, folder / "whole")
    begun = time.monotonic()
    finish(whole)
    lasts = time.monotonic() - begun
    wanted, results = learned(folder / "whole"), Counter[str]()
    print(f"a run goes on for {lasts:.1f} s after its first step")
    for number in range(kills):
        work = folder / f"cut-{number}"
        process = start(work, model, steps)
        wait_for_a_step(process, work)
        time.sleep(float(random.uniform(0, lasts)))
        running = process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait()
        done = (work / "steps.jsonl").read_bytes().count(b"\n")
        finish(start(work, model, steps))
        told = f"{'killed' if running else 'over already'}, {'equal' if learned(work) == wanted else 'NOT EQUAL'}"
        results[told] += 1
        print(f"{number}: after step {done} of {steps}: {told}", flush=True)
    print(dict(results))


def start(work: Path, model: str, steps: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", TRAIN, model, str(steps), str(work), str(work.with_suffix(".out"))]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def wait_for_a_step(process: subprocess.Popen[bytes], work: Path) -> None:
    while process.poll() is None and not (work / "steps.jsonl").exists():
        time.sleep(0.02)


def finish(process: subprocess.Popen[bytes]) -> None:
    _, error = process.communicate()
    if process.returncode:
        raise SystemExit(error.decode()[-2000:])


def losses(work: Path) -> list[dict[str, float]]:
    lines = (work / "steps.jsonl").read_text().splitlines()
    return [{name: value for name, value in json.loads(line).items() if "loss" in name} for line in lines if line]


def learned(work: Path) -> tuple[list[dict[str, float]], dict[str, str]]:
    """Returns the losses, and a digest of every file of weights."""
    out = work.with_suffix(".out")
    files = sorted(out.rglob("*.safetensors"))
    return losses(work), {str(each.relative_to(out)): hashlib.sha256(each.read_bytes()).hexdigest() for each in files}


if __name__ == "__main__":
    main()
