"""How good the first mask is that a word makes (`undertow track --text`): mean J on first frames of benchmark worlds.

    python benchmarks/quality/first_words.py

Each object whose shape no other object of its clip has is asked for by the name of that shape. Beside the mask of its
word stand what says nothing: the whole picture, a disc in its middle, and the mask of a word for something that is not
there.
"""

import argparse

import numpy as np

from undertow.backbones import load
from undertow.base import CueError, set_threads
from undertow.grounding import Grounder, HeatProposer, WordSettings
from undertow.metrics import region_similarity
from undertow.observing.settings import FrameSettings
from undertow.world import SUITES
from undertow.world.shapes import KINDS

LEAST = 200


def middle(shape):
    """Returns a disc of a third of the picture's height in its middle."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    return (rows - shape[0] / 2) ** 2 + (columns - shape[1] / 2) ** 2 < (shape[0] / 3) ** 2


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--tokens", type=int, default=1600)
    parser.add_argument("--magnets", default="0,5", help="how many words without meaning are appended")
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args()
    set_threads(asked.threads)
    backbone, frames = load(asked.model), FrameSettings(tokens=asked.tokens)
    ways = {f"word, {count} magnets": WordSettings(magnets=int(count)) for count in asked.magnets.split(",")}
    found = {name: [] for name in (*ways, "another word", "whole picture", "middle")}

    def mask(image, word, how):
        try:
            return Grounder(backbone, image.shape[:2], how, frames, HeatProposer()).look(image, word)[0].mask
        except CueError:
            return np.zeros(image.shape[:2], bool)

    for clip in (clip for suite in SUITES.values() for clip in suite):
        scene = clip.scene()
        picture, kinds = scene.picture(0.0), [thing.shape.kind for thing in scene.things]
        absent = next(kind for kind in KINDS if kind not in kinds)
        for number, kind in enumerate(kinds, start=1):
            truth = picture.labels == number
            if kinds.count(kind) > 1 or truth.sum() < LEAST:
                continue
            for name, how in ways.items():
                found[name].append(region_similarity(mask(picture.image, kind, how), truth))
            found["another word"].append(region_similarity(mask(picture.image, absent, how), truth))
            found["whole picture"].append(region_similarity(np.ones_like(truth), truth))
            found["middle"].append(region_similarity(middle(truth.shape), truth))
    print(f"{asked.model}, {len(found['middle'])} objects of {', '.join(SUITES)}")
    print("| mask | mean J |\n|---|---:|")
    for name, scores in found.items():
        print(f"| {name} | {np.mean(scores):.3f} |")


if __name__ == "__main__":
    main()
