"""Chooses when and how strongly `tiny` is pushed, and asks what pushing earns, on validation worlds.

    python benchmarks/quality/sweep_modulation.py --ways turbo                 # minutes on two cores
    python benchmarks/quality/sweep_modulation.py --ways exact --images 4

Each image comes with coarse labels as a segmenter would have them: the most frequent object of every token of 8 x 8
pixels, half of the tokens taken from a place up to one token away. The score is the mean IoU of the objects of each
image, mean over images; no part of it has seen the benchmark.
"""

import argparse
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as functional

from undertow.backbones import Site, load
from undertow.parsing.protocols import CoarseBatch
from undertow.parsing.settings import Modulation
from undertow.parsing.sharpeners import ExactSharpener, TurboSharpener
from undertow.training.validation import Validation
from undertow.world import FIRST_VALIDATION_SEED, make_scene

# Other validation worlds than those by which the model's checkpoint was chosen.
FIRST = FIRST_VALIDATION_SEED + 200
STRIDE = 8


def worlds(count):
    """Returns (image, labels, coarse one-hot labels) of some still images."""
    world, found = replace(Validation().world, height=192, width=320), []
    for number in range(count):
        picture = make_scene(FIRST + number, world).picture(0.0)
        labels = np.unique(picture.labels.astype(int), return_inverse=True)[1].reshape(picture.labels.shape)
        hot = functional.one_hot(torch.from_numpy(labels)).movedim(-1, 0).float()
        tokens = functional.avg_pool2d(hot[None], STRIDE)[0].argmax(0)
        generator = torch.Generator().manual_seed(number)
        down, right = torch.randint(-1, 2, (2, *tokens.shape), generator=generator)
        rows, columns = torch.meshgrid(*(torch.arange(size) for size in tokens.shape), indexing="ij")
        near = tokens[(rows + down).clamp(0, len(tokens) - 1), (columns + right).clamp(0, tokens.shape[1] - 1)]
        tokens = torch.where(torch.rand(tokens.shape, generator=generator) < 0.5, near, tokens)
        coarse = functional.one_hot(tokens, len(hot)).movedim(-1, 0).float()
        found.append((np.array(picture.image), labels, coarse))
    return found


def score(sharpen, images, backbone):
    """Returns the mean IoU over objects and images."""
    scores = []
    for number, (image, labels, coarse) in enumerate(images):
        latents = backbone.encode(image[None]) if sharpen.needs_latents else None
        batch = CoarseBatch([number], [image], coarse[None], tuple(range(len(coarse))), latents)
        found = next(iter(sharpen(batch))).argmax(0).numpy()
        same = [((found == label) & (labels == label)).sum() for label in np.unique(labels)]
        either = [((found == label) | (labels == label)).sum() for label in np.unique(labels)]
        scores.append(np.mean(np.divide(same, either)))
    return float(np.mean(scores))


# The cross-attention of the decoder's last transformer.
SITES = (Site("up_blocks.1.attentions.1.transformer_blocks.0.attn2", "cross", 1, 128, 8),)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ways", default="turbo,exact")
    parser.add_argument("--images", type=int, default=6)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    backbone, images = load("tiny", dtype="float32"), worlds(arguments.images)

    def tell(name, sharpen):
        print(f"{name:60} {score(sharpen, images, backbone):.3f}", flush=True)

    if "turbo" in arguments.ways:
        tell("bilinear", TurboSharpener("bilinear"))
        tell("turbo: guided", TurboSharpener())
    if "exact" in arguments.ways:
        for steps, strength, blended in (
            ((121,), 10, 0),
            ((121, 79, 39), 10, 0),
            ((121, 79, 39), 10, 2),
            ((121, 79, 39), 50, 2),
            ((281, 161, 41), 2, 0),
            ((281, 161, 41), 10, 2),
        ):
            modulation = Modulation(steps=steps, strength=strength, blended=blended, sites=SITES)
            name = f"exact: steps {steps}, strength {strength}, blended after {blended}"
            tell(name, ExactSharpener(backbone, modulation))


if __name__ == "__main__":
    main()
