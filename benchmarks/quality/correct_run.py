"""What a correction does to a run: J&F after the corrected frame before and after, and that earlier frames stay.

    python benchmarks/quality/correct_run.py --root DIR --sequences parkour,soapbox --at 30

DIR holds `davis-<sequence>/frames` and `masks`; the mask given at frame `--at` is the annotation.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch

from undertow.backbones import load
from undertow.benchmarks.core.datasets import open_dataset, select_samples
from undertow.benchmarks.masks.sample import MaskSample
from undertow.masks import read_written_map
from undertow.metrics import score_objects
from undertow.runs import execute
from undertow.tracking import TrackSettings
from undertow.tracking.cues import given_masks
from undertow.tracking.task import TASK
from undertow.video import Video


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--sequences", default="parkour,soapbox")
    parser.add_argument("--at", type=int, default=30)
    parser.add_argument("--tokens", type=int, default=1600)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    backbone, settings = load("tiny", device="cpu"), TrackSettings(tokens=options.tokens)
    print("| sequence | J&F after the frame, before | corrected | frames changed | earlier frames equal |")
    print("|---|---:|---:|---:|---|")
    for sample in select_samples(open_dataset("davis-folders", options.root), options.sequences.split(",")):
        assert isinstance(sample, MaskSample)
        with tempfile.TemporaryDirectory() as folder, Video(sample.video) as video:
            out, first = Path(folder) / "out", sample.load_mask(0)
            execute(TASK, out, video, given_masks(video, {0: first}), backbone, settings)
            paths = [out / "masks" / f"{name}.png" for name in sample.frames]
            before, bytes_before = after_frame(sample, paths, options.at), [path.read_bytes() for path in paths]
            masks = {0: first, options.at: sample.load_mask(options.at)}
            execute(TASK, out, video, given_masks(video, masks), backbone, settings)
            same = [path.read_bytes() == earlier for path, earlier in zip(paths, bytes_before, strict=True)]
            equal, changed = all(same[: options.at]), same[options.at :].count(False)
            figures = f"{100 * before:.1f} | {100 * after_frame(sample, paths, options.at):.1f}"
            print(f"| {sample.name} | {figures} | {changed} | {'yes' if equal else 'NO'} |", flush=True)


def after_frame(sample, paths: list[Path], at: int) -> float:
    """Returns the mean J&F over the frames after the corrected one."""
    scores = []
    for index in range(at + 1, len(paths)):
        found = score_objects(read_written_map(paths[index]), sample.load_mask(index), sample.ids)
        scores += [np.mean(values) for values in found.values()]
    return float(np.mean(scores))


if __name__ == "__main__":
    main()
