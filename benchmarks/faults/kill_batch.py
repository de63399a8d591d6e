"""Kills workers in the middle of a batch: is every run there in the end, once, and equal to one that was made alone?

    python benchmarks/faults/kill_batch.py --clips 1000 --kills 3 --engines local,ray

Clips of a few small frames are tracked by one process, then by two workers of each engine, of which some are killed
(SIGKILL) at even distances. Runs are compared byte by byte, and processor seconds for each clip. Needs psutil.
"""

import argparse
import hashlib
import json
import os
import signal
import statistics
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from kill_worker import is_worker
from PIL import Image

from undertow import batch
from undertow.base import SilentProgress
from undertow.masks import write_label_map


class Killer(SilentProgress):
    """Kills the worker that has worked most, at so many moments that lie evenly apart."""

    def __init__(self, clips: int, kills: int) -> None:
        self.moments = [clips * (place + 1) // (kills + 1) for place in range(kills)]
        self.done, self.killed = 0, 0

    def advance(self, units: int = 1, **facts: Any) -> None:
        """Counts clips, and kills when it is time."""
        self.done += units
        if not self.moments or self.done < self.moments[0]:
            return
        self.moments.pop(0)
        workers = [each for each in psutil.Process().children(recursive=True) if is_worker(each)]
        chosen = max(workers, key=lambda each: each.cpu_times().user)
        os.kill(chosen.pid, signal.SIGKILL)
        self.killed += 1


def make_clips(folder: Path, count: int, frames: int) -> Path:
    """Writes clips of 64x48 with a square that moves, masks of their first frames, and the manifest."""
    (folder / "masks").mkdir(parents=True)
    lines = ["clip,mask,out"]
    for number in range(count):
        rng = np.random.default_rng(number)
        clip = folder / f"clips/{number:05d}"
        clip.mkdir(parents=True)
        ground = rng.integers(0, 256, (6, 8, 3), np.uint8).repeat(8, 0).repeat(8, 1)
        for frame in range(frames):
            picture = ground.copy()
            picture[10:26, 8 + 2 * frame : 24 + 2 * frame] = (220, 30, 30)
            Image.fromarray(picture).save(clip / f"{frame:05d}.png")
        mask = np.zeros((48, 64), np.uint16)
        mask[10:26, 8:24] = 1
        write_label_map(folder / f"masks/{number:05d}.png", mask)
        lines.append(f"clips/{number:05d},masks/{number:05d}.png,runs/{number:05d}")
    (folder / "clips.csv").write_text("\n".join(lines))
    return folder / "clips.csv"


def contents(out: Path) -> dict[str, str]:
    """Returns the digest of every file of every run."""
    files = (path for path in sorted((out / "runs").rglob("*")) if path.is_file())
    return {str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def main() -> None:
    """Makes the clips and runs the batch in all ways."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=1000)
    parser.add_argument("--frames", type=int, default=4)
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--engines", default="local,ray")
    asked = parser.parse_args()
    bad, single, expected = 0, 0.0, dict[str, str]()
    with tempfile.TemporaryDirectory() as place:
        manifest = make_clips(Path(place) / "data", asked.clips, asked.frames)
        for engine in ("alone", *asked.engines.split(",")):
            out, killer = Path(place) / engine, Killer(asked.clips, 0 if engine == "alone" else asked.kills)
            how = {} if engine == "alone" else {"engine": engine, "workers": asked.workers}
            wall = time.monotonic()
            found = batch(
                manifest, out, progress=killer, assignments=("tokens=48",), views="none", device="cpu", **how
            )  # fmt: skip
            wall = time.monotonic() - wall
            logs = (out / ".batch").glob("*/log.jsonl")
            lines = [json.loads(line) for log in logs for line in log.read_text().splitlines() if line]
            twice = sum(count > 1 for count in Counter(line["out"] for line in lines if line["error"] is None).values())
            again = sum(line["attempts"] > 1 for line in lines)
            # The first clips of a worker load the model and the libraries' code.
            used = statistics.mean(
                sorted(line["processor"] for line in lines if line["error"] is None)[: -2 * asked.workers - 3]
            )
            got = contents(out)
            expected, single = expected or got, single or used
            unlike = [name for name in {**expected, **got} if expected.get(name) != got.get(name)]
            bad += bool(unlike or twice or found.failures or found.made != asked.clips)
            pace = f", {used:.3f} s of processor for a clip ({single / used:.2f} of one process)"
            same = f"unlike in {unlike[:3]}" if unlike else "equal"
            print(
                f"{engine}: {found.made} of {asked.clips} made, {killer.killed} killed, {again} tried again, "
                f"{twice} done twice, {len(got)} files, {same}{pace}, {wall:.0f} s",
                flush=True,
            )
    sys.exit(bad > 0)


if __name__ == "__main__":
    main()
