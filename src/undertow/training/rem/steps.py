"""The steps of training: which examples each has, what they are compared with, and the loss.

The examples of a step are a function of the seed and the step alone, so that a run that was cut anywhere goes on as if
it had not been, and processes take different parts of one batch.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import floor
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from undertow.backbones import Backbone
from undertow.backbones.fine_tuning import FineTuning
from undertow.base import SettingsError
from undertow.grounding.generator import noised
from undertow.training.learner import Learner
from undertow.training.rem.data import Latents, Source, Texts
from undertow.training.rem.settings import RemSettings


@dataclass(frozen=True)
class Choice:
    """One example: an item of a source, which draw of its frames, and where its expression is drawn from."""

    source: int
    number: int
    draw: int
    seed: tuple[int, ...]


class Order:
    """Which examples each step has: images or clips, every item of every epoch once.

    Args:
        settings: Of the training.
        sources: Where items come from.

    Raises:
        SettingsError: if there are no clips, and not all steps are of images.
    """

    def __init__(self, settings: RemSettings, sources: Sequence[Source]) -> None:
        self._settings, self._sources = settings, sources
        every = [(s, number) for s, source in enumerate(sources) for number in range(len(source))]
        # The first frame of a clip is an image too.
        self._items = {True: every, False: [(s, number) for s, number in every if sources[s].clips]}
        if settings.images < 1 and not self._items[False]:
            raise SettingsError("the data are images alone; set images to 1, or add pseudo-videos or clips")

    def of_images(self, step: int) -> bool:
        """Returns whether a step is of images; they are spread evenly."""
        share = self._settings.images
        return floor((step + 1) * share) > floor(step * share)

    def batch(self, step: int, rank: int = 0, processes: int = 1) -> list[Choice]:
        """Returns the examples of a step for one of several processes."""
        images, share = self.of_images(step), self._settings.images
        size = self._settings.image_batch if images else self._settings.batch
        before = floor(step * share)
        position = (before if images else step - before) * size
        items, seed = self._items[images], self._settings.seed
        chosen = []
        for index in range(rank * size // processes, (rank + 1) * size // processes):
            epoch, place = divmod(position + index, len(items))
            source, number = items[int(_permutation(len(items), seed, epoch, images)[place])]
            chosen.append(Choice(source, number, epoch % self._sources[source].draws, (seed, step, index)))
        return chosen


@lru_cache(maxsize=4)
def _permutation(count: int, seed: int, epoch: int, images: bool) -> Int[np.ndarray, " count"]:
    return np.random.default_rng((seed, epoch, images)).permutation(count)


@dataclass(frozen=True)
class Batch:
    """Examples of one step.

    Attributes:
        video: Latents as the denoiser is given them.
        target: What it is to predict.
        states: Of the texts.
    """

    video: Float[Tensor, "b f c h w"]
    target: Float[Tensor, "b f c h w"]
    states: Float[Tensor, "b n d"]


@dataclass(frozen=True)
class Examples:
    """What makes batches of choices.

    Attributes:
        order: Which examples a step has.
        sources: Where items come from.
        latents: Of items.
        texts: States of texts.
        backbone: The model.
        about: What it is trained to answer.
    """

    order: Order
    sources: Sequence[Source]
    latents: Latents
    texts: Texts
    backbone: Backbone
    about: FineTuning

    def batch(self, step: int, rank: int = 0, processes: int = 1) -> Batch:
        """Returns the examples of a step for one of several processes."""
        images = self.order.of_images(step)
        videos, targets, texts = [], [], []
        for choice in self.order.batch(step, rank, processes):
            random = np.random.default_rng(choice.seed)
            encoded = self.latents.get(self.sources[choice.source], choice.number, choice.draw)
            possible = [i for i, still in enumerate(encoded.still) if still or not images] or range(len(encoded.texts))
            index = int(random.choice(possible))
            frames = slice(0, 1) if images else slice(None)
            clean, masks = encoded.video[frames].float(), encoded.masks[index][frames].float()
            numbers = range(len(clean))
            videos.append(noised(self.backbone, self.about, clean, numbers, int(random.integers(2**31))))
            targets.append(self.about.target_of(clean, masks))
            texts.append(encoded.texts[index])
        device = self.backbone.device
        video, target = (torch.stack(each).to(device) for each in (videos, targets))
        return Batch(video, target, self.texts.get(texts).to(device))


def train_steps(
    model: Any,
    learner: Learner,
    examples: Examples,
    settings: RemSettings,
    rank: int = 0,
    processes: int = 1,
    mean: Callable[[Tensor], Tensor] = lambda loss: loss,
) -> Iterator[dict[str, float]]:
    """Takes steps for ever, from that of the learner on; yields what to log of each.

    Args:
        model: From clips and states to predictions, see `Answering`.
        learner: What is trained.
        examples: What makes batches.
        settings: Of the training.
        rank: Which of several processes this is.
        processes: How many there are; their gradients are averaged by `model`.
        mean: Returns the mean of a number over the processes.
    """
    while True:
        step = learner.step
        batch = examples.batch(step, rank, processes)
        loss = (model(batch.video, batch.states) - batch.target).square().mean()
        norm = learner.update(loss, settings.steps, settings.warmup, settings.cooldown)
        kind = "image" if examples.order.of_images(step) else "clip"
        yield {f"{kind} loss": float(mean(loss.detach())), "gradient": norm}
