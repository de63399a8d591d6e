"""The loop: Adam on the conditionings and head weights of all objects of a frame at once, and the best of it kept."""

import logging
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from undertow.backbones import Conditioning
from undertow.base import Progress, SettingsError, SilentProgress
from undertow.tracking.tuning.objective import Objective, stacked

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Learned:
    """What was learned of one frame's objects.

    Attributes:
        states: The conditioning of each object; None where it was not learned.
        head_weights: Each object's weights of the heads; they sum to one.
        loss: Each object's loss at the start, and where it was best.
        held_out: The same of the score on altered copies, if they were asked.
        best: Step at which each object was best.
        steps: Steps taken.
        seconds: Time they took.
        interrupted: Whether the keyboard ended them.
    """

    states: Float[Tensor, "o tokens dim"] | None
    head_weights: Float[Tensor, "o a"]
    loss: tuple[Float[Tensor, "o"], Float[Tensor, "o"]]
    held_out: tuple[Float[Tensor, "o"], Float[Tensor, "o"]] | None
    best: tuple[int, ...]
    steps: int
    seconds: float
    interrupted: bool


@dataclass(frozen=True)
class Begun:
    """Where an interrupted learning had come to.

    Attributes:
        states: The best conditioning of each object so far; None where it is not learned.
        head_weights: Each object's best weights of the heads so far.
        steps: Steps that were taken.
    """

    states: Float[Tensor, "o tokens dim"] | None
    head_weights: Float[Tensor, "o a"]
    steps: int


class _Best:
    """Every object's best state so far, by whichever figure decides; higher is better."""

    def __init__(self, states: Tensor, logits: Tensor) -> None:
        count = len(states)
        self.states, self.logits = states.detach().clone(), logits.detach().clone()
        self.figure = torch.full((count,), -torch.inf, device=states.device)
        self.loss, self.step = self.figure.clone(), torch.zeros(count, dtype=torch.long, device=states.device)
        self.stale = self.step.clone()

    def offer(self, figure: Tensor, loss: Tensor, states: Tensor, logits: Tensor, step: int) -> Bool[Tensor, "o"]:
        """Takes what is better than before, object by object; returns of which objects that was so."""
        better = figure > self.figure
        self.figure = torch.where(better, figure, self.figure)
        self.loss = torch.where(better, loss, self.loss)
        self.step[better] = step
        self.stale = torch.where(better, 0, self.stale + 1)
        self.states[better], self.logits[better] = states.detach()[better], logits.detach()[better]
        return better


def learn(
    objective: Objective,
    start: Conditioning | Sequence[Conditioning],
    progress: Progress | None = None,
    *,
    begun: Begun | None = None,
) -> Learned:
    """Returns the best conditionings and head weights met on the way; an interruption keeps those so far.

    Objects do not influence each other: each has numbers of its own, and Adam goes coordinate by coordinate.

    Args:
        objective: What to optimise, with its settings.
        start: Where every object's conditioning begins, or one for each object.
        progress: Notified of every step, with the mean loss and the last score on altered copies.
        begun: Where an interrupted learning had come to: its best is the first candidate, and the steps that are left
            are taken from there. Adam's averages begin anew.

    Raises:
        SettingsError: if a conditioning is to be learned that cannot reach the sites, or head weights of one head.
    """
    settings, frame, progress = objective.settings, objective.frame, progress or SilentProgress()
    moving, weighing = settings.learned in ("both", "tensor"), settings.learned in ("both", "heads")
    if moving and settings.steps and not frame.reached:
        raise SettingsError(
            "no text reaches the tracking site of this model, so no conditioning can be learned for it; tune the head "
            "weights only, or choose sites behind a cross-attention"
        )
    if settings.learned == "heads" and frame.heads == 1:
        raise SettingsError("the tracking site has one head, so there is nothing to weigh; tune the conditioning")
    count = len(frame.masks)
    states, logits, done = stacked(start, count, frame.masks.device), None, 0
    if begun is not None:
        states = states if begun.states is None else begun.states.to(states)
        logits, done = begun.head_weights.to(states.device).clamp(min=1e-12).log(), min(begun.steps, settings.steps)
    logits = torch.zeros(count, frame.heads, device=states.device) if logits is None else logits
    states, logits = states.requires_grad_(moving), logits.requires_grad_(weighing)
    groups = [{"params": [states], "lr": settings.rate}] if moving else []
    groups += [{"params": [logits], "lr": settings.head_rate or settings.rate}] if weighing else []
    adam = torch.optim.Adam(groups)
    rates = torch.optim.lr_scheduler.LambdaLR(adam, lambda step: _share(settings.decay, done + step, settings.steps))
    best, first, steps, interrupted = _Best(states, logits), None, done, False
    fixed = None if moving else objective.heads(states).detach()
    clock, score = time.monotonic(), None
    progress.start("tune", settings.steps)
    if done:
        progress.advance(done)
    try:
        for step in range(done, settings.steps + 1):
            weights = logits.softmax(-1)
            above: tuple[Tensor | None, ...]
            if fixed is None:
                losses, above = objective.descend(states, weights)
            else:
                losses = objective.losses(fixed, weights)
                above = (None, *torch.autograd.grad(losses.sum(), weights, retain_graph=True))
            if not bool(losses.isfinite().all()):
                log.warning("tuning met numbers that are not finite at step %d and ends there; lower the rate", step)
                break
            if not settings.held_out:
                best.offer(-losses.detach(), losses.detach(), states, logits, step)
            elif step % settings.every == 0 or step in (done, settings.steps):
                score = objective.held_out(states.detach(), weights.detach())
                best.offer(score, losses.detach(), states, logits, step)
            first = first or (losses.detach(), best.figure.clone())
            if step == settings.steps or (settings.held_out and bool((best.stale >= settings.patience).all())):
                break
            adam.zero_grad()
            for each, gradient in zip((states, weights), above, strict=True):
                if each.requires_grad:
                    torch.autograd.backward(each, gradient)
            adam.step()
            rates.step()
            steps = step + 1
            facts = {"loss": round(float(losses.detach().mean()), 5)}
            progress.advance(1, **facts | ({} if score is None else {"held_out": round(float(score.mean()), 4)}))
    except KeyboardInterrupt:
        interrupted = True
        if first is None:
            raise
        log.warning("tuning was interrupted after %d steps; the best so far is kept", steps)
    if first is None:
        raise SettingsError("the loss is not finite at the start of tuning; use float32 (--dtype float32)")
    return Learned(
        states=best.states if moving else None,
        head_weights=best.logits.softmax(-1),
        loss=(first[0], best.loss),
        held_out=(first[1], best.figure) if settings.held_out else None,
        best=tuple(int(step) for step in best.step),
        steps=steps,
        seconds=time.monotonic() - clock,
        interrupted=interrupted,
    )


def _share(decay: str, step: int, steps: int) -> float:
    """Returns the share of the learning rate that a step uses."""
    return 0.5 * (1 + math.cos(math.pi * step / max(1, steps))) if decay == "cosine" else 1.0
