"""Times the tasks on a procedural clip, and beside another checkout of undertow, taking turns.

    python benchmarks/speed/track_speed.py --threads 2
    python benchmarks/speed/track_speed.py --beside ../older/src --cases drift,dift,dift-5,points,parse

A case runs in a process of its own, with the model loaded before and two frames worked on that do not count. `drift`,
`dift` and `flow` track one object, `dift-5` five, `dift@14400` at so many tokens. Seconds are those on the wall, and of
the processor, the mean of all frames. To see whether another version gives the same masks to the pixel, give it the
same weights, and frames that need no resizing, one at a time: `--frame 960x544 --batch 1`.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

# Of 854x480; presets of `track` have what `track` takes, unless the case says otherwise.
TOKENS = {"points": 3600, "parse": 3600, "drift": 8160, "dift": 8160, "flow": 8160}


def outcome(case: str, images: np.ndarray, objects: np.ndarray, backbone: Any, batch: int) -> list[np.ndarray]:
    """Returns label maps or positions, a frame each."""
    named, _, tokens = case.partition("@")
    name, _, count = named.partition("-")
    size = int(tokens or TOKENS[name])
    if name == "points":
        from undertow.points import PointSettings, track_points

        settings = PointSettings(preset="points", tokens=size, batch=batch)
        return list(track_points(images, grid=10, model=backbone, settings=settings).tracks.swapaxes(0, 1))
    mask = np.where(objects <= int(count or 1), objects, 0).astype(np.uint16)
    if name == "parse":
        from undertow.parsing import ParseSettings, parse

        sharpened = ParseSettings(quality="turbo", tokens=size, batch=batch)
        return [each.labels for each in parse(images, {0: mask}, backbone, sharpened)]
    from undertow.tracking import TrackSettings, track

    settings = TrackSettings(preset=name, tokens=size, batch=batch)
    return [each.labels for each in track(images, mask, backbone, settings)]


def measure(case: str, clip: Path, out: Path, threads: int, batch: int) -> None:
    """Runs a case, keeps what it gave, and prints the seconds as JSON."""
    from undertow.backbones import load

    torch.set_num_threads(threads)
    given = np.load(clip)
    backbone = load("tiny")
    outcome(case, given["images"][:2], given["objects"], backbone, batch)
    wall, used = time.perf_counter(), time.process_time()
    found = outcome(case, given["images"], given["objects"], backbone, batch)
    wall, used = time.perf_counter() - wall, time.process_time() - used
    np.save(out, np.stack(found))
    print(json.dumps({"wall": wall, "processor": used}))


def five_objects(height: int, width: int) -> np.ndarray:
    """Returns a label map with five rectangles of different sizes."""
    labels = np.zeros((height, width), np.uint16)
    for number in range(1, 6):
        top, left = height // 8 + 40 * number, width * number // 7
        labels[top : top + 20 * number, left : left + 90] = number
    return labels


def main() -> None:
    """Runs every case with this undertow, and the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--frames", type=int, default=10)
    parser.add_argument("--frame", default="854x480", help="Width and height of frames.")
    parser.add_argument("--batch", type=int, default=4, help="Frames that are observed together.")
    parser.add_argument("--cases", default="drift,drift-5,dift,dift-5,points,parse")
    parser.add_argument("--beside", type=Path, help="The folder src of another checkout.")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        case, clip, out = asked.child
        measure(case, Path(clip), Path(out), asked.threads, asked.batch)
        return
    from undertow.world import crossing_scene

    width, height = map(int, asked.frame.split("x"))
    images = np.stack([picture.image for picture in crossing_scene(height=height, width=width).clip(asked.frames)])
    with tempfile.TemporaryDirectory() as place:
        clip = Path(place) / "clip.npz"
        np.savez(clip, images=images, objects=five_objects(height, width))
        head = (
            "case",
            "s / frame",
            "processor",
            *(("other", "its processor", "ratio", "alike") if asked.beside else ()),
        )
        print("| " + " | ".join(head) + " |\n|---" + "|---:" * (len(head) - 1) + "|")
        for case in asked.cases.split(","):
            cells, seconds, found = [case], [], []
            for source in [None, asked.beside] if asked.beside else [None]:
                out = Path(place) / f"{len(seconds)}.npy"
                same = ["--threads", str(asked.threads), "--batch", str(asked.batch)]
                child = [sys.executable, __file__, *same, "--child", case, clip, out]
                path = {"PYTHONPATH": str(source.resolve())} if source else {}
                said = subprocess.run(
                    list(map(str, child)), check=True, stdout=subprocess.PIPE, text=True, env=os.environ | path
                ).stdout
                took = json.loads(said.splitlines()[-1])
                seconds.append(took["wall"])
                found.append(np.load(out))
                cells += [f"{took[name] / asked.frames:.3f}" for name in ("wall", "processor")]
            if asked.beside:
                close = np.abs(found[0].astype(float) - found[1]) < 0.05
                cells += [f"{seconds[1] / seconds[0]:.2f}", f"{100 * close.mean():.4f} %"]
            print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
