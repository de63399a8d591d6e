"""What training carries from step to step, and the files it is kept in, so that slices of work add up to one run.

Stages stop when time is up and go on from their checkpoint; a run keeps one recipe.
"""

import json
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from math import inf
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch
from safetensors.torch import load_file
from torch import nn

from undertow.base import Progress, SettingsError, write_json, write_tensors, write_text
from undertow.training.sharding import shared_like, whole


class Learner:
    """Modules, AdamW and an exponential moving average of the weights, saved together as safetensors.

    Args:
        modules: What is trained, by name; frozen parameters are left alone.
        rate: Peak learning rate.
        undecayed: Parts of parameter names that get no weight decay besides biases and norms.
        horizon: Number of steps over which the moving average comes to average; it warms up from nothing.
        decay: Weight decay of the others.
        betas: Of AdamW.
    """

    def __init__(
        self,
        modules: Mapping[str, nn.Module],
        *,
        rate: float,
        undecayed: tuple[str, ...] = (),
        horizon: int = 500,
        decay: float = 0.01,
        betas: tuple[float, float] = (0.9, 0.99),
    ):
        self.modules = dict(modules)
        self.rate, self.horizon, self.step = rate, horizon, 0
        named = {f"{m}.{n}": p for m, module in self.modules.items() for n, p in module.named_parameters()}
        self.parameters = {name: parameter for name, parameter in named.items() if parameter.requires_grad}
        free = {n for n, p in self.parameters.items() if p.ndim < 2 or any(part in n for part in undecayed)}
        groups = [
            {"params": [p for n, p in self.parameters.items() if n not in free], "weight_decay": decay},
            {"params": [p for n, p in self.parameters.items() if n in free], "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.AdamW(groups, lr=rate, betas=betas)
        self.average = {n: p.detach().clone() for n, p in self.parameters.items()}

    def update(self, loss: torch.Tensor, total_steps: int, warmup: int = 100, cooldown: float = 0.25) -> float:
        """Takes one step: linear warm-up, constant rate, linear cool-down over the last share of `total_steps`.

        Returns:
            The norm of the gradient before it was clipped to 1.
        """
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(list(self.parameters.values()), 1.0)
        left = (total_steps - self.step) / max(1.0, cooldown * total_steps)
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate * max(0.0, min((self.step + 1) / warmup, left, 1.0))
        self.optimizer.step()
        self.step += 1
        keep = min(1 - 1 / self.horizon, self.step / (self.step + 9))
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                self.average[name].lerp_(parameter, 1 - keep)
        return float(norm)

    def save(self, path: Path, *, writes: bool = True) -> None:
        """Writes everything needed to go on exactly, atomically.

        Of several processes that share the weights all must call this, and one `writes`.
        """
        tensors = {"step": torch.tensor(self.step)}
        for name, parameter in self.parameters.items():
            own = {f"adam.{key}.{name}": value for key, value in self.optimizer.state.get(parameter, {}).items()}
            own |= {f"weight.{name}": parameter, f"average.{name}": self.average[name]}
            for key, value in own.items():
                gathered = whole(value.detach())
                if writes:
                    tensors[key] = gathered.cpu().clone().contiguous()
        if writes:
            write_tensors(path, tensors)

    def load(self, path: Path) -> None:
        """Reads what `save` wrote.

        Raises:
            SettingsError: if the file belongs to another architecture.
        """
        tensors = load_file(path)
        try:
            with torch.no_grad():
                for name, parameter in self.parameters.items():
                    parameter.copy_(shared_like(tensors[f"weight.{name}"], parameter))
                    self.average[name].copy_(shared_like(tensors[f"average.{name}"], parameter))
                    state = {k: tensors[f"adam.{k}.{name}"].to(parameter.device) for k in ("exp_avg", "exp_avg_sq")}
                    state = {k: shared_like(v, parameter) for k, v in state.items()}
                    self.optimizer.state[parameter] = {**state, "step": tensors[f"adam.step.{name}"]}
        except (KeyError, RuntimeError) as error:
            raise SettingsError(f"{path} is not a checkpoint of this model; remove it or use another --work") from error
        self.step = int(tensors["step"])

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Puts the moving average in place of the weights for as long as the context lasts."""
        trained = {name: parameter.detach().clone() for name, parameter in self.parameters.items()}
        self.use_average()
        try:
            yield
        finally:
            self._put(trained)

    def use_average(self) -> None:
        """Replaces the weights by their moving average, for export; training cannot go on after it."""
        self._put(self.average)

    @torch.no_grad()
    def _put(self, weights: Mapping[str, torch.Tensor]) -> None:
        for name, parameter in self.parameters.items():
            parameter.copy_(weights[name])


SAVE_EVERY = 100


class HasSteps(Protocol):
    """A part of a training that takes a number of steps."""

    @property
    def steps(self) -> int:
        """How many."""
        ...


StageT = TypeVar("StageT", bound=HasSteps)


def stage_at(stages: Sequence[StageT], step: int) -> StageT:
    """Returns the stage that step number `step`, from 0, is in; behind the end, the last one."""
    last = 0
    for stage in stages:
        last += stage.steps
        if step < last:
            return stage
    return stages[-1]


def watch(
    learner: Learner,
    snapshots: Collection[int],
    every: int,
    write: Callable[[Path], None],
    validate: Callable[[], object],
    work: Path,
) -> Callable[[], None]:
    """Returns what is done after each step: snapshots go to `work/snapshots/<step>`, and others are validated.

    Args:
        learner: What is trained.
        snapshots: Steps after which `write` is given a folder; it validates too.
        every: Steps from one validation to the next.
        write: Writes the model as it is.
        validate: Scores the averaged weights.
        work: Folder of the run.
    """

    def after_step() -> None:
        if learner.step in snapshots:
            write(work / "snapshots" / f"{learner.step:06d}")
        elif learner.step % every == 0:
            with learner.averaged():
                validate()

    return after_step


def run_steps(
    steps: Iterator[dict[str, float]],
    learner: Learner,
    stem: Path,
    total: int,
    deadline: float | None,
    progress: Progress,
    after_step: Callable[[], None] = lambda: None,
    *,
    save_every: int = SAVE_EVERY,
    log_every: int = 10,
    writes: bool = True,
) -> bool:
    """Takes steps until they or the time run out, with a checkpoint every few minutes; returns whether all are done.

    The checkpoint is `stem`.safetensors and the log `stem`.jsonl; each item of `steps` says what to log of a step. Of
    several processes that take the same steps, one `writes`.
    """
    checkpoint, lines_path = stem.with_suffix(".safetensors"), stem.with_suffix(".jsonl")
    if checkpoint.exists():
        learner.load(checkpoint)
    if writes and lines_path.exists():
        # Steps that were taken after the checkpoint are taken again.
        known = [line for line in lines_path.read_text().splitlines(keepends=True) if _step_of(line) <= learner.step]
        write_text(lines_path, "".join(known))
    progress.start(stem.name, total)
    progress.advance(learner.step)
    if learner.step >= total:
        return True
    begun = time.monotonic()
    with lines_path.open("a") as lines:
        for facts in steps:
            progress.advance(1, **{name: round(value, 4) for name, value in facts.items()})
            if writes and learner.step % log_every == 0:
                row = {"step": learner.step, "seconds": round(time.monotonic() - begun, 1), **facts}
                lines.write(json.dumps(row) + "\n")
                lines.flush()
            after_step()
            if learner.step % save_every == 0:
                learner.save(checkpoint, writes=writes)
            if past(deadline) or learner.step >= total:
                break
    learner.save(checkpoint, writes=writes)
    return learner.step >= total


def _step_of(line: str) -> float:
    """Returns the step that a line of a log is of; infinity for a line that was cut off."""
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return inf


def make_missing(make: Callable[[int], None], folder: Path, last: str, shards: int, processes: int) -> Iterator[int]:
    """Makes every shard of a folder that is not finished, several at a time.

    `make` can be sent to another process, and the file ending in `last` tells a finished shard.

    Yields:
        The number of each shard, as it is finished.
    """
    folder.mkdir(parents=True, exist_ok=True)
    missing = [number for number in range(shards) if not (folder / f"{number:05d}.{last}").exists()]
    if missing:
        with ProcessPoolExecutor(processes) as pool:
            for number, _ in zip(missing, pool.map(make, missing), strict=True):
                yield number


def past(deadline: float | None) -> bool:
    """Returns whether a monotonic time has come."""
    return deadline is not None and time.monotonic() >= deadline


def keep_recipe(path: Path, settings: dict[str, Any]) -> None:
    """Writes the recipe's settings beside a run, or checks that the run there has the same ones.

    Raises:
        SettingsError: if it has others.
    """
    settings = json.loads(json.dumps(settings))
    if not path.exists():
        write_json(path, settings)
    elif json.loads(path.read_text()) != settings:
        raise SettingsError(f"{path} is of a run with other settings; use the same ones or another --work folder")
