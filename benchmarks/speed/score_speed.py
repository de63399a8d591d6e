"""How fast and how small scoring is, against a plain evaluation of whole float64 stacks as the official one has it.

    python benchmarks/speed/score_speed.py --root DATA --scratch /some/scratch [--sequences 30] [--workers 2]

Makes results of DAVIS' size in the scratch folder: 30 sequences, 2000 frames of 854 x 480, two objects each, out of the
masks in `DATA` (folders `davis-<sequence>/frames` and `masks`), with predictions damaged in several ways. Both scorers
run in a process of their own, whose wall time, CPU time and peak memory are printed, and their scores are compared.
"""

import argparse
import inspect
import json
import math
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image

FRAMES = 2000
KINDS = ("shifted", "eroded", "dilated", "noisy", "dropped")


def plain_outline(stack):
    """Returns the outlines of masks (..., h, w); the last row and column have rules of their own."""
    mask = stack.astype(bool)
    east, south, both = (np.zeros_like(mask) for _ in range(3))
    east[..., :, :-1], south[..., :-1, :], both[..., :-1, :-1] = mask[..., :, 1:], mask[..., 1:, :], mask[..., 1:, 1:]
    edge = (mask ^ east) | (mask ^ south) | (mask ^ both)
    edge[..., -1, :] = mask[..., -1, :] ^ east[..., -1, :]
    edge[..., :, -1] = mask[..., :, -1] ^ south[..., :, -1]
    edge[..., -1, -1] = False
    return edge


def plain_contour(pred, true):
    """Returns F of one object on one frame, by dilating both outlines with a disc at full size."""
    import cv2

    radius = math.ceil(0.008 * np.linalg.norm(pred.shape))
    steps = np.arange(-radius, radius + 1)
    disc = (steps[:, None] ** 2 + steps**2 <= radius**2).astype(np.uint8)
    edges = [plain_outline(mask) for mask in (pred, true)]
    wide = [cv2.dilate(edge.astype(np.uint8), disc) for edge in edges]
    lengths = [np.sum(edge) for edge in edges]
    if not all(lengths):
        return float(lengths[0] == lengths[1])
    precision, recall = np.sum(edges[0] * wide[1]) / lengths[0], np.sum(edges[1] * wide[0]) / lengths[1]
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def plain_scores(pred, true, objects):
    """Returns (J, F) by object and frame of label maps (t, h, w), from float64 stacks (n, t, h, w)."""
    ids = np.arange(1, objects + 1)[:, None, None, None]
    stacks = [(ids == maps.astype(np.float64)[None]).astype(np.float64) for maps in (pred, true)]
    scores = {}
    for number, (one, other) in enumerate(zip(*stacks, strict=True), start=1):
        common = np.sum((one * other) > 0, axis=(1, 2))
        union = np.sum((one + other) > 0, axis=(1, 2))
        region = np.where(union == 0, 1.0, common / np.maximum(union, 1))
        contour = [plain_contour(*pair) for pair in zip(one, other, strict=True)]
        scores[number] = np.stack([region, contour], axis=-1)
    return scores


