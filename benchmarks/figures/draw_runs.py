"""Draws frames of clips in rows, with the masks of a run over them: the pictures of the guides.

    undertow demo --out demo
    python benchmarks/figures/draw_runs.py docs/images/demo.png --frames 0,16,24,47 \
        --row "the clip=demo/crossing.mp4" --row "its masks=demo/crossing.mp4,demo/run"

A row is TITLE=CLIP or TITLE=CLIP,RUN; every row shows the same frame numbers.
"""

import argparse
from pathlib import Path

from PIL import Image

import undertow as ut
from undertow.drawing import contact_sheet, overlay


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="picture to write")
    parser.add_argument("--row", action="append", required=True, help="TITLE=CLIP or TITLE=CLIP,RUN")
    parser.add_argument("--frames", required=True, help="frame numbers, separated by commas")
    parser.add_argument("--width", type=int, default=300, help="of a frame, in pixels")
    asked = parser.parse_args()
    numbers = [int(number) for number in asked.frames.split(",")]
    panels, captions = [], []
    for row in asked.row:
        title, _, paths = row.partition("=")
        clip, *runs = paths.split(",")
        with ut.Video(clip) as video:
            for number in numbers:
                image = video[number]
                panels.append(overlay(image, ut.open_run(runs[0]).masks(number)) if runs else image)
                captions.append(f"{title}, frame {number}")
    Image.fromarray(contact_sheet(panels, len(numbers), captions, width=asked.width)).save(asked.out, quality=85)


if __name__ == "__main__":
    main()
