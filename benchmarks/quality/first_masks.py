"""How good a first mask is that is made of the exact box of an object, or of one click in its middle.

    python benchmarks/quality/first_masks.py --root DIR --segmenter tiny-sam
    python benchmarks/quality/first_masks.py --photos DIR --segmenter tiny-sam

--root holds `davis-<sequence>/frames` and `masks`, whose first frames are cut out. --photos holds photographs: their
held-out composites are, and held-out worlds. Printed is the mean J of all objects, beside that of the filled box and of
the ellipse in it.
"""

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np

from undertow.base import CueError
from undertow.benchmarks.core.datasets import open_dataset
from undertow.benchmarks.masks.sample import MaskSample
from undertow.metrics import region_similarity
from undertow.refinement import ObjectCue, PointCue, load_segmenter, segment, segment_grabcut
from undertow.training.segmenter_validation import SegmenterValidation, validation_composites, validation_worlds
from undertow.world.photographs import list_photographs

Maker = Callable[[np.ndarray, ObjectCue], np.ndarray]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--root", type=Path)
    parser.add_argument("--photos", type=Path)
    parser.add_argument("--segmenter")
    asked = parser.parse_args()
    makers: dict[str, Maker] = {"GrabCut": lambda image, cue: segment_grabcut(image, [cue])}
    if asked.segmenter:
        segmenter = load_segmenter(asked.segmenter)
        makers[asked.segmenter] = lambda image, cue: segment(segmenter, image, [cue])
    columns = ["filled box", "ellipse", *(f"{name}, {cue}" for name in makers for cue in ("box", "one click"))]
    print(f"| | {' | '.join(columns)} |\n|---|{'---:|' * len(columns)}")
    rows: dict[str, list[list[float]]] = {}
    for name, image, true in objects(asked.root, asked.photos):
        rows.setdefault(name, []).append(overlaps(image, true, makers))
        if asked.root:
            show(name, rows[name])
    if asked.root:
        rows = {"mean": [row for each in rows.values() for row in each]}
    for name, each in rows.items():
        show(name, each)


def show(name: str, rows: list[list[float]]) -> None:
    print(f"| {name} | " + " | ".join(f"{value:.3f}" for value in np.mean(rows, axis=0)) + " |", flush=True)


def objects(root: Path | None, photos: Path | None) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Yields what each object belongs to, its picture and its mask."""
    for sample in open_dataset("davis-folders", root) if root else ():
        assert isinstance(sample, MaskSample)
        with sample.open() as video:
            yield sample.name, video[0], sample.load_mask(0) == sample.ids[0]
    if photos:
        settings = SegmenterValidation()
        composites = validation_composites(settings, list_photographs(photos))
        for name, pictures in (("worlds", validation_worlds(settings)), ("composites", composites)):
            for image, labels in pictures:
                for number, area in zip(*np.unique(labels, return_counts=True), strict=True):
                    if number and area >= settings.smallest:
                        yield name, image, labels == number


def overlaps(image: np.ndarray, true: np.ndarray, makers: dict[str, Maker]) -> list[float]:
    """Returns J of the filled box, of its ellipse, and of what each maker makes of a box and of a click."""
    ys, xs = np.nonzero(true)
    left, top, right, bottom = int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1
    rows, columns = np.mgrid[: true.shape[0], : true.shape[1]] + 0.5
    across, down = (2 * columns - left - right) / (right - left), (2 * rows - top - bottom) / (bottom - top)
    guesses = [np.maximum(abs(across), abs(down)) < 1, np.hypot(across, down) < 1]
    depth = cv2.distanceTransform(true.astype(np.uint8), cv2.DIST_L2, 5)
    y, x = np.unravel_index(depth.argmax(), depth.shape)
    cues = [
        ObjectCue(1, box=(left, top, right, bottom)),
        ObjectCue(1, points=(PointCue(float(x) + 0.5, float(y) + 0.5),)),
    ]
    made = [found(make, image, cue) for make in makers.values() for cue in cues]
    return [region_similarity(mask, true) for mask in (*guesses, *made)]


def found(make: Maker, image: np.ndarray, cue: ObjectCue) -> np.ndarray:
    """Returns the mask that is made of a cue; nothing is a mask too."""
    try:
        return make(image, cue) > 0
    except CueError:
        return np.zeros(image.shape[:2], bool)


if __name__ == "__main__":
    main()
