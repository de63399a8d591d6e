"""Draws the README's picture from a finished demonstration: frames above, the same frames with their masks below.

undertow demo --out demo-out && python benchmarks/figures/draw_demo.py demo-out docs/images/demo.png
"""

import argparse
from pathlib import Path

from PIL import Image

from undertow.drawing import contact_sheet, overlay
from undertow.masks import read_written_map
from undertow.video import Video

SHOWN = (0, 16, 24, 47)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="what `undertow demo` has written")
    parser.add_argument("out", type=Path, help="the picture")
    asked = parser.parse_args()
    folder, out = asked.folder, asked.out
    with Video(folder / "crossing.mp4") as video:
        frames = [video[index] for index in SHOWN]
    masks = [read_written_map(folder / "run" / "masks" / f"{index:05d}.png") for index in SHOWN]
    masked = [overlay(frame, mask) for frame, mask in zip(frames, masks, strict=True)]
    captions = [f"frame {index}" for index in SHOWN] + ["given mask", *(f"carried to {index}" for index in SHOWN[1:])]
    Image.fromarray(contact_sheet([*frames, *masked], len(SHOWN), captions, width=300)).save(out, optimize=True)


if __name__ == "__main__":
    main()
