"""A starting conditioning for tuning, fitted once on training worlds instead of on every video.

Each step is one world: the masks of its first picture are carried within it (`undertow.tracking.tuning`), under one
conditioning for all worlds and objects. Worlds kept apart say which state is best.
"""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as functional
from jaxtyping import Float
from torch import Tensor

from undertow.backbones import Backbone, Conditioning
from undertow.base import Progress, SettingsError, SilentProgress
from undertow.masks import object_ids, soft_one_hot
from undertow.tracking import TrackSettings, resolve
from undertow.tracking.kernels import ObjectKernel
from undertow.tracking.tuning.attention import carry_per_head
from undertow.tracking.tuning.objective import CLAMP, FrameView
from undertow.tracking.tuning.store import write_kernel
from undertow.world import FIRST_VALIDATION_SEED, WorldSettings, make_scene


@dataclass(frozen=True)
class StartRecipe:
    """Everything that decides a starting tensor besides the model.

    Attributes:
        worlds: Training worlds, seeds from 0 on.
        held_out: Worlds that choose the best state, of the validation seeds.
        steps: Steps of Adam, one world each.
        every: Steps between two looks at the worlds kept apart.
        rate: Learning rate, which falls to zero as a cosine.
        tokens: Tokens that a picture is seen as.
        exclude_self: Whether tokens may not take their label from themselves.
        world: What the worlds are made of.
    """

    worlds: int = 48
    held_out: int = 12
    steps: int = 240
    every: int = 24
    rate: float = 2e-2
    tokens: int = 1600
    exclude_self: bool = True
    world: WorldSettings = field(
        default_factory=lambda: WorldSettings(height=270, width=480, leaves=110, objects=(1, 3), motion=1.0)
    )


def fit_starting_tensor(
    backbone: Backbone, out: Path | str, recipe: StartRecipe | None = None, progress: Progress | None = None
) -> Conditioning:
    """Returns a conditioning from which masks of unseen worlds are carried better, and writes it as a kernel file.

    Args:
        backbone: The model; its card must name sites that text reaches.
        out: File name that ends in .safetensors.
        recipe: How to fit.
        progress: Notified of every step, with its loss.

    Raises:
        SettingsError: if no text reaches the sites.
    """
    recipe, progress, begun = recipe or StartRecipe(), progress or SilentProgress(), time.monotonic()
    progress.start("draw worlds", recipe.worlds + recipe.held_out)
    training = [_view(backbone, seed, recipe, progress) for seed in range(recipe.worlds)]
    kept_apart = [_view(backbone, FIRST_VALIDATION_SEED + n, recipe, progress) for n in range(recipe.held_out)]
    if not training[0].reached:
        raise SettingsError("no text reaches the tracking site of this model, so there is no conditioning to fit")
    null = backbone.condition().tensor.float()
    states = null[None].clone().requires_grad_()
    adam = torch.optim.Adam([states], lr=recipe.rate)
    rates = torch.optim.lr_scheduler.CosineAnnealingLR(adam, max(1, recipe.steps))
    kernel = resolve(_settings(recipe), backbone, recipe.world.height, recipe.world.width, tuned=True).kernel

    def loss(view: FrameView) -> Float[Tensor, ""]:
        queries, keys = view.see(states)
        per_head = carry_per_head(queries, keys, view.masks[None], kernel, exclude_self=recipe.exclude_self)
        mixed = per_head[0].mean(0).clamp(CLAMP, 1 - CLAMP)
        return functional.binary_cross_entropy(mixed, view.masks)

    def look(views: Sequence[FrameView]) -> float:
        with torch.no_grad():
            return float(np.mean([float(loss(view)) for view in views]))

    first = best = look(kept_apart)
    chosen, at = states.detach().clone(), 0
    progress.start("fit", recipe.steps)
    for step in range(1, recipe.steps + 1):
        adam.zero_grad()
        # The order is fixed; no world comes twice before all have come.
        value = loss(training[step % len(training)])
        torch.autograd.backward(value)
        adam.step()
        rates.step()
        if step % recipe.every == 0 and (now := look(kept_apart)) < best:
            best, chosen, at = now, states.detach().clone(), step
        progress.advance(1, loss=round(float(value.detach()), 5), held_out=round(best, 5))
    learned = Conditioning(chosen[0], "learned")
    facts = {
        "model": backbone.fingerprint(),
        "card": backbone.card.name,
        "recipe": asdict(recipe),
        "loss": [round(first, 6), round(best, 6)],
        "best_step": at,
        "seconds": round(time.monotonic() - begun, 1),
    }
    heads = training[0].heads
    write_kernel(out, ObjectKernel(learned, torch.full((heads,), 1 / heads)), facts)
    return learned


def _settings(recipe: StartRecipe) -> TrackSettings:
    return TrackSettings(tokens=recipe.tokens)


def _view(backbone: Backbone, seed: int, recipe: StartRecipe, progress: Progress) -> FrameView:
    """Returns the first picture of a world with its masks on the token grid."""
    picture = make_scene(seed, recipe.world).picture(0.0)
    resolved = resolve(_settings(recipe), backbone, *picture.labels.shape, tuned=True)
    masks = soft_one_hot(picture.labels, object_ids(picture.labels), resolved.grid)[1:].flatten(1)
    progress.advance()
    return FrameView(backbone, picture.image, 0, masks, resolved)
