"""Sweeps where semantic segmentation reads the model, and at which noise, on validation worlds whose classes are known.

    python benchmarks/quality/sweep_parsing.py --model tiny --out sweep.csv
    python benchmarks/quality/sweep_parsing.py --model tiny --places --out places.csv

Each of `--worlds` clips shows every third frame at about 1600 tokens; the first frame is the anchor, its tokens have
the classes of the pixels they cover, and the others' tokens are labelled by KNN (k = 4) on it alone. The score is mIoU
over the tokens of all other frames. Tokens of coarser sites are repeated. The last rows are controls without the model:
colours, and colours beside positions.
"""

import argparse
import csv
import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from undertow.backbones import Noising, inversion_steps, load
from undertow.backbones.reading.sizes import resize
from undertow.metrics import ConfusionMatrix
from undertow.parsing.anchors import nearest_labels, token_labels
from undertow.parsing.features import normalised, placed
from undertow.parsing.neighbours import NearestNeighbours
from undertow.world import CLASSES, FIRST_VALIDATION_SEED, make_family_scene, semantic_map

FAMILIES = ("mixed", "entrances", "look-alikes", "plain", "camera", "deformation")
NOISES = [*itertools.product(("clean", "noise"), (1, 41, 101, 201, 301)), ("invert", 41)]
LEAST = (("clean", 1), ("clean", 201), ("noise", 41), ("noise", 201))
IDS = tuple(range(len(CLASSES)))


def clips(count, frames, step):
    """Yields (images, semantic maps) of validation worlds."""
    for number in range(count):
        family = FAMILIES[number % len(FAMILIES)]
        scene = make_family_scene(family, FIRST_VALIDATION_SEED + 20_000 + number, 270, 480)
        pictures = [scene.picture(float(step * time)) for time in range(frames)]
        yield [picture.image for picture in pictures], [semantic_map(scene, picture) for picture in pictures]


def self_attentions(backbone):
    """Returns every self-attention but those of the middle block, with the stride of the finest for all."""
    return [replace(site, stride=8) for site in backbone.sites() if not site.path.startswith("mid_block")]


def queries(backbone, images, size, noising, sites):
    """Returns the queries of every site on the grid of stride 8, frames first."""
    found = {site.path: [] for site in sites}
    for start in range(0, len(images), 4):
        part = images[start : start + 4]
        latents = backbone.encode(resize(np.stack(part), size))
        noisy = backbone.prepare(latents, noising, range(start, start + len(part)))
        seen = backbone.observe(noisy, noising.timestep, sites)
        for path, values in seen.queries.items():
            found[path].append(on_grid(values.float().transpose(1, 2).flatten(2), (size[0] // 8, size[1] // 8)))
    return {path: torch.cat(parts) for path, parts in found.items()}


def on_grid(values, grid):
    """Returns tokens of a coarser grid repeated on `grid`."""
    frames, tokens, width = values.shape
    if tokens == grid[0] * grid[1]:
        return values
    maps = values.transpose(1, 2).reshape(frames, width, grid[0] // 2, grid[1] // 2)
    return torch.nn.functional.interpolate(maps, grid, mode="nearest").flatten(2).transpose(1, 2)


def score(features, maps, grid, total, k=4):
    """Adds a clip's tokens to a confusion matrix."""
    targets, known = token_labels(maps[0], IDS, grid)
    predicted = NearestNeighbours(features[0][known], targets[known], k)(features[1:].flatten(0, 1))[0].argmax(1)
    truth = torch.cat([nearest_labels(labels, IDS, grid)[0].argmax(1) for labels in maps[1:]])
    total.update(predicted.numpy(), truth.numpy())


def colours(images, grid, place):
    """Returns the colour of each token and, weighed by `place`, where it is."""
    pixels = resize(np.stack(images), grid).astype(np.float32) / 255
    rows, columns = np.meshgrid(np.linspace(0, 1, grid[0]), np.linspace(0, 1, grid[1]), indexing="ij")
    where = np.broadcast_to(np.stack([rows, columns], -1), (*pixels.shape[:3], 2)) * place
    return torch.from_numpy(np.concatenate([pixels, where], -1).astype(np.float32)).flatten(1, 2)


def write(path, totals):
    """Writes what is known so far."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("site", "noising", "timestep", "mIoU"))
        for key, total in totals.items():
            writer.writerow((*key, f"{100 * total.scores().mean_iou():.1f}"))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--out", type=Path, default=Path("sweep.csv"))
    parser.add_argument("--worlds", type=int, default=6)
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--places", action="store_true", help="only weights of the token's place, at the card's site")
    parser.add_argument("--quick", action="store_true", help="four noise levels instead of eleven")
    options = parser.parse_args()
    backbone = load(options.model)
    sites = self_attentions(backbone)
    totals = {}
    for images, maps in clips(options.worlds, options.frames, 3):
        size = backbone.input_size(*images[0].shape[:2], tokens=1600)
        grid = (size[0] // 8, size[1] // 8)
        if options.places:
            site, noising = backbone.card.sites["track"][0], backbone.card.levels["parse"]
            seen = normalised(queries(backbone, images, size, noising, [site])[site.path])
            for weight in (0.0, 2.0, 5.0, 10.0, 20.0):
                total = totals.setdefault(
                    (f"place {weight:g}", noising.kind, noising.timestep), ConfusionMatrix(len(IDS))
                )
                score(placed(seen, grid, weight), maps, grid, total)
            write(options.out, totals)
            continue
        for kind, timestep in LEAST if options.quick else NOISES:
            noising = replace(Noising(), kind=kind, timestep=timestep, steps_grid=inversion_steps(timestep))
            seen = queries(backbone, images, size, noising, sites)
            fine = [path for path in seen if "_blocks.1." in path]
            wanted = {path.split(".transformer")[0]: seen[path] for path in seen}
            wanted["mean of stride 8"] = torch.stack([seen[path] for path in fine]).mean(0)
            wanted["mean of up 8"] = torch.stack([seen[path] for path in fine if "up_" in path]).mean(0)
            for name, values in wanted.items():
                key = (name, kind, timestep)
                score(normalised(values), maps, grid, totals.setdefault(key, ConfusionMatrix(len(IDS))))
        for name, place in (("colour", 0.0), ("colour and position", 0.5)):
            total = totals.setdefault((name, "", ""), ConfusionMatrix(len(IDS)))
            score(colours(images, grid, place), maps, grid, total)
        write(options.out, totals)


if __name__ == "__main__":
    main()
