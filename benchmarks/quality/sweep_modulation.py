"""Chooses where, when and how strongly `tiny` is pushed, and asks what pushing earns, on validation worlds.

    python benchmarks/quality/sweep_modulation.py --ways turbo,fast            # minutes on two cores
    python benchmarks/quality/sweep_modulation.py --ways exact --images 4

Each image comes with coarse labels as a segmenter would have them: the most frequent object of every token of 8 x 8
pixels, half of the tokens taken from a place up to one token away. The score is the mean IoU of the objects of each
image, mean over images; no part of it has seen the benchmark.
"""

import argparse
import itertools
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as functional

from undertow.backbones import Site, load
from undertow.parsing.protocols import CoarseBatch
from undertow.parsing.settings import Modulation
from undertow.parsing.sharpeners import ExactSharpener, FastSharpener, TurboSharpener, enlarge
from undertow.refinement.bilateral import upsample_guided
from undertow.refinement.settings import GuidedSettings
from undertow.training.validation import Validation
from undertow.world import FIRST_VALIDATION_SEED, make_scene

# Other validation worlds than those by which the model's checkpoint was chosen.
FIRST = FIRST_VALIDATION_SEED + 200
STRIDE = 8
# The reach of turbo's upsampling (2 tokens of 8 pixels), in latent cells of 4 pixels.
FINE = GuidedSettings(radius=4, near=2.0)


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


class Finer:
    """What fast would do without pushing: coarse labels at the latent's cells, upsampled by the image."""

    needs_latents = False

    def __call__(self, batch):
        """Yields the maps of each frame."""
        for image, soft in zip(batch.images, batch.soft, strict=True):
            cells = enlarge(soft, (image.shape[0] // 4, image.shape[1] // 4))
            yield upsample_guided(cells / cells.sum(0), image, FINE)


def transformer(path):
    """Returns the cross-attention of one of the decoder's transformers."""
    return (Site(f"up_blocks.{path}.transformer_blocks.0.attn2", "cross", 1, 128, 8),)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ways", default="turbo,fast")
    parser.add_argument("--images", type=int, default=6)
    parser.add_argument("--blocks", default="1.attentions.1", help="such as 0.attentions.1,1.attentions.0")
    parser.add_argument("--timesteps", default="121,281,441")
    parser.add_argument("--strengths", default="2,10")
    parser.add_argument("--sides", default="2,1")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    backbone, images = load("tiny", dtype="float32"), worlds(arguments.images)

    def tell(name, sharpen):
        print(f"{name:60} {score(sharpen, images, backbone):.3f}", flush=True)

    if "turbo" in arguments.ways:
        tell("bilinear", TurboSharpener("bilinear"))
        tell("turbo: guided", TurboSharpener())
        tell("guided at the latent's cells, without pushing", Finer())
    if "fast" in arguments.ways:
        choices = (arguments.blocks, arguments.timesteps, arguments.strengths, arguments.sides)
        for block, timestep, strength, sides in itertools.product(*(choice.split(",") for choice in choices)):
            modulation = Modulation(
                steps=(int(timestep),),
                strength=float(strength),
                one_sided=sides == "1",
                sites=transformer(block),
            )
            name = f"fast: {block}, timestep {timestep}, strength {strength}, {sides} sides"
            tell(name, FastSharpener(backbone, modulation, FINE))
    if "exact" in arguments.ways:
        for steps, strength, blended in (
            ((121,), 10, 0),
            ((121, 79, 39), 10, 0),
            ((121, 79, 39), 10, 2),
            ((121, 79, 39), 50, 2),
            ((281, 161, 41), 2, 0),
            ((281, 161, 41), 10, 2),
        ):
            modulation = Modulation(
                steps=steps, strength=strength, blended=blended, sites=transformer("1.attentions.1")
            )
            name = f"exact: steps {steps}, strength {strength}, blended after {blended}"
            tell(name, ExactSharpener(backbone, modulation))


if __name__ == "__main__":
    main()
