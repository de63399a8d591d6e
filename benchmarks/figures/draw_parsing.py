"""Draws what parsing sees and says: principal components of the tokens, class maps, and one row of pixels through time.

    python benchmarks/figures/draw_parsing.py --world entrances --out docs/images/parsing.png
    python benchmarks/figures/draw_parsing.py --frames FOLDER --anchor first.png --out look.png

The rows are frames, tokens (red, green and blue are their first three principal components over all frames) and class
maps of each way of parsing; below, the marked row of pixels through time. Frames are those of protocol `lab`.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from undertow.backbones import load
from undertow.base import atomic_path, set_threads
from undertow.benchmarks.core.sample import get_protocol
from undertow.benchmarks.parse.methods import WAYS
from undertow.drawing import ClassView, labelled_panel, marked_row, panel_grid, pca_pictures, time_slice
from undertow.drawing.panels import scaled
from undertow.masks import read_class_map
from undertow.observing.observer import Observer
from undertow.parsing import parse, resolve_parse
from undertow.parsing.features import extract_tokens
from undertow.video import Video
from undertow.world import CLASSES, FIRST_BENCHMARK_SEED, make_family_scene, semantic_map

# Columns of the sheet, and their width in pixels.
COLUMNS, WIDTH = 4, 300


def world_frames(family, count, step):
    scene = make_family_scene(family, FIRST_BENCHMARK_SEED + 2000)
    pictures = [scene.picture(float(step * time)) for time in range(count)]
    return [picture.image for picture in pictures], semantic_map(scene, pictures[0])


def file_frames(folder, anchor, count, step):
    with Video(folder) as video:
        images = [video[index] for index in range(0, len(video), step)][:count]
    return images, read_class_map(anchor)


def sheet(images, anchor, backbone, ways, row, names):
    height, width = images[0].shape[:2]
    settings = {way: replace(WAYS[way], tokens=get_protocol("lab").tokens) for way in ways}
    resolved = resolve_parse(next(iter(settings.values())), backbone, height, width)
    tokens = extract_tokens(Observer(backbone, resolved), images, range(len(images)), resolved).tokens.cpu().numpy()
    maps = {
        way: [result.labels for result in parse(np.stack(images), {0: anchor}, backbone, own)]
        for way, own in settings.items()
    }
    ids = sorted({int(number) for each in maps.values() for labels in each for number in np.unique(labels)} - {65535})
    view = ClassView(tuple(ids), names, alpha=0.65, words=False)
    chosen = np.linspace(0, len(images) - 1, COLUMNS).round().astype(int)
    drawn = {
        way: [view.draw(image, m)[:height] for image, m in zip(images, each, strict=True)] for way, each in maps.items()
    }
    row = height // 2 if row is None else row
    panels = [labelled_panel(f"frame {n}", scaled(marked_row(images[n], row), WIDTH)) for n in chosen]
    components = pca_pictures(tokens, resolved.grid, WIDTH)
    panels += [labelled_panel("tokens", components[n]) for n in chosen]
    for way, pictures in drawn.items():
        panels += [labelled_panel(way, scaled(pictures[n], WIDTH)) for n in chosen]
    slices = [("the row through time", images)] + [(way, pictures) for way, pictures in drawn.items()]
    thickness = max(2, 120 // len(images))
    panels += [
        labelled_panel(title, scaled(time_slice(each, row, thickness=thickness), WIDTH)) for title, each in slices
    ]
    grid = panel_grid(panels, COLUMNS)
    key = view.draw(np.zeros((2, grid.shape[1], 3), np.uint8), np.full((2, grid.shape[1]), 65535, np.uint16))[2:]
    return np.concatenate([grid, key])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--world", help="family of a benchmark world")
    parser.add_argument("--frames", type=Path, help="video or folder of frames instead, with --anchor")
    parser.add_argument("--anchor", type=Path, help="class map of its first frame")
    parser.add_argument("--names", default="", help="names of the classes, separated by commas")
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--ways", default="propagate,turbo")
    parser.add_argument("--row", type=int, help="row of pixels that is followed; the middle one if not given")
    parser.add_argument("--count", type=int, default=12, help="frames")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    set_threads(1)
    step = get_protocol("lab").stride
    if arguments.world:
        images, anchor = world_frames(arguments.world, arguments.count, step)
        names = dict(enumerate(CLASSES))
    else:
        images, anchor = file_frames(arguments.frames, arguments.anchor, arguments.count, step)
        names = dict(enumerate(arguments.names.split(","))) if arguments.names else {}
    picture = sheet(images, anchor, load(arguments.model), arguments.ways.split(","), arguments.row, names)
    with atomic_path(arguments.out) as temporary:
        Image.fromarray(picture).save(temporary)


if __name__ == "__main__":
    main()
