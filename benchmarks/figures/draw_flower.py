"""Draws the picture at the top of the README: a clip beside what was cut out of it, as an animated WebP.

    undertow track flower.mp4 --box 358,178,500,302 --every 3 --out run
    python benchmarks/figures/draw_flower.py flower.mp4 run docs/images/flower.webp

The clip is a time lapse of an opening flower, CC0, from mdn/interactive-examples (live-examples/media/cc0-videos).
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

import undertow as ut
from undertow.drawing.overlay import border

# How much darker and greyer the world around the object is shown.
SHADE = 0.55


def panel(image: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Returns a frame in which only the objects keep their colours, within a white line."""
    grey = np.repeat(image.mean(axis=2, keepdims=True), 3, axis=2) * SHADE
    shown = np.where(labels[..., None] > 0, image, grey)
    shown[border(labels, 2) & (labels > 0)] = 255
    return shown.astype(np.uint8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clip", type=Path)
    parser.add_argument("run", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--width", type=int, default=360, help="Of each of the two panels, in pixels.")
    parser.add_argument("--every", type=int, default=2, help="Take every n-th frame of the run.")
    options = parser.parse_args()

    run, video = ut.open_run(options.run), ut.Video(options.clip)
    height = round(options.width * video.height / video.width)
    pictures = []
    for frame in run.frames[:: options.every]:
        image = video[frame.number]
        panels = [Image.fromarray(each) for each in (image, panel(image, run.masks(frame.number)))]
        both = Image.new("RGB", (2 * options.width + 4, height), "white")
        for place, each in enumerate(panels):
            both.paste(each.resize((options.width, height), Image.Resampling.LANCZOS), (place * (options.width + 4), 0))
        pictures.append(both)
    pictures[0].save(options.out, save_all=True, append_images=pictures[1:], duration=120, loop=0, quality=80, method=6)
    print(f"{options.out}: {len(pictures)} pictures, {options.out.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
