"""What a correction gives: J of the frames after it, beside no correction and a fresh start at its frame; and costs.

    python benchmarks/quality/correct_run.py --root DIR --sequences camel,parkour

DIR holds `davis-<sequence>/frames` and `masks`. The first mask is given, and when the run is complete, the annotation
at `--at` of the clip, too. The frames before the corrected one have to stay as they are, byte by byte. The last column
is the correction's seconds of processor as a share of the first run's, the model loaded before.
"""

import argparse
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch

from undertow.backbones import load
from undertow.benchmarks.core.datasets import open_dataset, select_samples
from undertow.benchmarks.masks.sample import MaskSample
from undertow.masks import LabelMap, read_written_map
from undertow.metrics import region_similarity
from undertow.runs import execute
from undertow.tracking import TrackSettings, track
from undertow.tracking.cues import given_masks
from undertow.tracking.task import TASK
from undertow.video import Clip

SEQUENCES = "camel,parkour,soapbox,bmx-trees,dance-twirl,motocross-jump,dog,car-shadow"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--sequences", default=SEQUENCES)
    parser.add_argument("--at", type=float, default=0.6, help="of the clip's length")
    parser.add_argument("--after", type=int, default=10, help="frames after it, the last ones that are tracked")
    parser.add_argument("--tokens", type=int, default=1200)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    backbone, settings = load("tiny", device="cpu", sites="track"), TrackSettings(tokens=options.tokens)
    print("| sequence | frame | uncorrected | corrected | fresh start | earlier frames equal | time |")
    print("|---|---:|---:|---:|---:|---|---:|")
    rows = []
    for sample in select_samples(open_dataset("davis-folders", options.root), options.sequences.split(",")):
        assert isinstance(sample, MaskSample)
        with tempfile.TemporaryDirectory() as folder, sample.open() as video:
            at = min(len(sample.frames) - options.after - 1, max(20, int(len(sample.frames) * options.at)))
            end = at + options.after + 1
            clip, out, after = Clip(video, 0, end), Path(folder) / "out", range(at + 1, end)
            paths = [out / "masks" / f"{name}.png" for name in sample.frames[:end]]
            masks, figures, kept, took = {0: sample.load_mask(0)}, [], [], []
            for mask in (None, sample.load_mask(at)):
                masks |= {} if mask is None else {at: mask}
                begun = time.process_time()
                execute(TASK, out, clip, given_masks(clip, masks), backbone, settings)
                took.append(time.process_time() - begun)
                kept.append([path.read_bytes() for path in paths[:at]])
                figures.append(region(sample, after, (read_written_map(paths[number]) for number in after)))
            fresh = track(Clip(video, at, end), masks[at], backbone, settings)
            figures.append(region(sample, after, (result.labels for result in list(fresh)[1:])))
            shown = " | ".join(f"{figure:.3f}" for figure in figures)
            same = "yes" if kept[0] == kept[1] else "NO"
            print(f"| {sample.name} | {at} | {shown} | {same} | {took[1] / took[0]:.0%} |", flush=True)
            rows.append(figures)
    print("| mean | | " + " | ".join(f"{figure:.3f}" for figure in np.mean(rows, axis=0)) + " | | |")


def region(sample: MaskSample, numbers: Iterable[int], found: Iterable[LabelMap]) -> float:
    """Returns the mean J of all objects on some frames."""
    pairs = [(labels, sample.load_mask(number)) for labels, number in zip(found, numbers, strict=True)]
    return float(np.mean([region_similarity(a == n, b == n) for a, b in pairs for n in sample.ids]))


if __name__ == "__main__":
    main()