def make_data(root, scratch, count):
    """Writes `count` sequences of two objects, the second one mirrored, and damaged predictions of them."""
    from make_damaged import damage, paste, read_sequence, sequence_names

    from undertow.masks import write_label_map

    names = sequence_names(root, "identity")
    lengths = [FRAMES // 30 + (index < FRAMES % 30) for index in range(count)]
    for index, length in enumerate(lengths):
        name = f"s{index:02d}"
        folder = scratch / "truth" / f"davis-{name}"
        if (folder / "done").exists():
            continue
        first, second = names[index % len(names)], names[(index + 1 + index // len(names)) % len(names)]
        clips = [list(read_sequence(root, each).values()) for each in (first, second)]
        images = sorted((root / f"davis-{first}" / "frames").glob("*.jpg"))
        (folder / "frames").mkdir(parents=True, exist_ok=True)
        for frame in range(length):
            # Back and forth, so that a short clip goes on without a jump.
            turns = [frame % (2 * len(clip)) for clip in clips]
            front, back = (clip[min(at, 2 * len(clip) - 1 - at)] for clip, at in zip(clips, turns, strict=True))
            truth = paste(front, back[:, ::-1])
            pred = damage(KINDS[index % len(KINDS)], truth, name, frame, length).astype(np.uint16)
            write_label_map(folder / "masks" / f"{frame:05d}.png", truth)
            write_label_map(scratch / "pred" / name / f"{frame:05d}.png", pred)
            if not (link := folder / "frames" / f"{frame:05d}.jpg").exists():
                link.symlink_to(images[frame % len(images)].resolve())
        (folder / "done").touch()


def score_ours(scratch, workers):
    """Returns J and F by sequence and object, from the folder scorer as it is."""
    from undertow.benchmarks.core.datasets import open_dataset
    from undertow.benchmarks.core.runner import score_folder

    extra = {"workers": workers} if workers and "workers" in inspect.signature(score_folder).parameters else {}
    outcomes = score_folder(scratch / "pred", open_dataset("davis-folders", scratch / "truth"), **extra)
    return {
        f"{outcome.sequence}/{number}": np.stack([scores.region, scores.contour], -1).mean(0).tolist()
        for outcome in outcomes
        for number, scores in outcome.objects.items()
    }


def score_plain(scratch):
    """Returns the same from stacks of whole sequences."""
    results = {}
    for folder in sorted((scratch / "truth").glob("davis-*")):
        name = folder.name.removeprefix("davis-")
        files = sorted((folder / "masks").glob("*.png"))[1:-1]
        true, pred = (
            np.stack([np.asarray(Image.open(place / path.name), np.float64) for path in files])
            for place in (folder / "masks", scratch / "pred" / name)
        )
        for number, scores in plain_scores(pred, true, 2).items():
            results[f"{name}/{number}"] = scores.mean(0).tolist()
    return results


def measured(way, scratch, workers):
    """Prints one scorer's result and what it took, as JSON; times leave out start-up, memory adds up all workers."""
    import undertow.benchmarks  # noqa: F401

    begin = time.perf_counter(), cpu_seconds()
    results = score_ours(scratch, workers) if way == "ours" else score_plain(scratch)
    facts = {"wall": time.perf_counter() - begin[0], "cpu": cpu_seconds() - begin[1], "results": results}
    peaks = [resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    facts["peak"] = peaks[0] + (workers or 0) * peaks[1]
    print(json.dumps(facts))


def cpu_seconds():
    """Returns the CPU time of this process and of its finished children."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path)
    parser.add_argument("--scratch", type=Path, required=True)
    parser.add_argument("--sequences", type=int, default=30)
    parser.add_argument("--workers", type=int)
    parser.add_argument("--ways", default="ours,plain")
    parser.add_argument("--child", choices=("ours", "plain"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        measured(asked.child, asked.scratch, asked.workers)
        return
    make_data(asked.root, asked.scratch, asked.sequences)
    print("| scorer | wall s | CPU s | peak MB |\n|---|---:|---:|---:|")
    facts = {}
    for way in asked.ways.split(","):
        command = [sys.executable, __file__, "--scratch", str(asked.scratch), "--child", way]
        command += ["--workers", str(asked.workers)] if asked.workers else []
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ)
        facts[way] = json.loads(done.stdout.splitlines()[-1])
        one = facts[way]
        print(f"| {way} | {one['wall']:.1f} | {one['cpu']:.1f} | {one['peak'] / 1024:.0f} |", flush=True)
    if len(facts) == 2:
        ours, plain = (facts[way]["results"] for way in ("ours", "plain"))
        gap = max(abs(a - b) for key in plain for a, b in zip(ours[key], plain[key], strict=True))
        print(f"\n{len(plain)} objects, largest difference {gap:.1e}; ", end="")
        ratios = [facts["plain"][kind] / facts["ours"][kind] for kind in ("wall", "cpu")]
        print(f"{ratios[0]:.1f} times faster by wall time, {ratios[1]:.1f} times by CPU time")


if __name__ == "__main__":
    main()
