"""How near mattes are to true alpha, which worlds know: of masks, and of the tracker's soft masks.

    python benchmarks/quality/mattes.py --worlds 12

Each world is tracked from its true first mask; alpha is compared on two later frames. Printed are the mean absolute
error, the mean squared error, and the gradient error (mean squared difference of the gradients' lengths after a
Gaussian of 1.4 pixels; Rhemann et al., 2009), all in thousandths per pixel and object.
"""

import argparse
from typing import Any

import numpy as np
import torch
from scipy.ndimage import gaussian_gradient_magnitude  # type: ignore[import-untyped, unused-ignore]
from torch.nn.functional import interpolate

from undertow.backbones import load
from undertow.export import SoftMasks
from undertow.export.mattes import SHARPNESS, soft_mattes
from undertow.masks import LabelMap
from undertow.refinement.bilateral import upsample_guided
from undertow.tracking import MaskTracker, TrackSettings
from undertow.world.families import FAMILIES, make_family_scene

SIZE, FRAMES, FIRST_SEED, BLUR = (270, 480), (3, 6), 1_000_000_011, 1.4


def errors(found: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Returns mean absolute, mean squared and gradient error of the mattes of a frame."""
    slopes = [np.stack([gaussian_gradient_magnitude(each, BLUR) for each in of]) for of in (found, alpha)]
    apart = found - alpha
    return np.array([np.abs(apart).mean(), (apart**2).mean(), ((slopes[0] - slopes[1]) ** 2).mean()]) * 1000


def mattes_of(labels: LabelMap, ids: list[int], image: np.ndarray, soft: torch.Tensor) -> dict[str, np.ndarray]:
    """Returns the mattes of a frame in every way."""
    # As a run keeps them, in 256 levels.
    levels = torch.round(soft * 255) / 255
    kept = SoftMasks(np.array([0, *ids], np.uint16), levels.numpy())
    guided = upsample_guided(levels, image)
    sharp = guided**SHARPNESS
    grid = soft.shape[1], soft.shape[2]
    ways: dict[str, Any] = {
        "the masks (argmax)": [labels == each for each in ids],
        "the tracker's soft masks, bilinear": interpolate(levels[None], SIZE, mode="bilinear")[0, 1:],
        "the same, by the picture": guided[1:],
        "the same, sharpened": (sharp / sharp.sum(0))[1:],
        "the masks over cells": soft_mattes(labels, ids, image, grid).values(),
        "soft masks over cells (keep_soft)": soft_mattes(labels, ids, image, grid, kept).values(),
    }
    return {name: np.stack([np.asarray(each, np.float32) for each in found]) for name, found in ways.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--worlds", type=int, default=12)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--preset", default="drift")
    arguments = parser.parse_args()
    backbone, families, rows = load(arguments.model, sites="track"), list(FAMILIES), {}
    for number in range(arguments.worlds):
        family = "plain" if number % 2 == 0 else families[number // 2 % len(families)]
        scene = make_family_scene(family, FIRST_SEED + number, *SIZE)
        tracker, first = MaskTracker(backbone, TrackSettings(preset=arguments.preset)), scene.picture()
        for time in range(max(FRAMES) + 1):
            picture = scene.picture(float(time))
            result = tracker.step(picture.image, first.labels if time == 0 else None)
            ids = [each for each in tracker.ids if (result.labels == each).any()]
            if time not in FRAMES or not ids:
                continue
            rest = [0, *(tracker.ids.index(each) + 1 for each in ids)]
            soft = tracker.soft[rest]
            soft[0] = 1 - soft[1:].sum(0)
            alpha = scene.alpha(float(time))[[each - 1 for each in ids]]
            for name, found in mattes_of(result.labels, ids, picture.image, soft).items():
                rows.setdefault(name, []).append(errors(found, alpha))
        print(f"{number + 1} of {arguments.worlds}", flush=True)
    print("| alpha | MAE | MSE | gradient |\n|---|---:|---:|---:|")
    for name, found in rows.items():
        print(f"| {name} | " + " | ".join(f"{value:.3g}" for value in np.mean(found, axis=0)) + " |")


if __name__ == "__main__":
    main()
