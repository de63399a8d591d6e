"""What it gives to carry masks both ways: from a mask in the middle of a clip, and between two masks.

    python benchmarks/quality/track_both_ways.py --root DIR --sequences dog,parkour --frames 25 --every 2

DIR holds `davis-<sequence>/frames` and `masks`. With the mask of the middle frame, J of the frames before it stands
beside that of the same frames in the reversed clip, tracked forward. With those of the first and the last, J of the
frames between them stands beside that of the forward and of the backward pass alone.
"""

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch

from undertow.backbones import load
from undertow.benchmarks.core.datasets import open_dataset, select_samples
from undertow.benchmarks.masks.sample import MaskSample
from undertow.masks import LabelMap
from undertow.metrics import region_similarity
from undertow.tracking import TrackResult, TrackSettings, track


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--sequences", default="dog,car-shadow,parkour,soapbox,dance-twirl")
    parser.add_argument("--frames", type=int, default=25)
    parser.add_argument("--every", type=int, default=2)
    parser.add_argument("--tokens", type=int, default=1200)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    backbone, both = load("tiny", device="cpu", sites="track"), TrackSettings(tokens=options.tokens)
    forward = TrackSettings(tokens=options.tokens, direction="forward")
    print("| sequence | middle, before it | reversed clip | first and last: both | forward | backward |")
    print("|---|---:|---:|---:|---:|---:|")
    rows = []
    for sample in select_samples(open_dataset("davis-folders", options.root), options.sequences.split(",")):
        assert isinstance(sample, MaskSample)
        chosen = range(0, options.frames * options.every, options.every)
        with sample.open() as video:
            images = np.stack([frame.image for frame in video.frames(chosen)])
        truth = [sample.load_mask(number) for number in chosen[: len(images)]]
        middle, last = len(images) // 2, len(images) - 1
        before = list(track(images, {middle: truth[middle]}, backbone, both))[:middle]
        turned = list(track(images[middle::-1].copy(), truth[middle], backbone, forward))[:0:-1]
        ends = {0: truth[0], last: truth[last]}
        merged = list(track(images, ends, backbone, both))[1:-1]
        on = list(track(images, truth[0], backbone, forward))[1:-1]
        back = list(track(images[::-1].copy(), truth[last], backbone, forward))[-2:0:-1]
        rows.append(
            [mean_region(found, truth[:middle], sample.ids) for found in (before, turned)]
            + [mean_region(found, truth[1:-1], sample.ids) for found in (merged, on, back)]
        )
        print(f"| {sample.name} | " + " | ".join(f"{100 * value:.1f}" for value in rows[-1]) + " |", flush=True)
    print("| mean | " + " | ".join(f"{100 * value:.1f}" for value in np.mean(rows, axis=0)) + " |")


def mean_region(found: Iterable[TrackResult], truth: Sequence[LabelMap], ids: Sequence[int]) -> float:
    """Returns the mean J of all objects on all frames."""
    pairs = list(zip(found, truth, strict=True))
    return float(np.mean([region_similarity(each.labels == n, true == n) for each, true in pairs for n in ids]))


if __name__ == "__main__":
    main()
