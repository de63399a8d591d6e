"""What training carries from step to step, and the file it is kept in, so that slices of work add up to one run."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from undertow.base import SettingsError, atomic_path


class Learner:
    """Modules, AdamW and an exponential moving average of the weights, saved together as safetensors.

    Args:
        modules: What is trained, by name; frozen parameters are left alone.
        rate: Peak learning rate.
        undecayed: Parts of parameter names that get no weight decay besides biases and norms.
        horizon: Number of steps over which the moving average comes to average; it warms up from nothing.
    """

    def __init__(
        self, modules: Mapping[str, nn.Module], *, rate: float, undecayed: tuple[str, ...] = (), horizon: int = 500
    ):
        self.modules = dict(modules)
        self.rate, self.horizon, self.step = rate, horizon, 0
        named = {f"{m}.{n}": p for m, module in self.modules.items() for n, p in module.named_parameters()}
        self.parameters = {name: parameter for name, parameter in named.items() if parameter.requires_grad}
        free = {n for n, p in self.parameters.items() if p.ndim < 2 or any(part in n for part in undecayed)}
        groups = [
            {"params": [p for n, p in self.parameters.items() if n not in free], "weight_decay": 0.01},
            {"params": [p for n, p in self.parameters.items() if n in free], "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.99))
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

    def save(self, path: Path) -> None:
        """Writes everything needed to go on exactly, atomically."""
        tensors = {"step": torch.tensor(self.step)}
        for name, parameter in self.parameters.items():
            tensors[f"weight.{name}"] = parameter.detach()
            tensors[f"average.{name}"] = self.average[name]
            for key, value in self.optimizer.state.get(parameter, {}).items():
                tensors[f"adam.{key}.{name}"] = value
        with atomic_path(path) as temporary:
            save_file({n: t.detach().cpu().clone().contiguous() for n, t in tensors.items()}, temporary)

    def load(self, path: Path) -> None:
        """Reads what `save` wrote.

        Raises:
            SettingsError: if the file belongs to another architecture.
        """
        tensors = load_file(path)
        try:
            with torch.no_grad():
                for name, parameter in self.parameters.items():
                    parameter.copy_(tensors[f"weight.{name}"])
                    self.average[name].copy_(tensors[f"average.{name}"])
                    state = {k: tensors[f"adam.{k}.{name}"] for k in ("exp_avg", "exp_avg_sq")}
                    state = {k: v.to(parameter.device) for k, v in state.items()}
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
            with torch.no_grad():
                for name, parameter in self.parameters.items():
                    parameter.copy_(trained[name])

    def use_average(self) -> None:
        """Replaces the weights by their moving average, for export; training cannot go on after it."""
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                parameter.copy_(self.average[name])
