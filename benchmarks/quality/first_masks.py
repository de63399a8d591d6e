"""How good a first mask is that GrabCut makes of the exact box of an object, or of one click in its middle.

    python benchmarks/quality/first_masks.py --root DIR

DIR holds `davis-<sequence>/frames` and `masks`. Printed is J on the first frame, beside that of the filled box.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np

from undertow.benchmarks.core.datasets import open_dataset
from undertow.benchmarks.masks.sample import MaskSample
from undertow.metrics import region_similarity
from undertow.refinement import ObjectCue, PointCue, segment_grabcut


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--root", type=Path, required=True)
    print("| sequence | filled box | GrabCut, box | GrabCut, one click |\n|---|---:|---:|---:|")
    rows = []
    for sample in open_dataset("davis-folders", parser.parse_args().root):
        assert isinstance(sample, MaskSample)
        with sample.open() as video:
            image = video[0]
        true = sample.load_mask(0) == sample.ids[0]
        ys, xs = np.nonzero(true)
        left, top, right, bottom = int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1
        filled = np.zeros_like(true)
        filled[top:bottom, left:right] = True
        depth = cv2.distanceTransform(true.astype(np.uint8), cv2.DIST_L2, 5)
        y, x = np.unravel_index(depth.argmax(), depth.shape)
        cues = [
            ObjectCue(1, box=(left, top, right, bottom)),
            ObjectCue(1, points=(PointCue(float(x) + 0.5, float(y) + 0.5),)),
        ]
        made = [segment_grabcut(image, [cue]) > 0 for cue in cues]
        rows.append([region_similarity(mask, true) for mask in (filled, *made)])
        print(f"| {sample.name} | " + " | ".join(f"{value:.2f}" for value in rows[-1]) + " |", flush=True)
    print("| mean | " + " | ".join(f"{value:.2f}" for value in np.mean(rows, axis=0)) + " |")


if __name__ == "__main__":
    main()
