"""Reading one network from files: whole, finite, and without the libraries' own noise."""

import textwrap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import copy
from pathlib import Path
from typing import Any

import torch
from diffusers.utils import logging as diffusers_logging
from safetensors import SafetensorError, safe_open
from torch import Tensor
from transformers.utils import logging as transformers_logging

from undertow.backbones.weights.layout import weight_files, weight_variant
from undertow.base import WeightsUnavailable


def read_network(kind: Any, folder: Path, component: str, dtype: torch.dtype) -> Any:
    """Returns one network of a `folder` in the diffusers layout.

    Args:
        kind: class of the network.
        folder: of the model.
        component: name of the network's folder inside it.
        dtype: number type of the weights.

    Raises:
        WeightsUnavailable: if weights are missing, of another shape, damaged or not finite.
    """
    options: dict[str, Any] = {"variant": weight_variant(folder, component) or None, "use_safetensors": True}
    if kind.__module__.startswith("transformers."):
        options |= {"dtype": dtype}
    else:
        options |= {"torch_dtype": dtype, "low_cpu_mem_usage": False}
    where = str(folder / component)
    try:
        with quiet():
            network, report = kind.from_pretrained(
                folder / component, local_files_only=True, output_loading_info=True, **options
            )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise _unreadable(where, error) from error
    _require_all(report["missing_keys"], where)
    _require_finite(network, where)
    return network


def fill_network(network: Any, weights: Mapping[str, Tensor], where: str, dtype: torch.dtype) -> Any:
    """Returns `network` with `weights` in the place of its own; what else `weights` holds is ignored.

    Args:
        network: any, also one without memory on the "meta" device.
        weights: tensors by parameter name.
        where: what to call their origin in errors.
        dtype: number type they are brought to.

    Raises:
        WeightsUnavailable: if weights are missing, of another shape or not finite.
    """
    expected = network.state_dict()
    _require_all(set(expected) - set(weights), where)
    try:
        chosen = {name: weights[name].to(weight_dtype(network, name, dtype)) for name in expected}
        network.load_state_dict(chosen, assign=True)
    except (OSError, RuntimeError, SafetensorError) as error:
        raise _unreadable(where, error) from error
    _require_finite(network, where)
    return network


class StoredWeights(Mapping[str, Tensor]):
    """The weights of one component of a folder by name, each read from its file when it is asked for.

    Args:
        folder: Of the model, in the diffusers layout.
        component: Name of the network's folder inside it.

    Raises:
        WeightsUnavailable: If there are none.
    """

    def __init__(self, folder: Path, component: str) -> None:
        self._prefix = ""
        self._files: dict[str, Path] = {}
        for file in weight_files(folder):
            if file.rpartition("/")[0] == component and folder / file not in self._files.values():
                try:
                    with safe_open(folder / file, "pt") as stored:
                        self._files |= dict.fromkeys(stored.keys(), folder / file)
                except (OSError, SafetensorError) as error:
                    raise _unreadable(str(folder / component), error) from error

    def below(self, prefix: str) -> "StoredWeights":
        """Returns the weights whose names begin with `prefix`, without it."""
        view = copy(self)
        view._prefix = self._prefix + prefix
        return view

    def __getitem__(self, name: str) -> Tensor:
        with safe_open(self._files[self._prefix + name], "pt") as stored:
            return stored.get_tensor(self._prefix + name)

    def __iter__(self) -> Iterator[str]:
        return (name.removeprefix(self._prefix) for name in self._files if name.startswith(self._prefix))

    def __len__(self) -> int:
        return sum(1 for _ in self)


def cast(network: Any, dtype: torch.dtype) -> Any:
    """Returns `network` with its weights in `dtype`, but for those that its class wants in float32."""
    for name, module in network.named_modules():
        for own, tensor in [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]:
            if tensor.is_floating_point():
                tensor.data = tensor.data.to(weight_dtype(network, f"{name}.{own}", dtype))
    return network


def weight_dtype(network: Any, name: str, dtype: torch.dtype) -> torch.dtype:
    """Returns the number type of the weight called `name` where the others have `dtype`."""
    kept = getattr(network, "_keep_in_fp32_modules", None) or ()
    return torch.float32 if any(part in kept for part in name.split(".")) else dtype


@contextmanager
def quiet() -> Iterator[None]:
    """Keeps the libraries from drawing bars and tables: what is wrong with weights is said in our own sentence.

    When reading fails, diffusers leaves torch's default number type at that of the weights; it is put back.
    """
    dtype = torch.get_default_dtype()
    levels = [(library, library.get_verbosity()) for library in (diffusers_logging, transformers_logging)]
    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        for library, _ in levels:
            library.set_verbosity_error()
        yield
    finally:
        torch.set_default_dtype(dtype)
        for library, level in levels:
            library.set_verbosity(level)
        if bars:
            transformers_logging.enable_progress_bar()


def _require_all(missing: Any, where: str) -> None:
    if missing:
        first = sorted(missing)[0]
        raise WeightsUnavailable(
            f"{where} lacks {len(missing)} of its weights, {first} first; download the model again"
        )


def _require_finite(network: Any, where: str) -> None:
    for name, weight in network.named_parameters():
        # A sum is not finite if any term is not, and is much cheaper than looking at each.
        if not weight.sum(dtype=torch.float32).isfinite():
            raise WeightsUnavailable(
                f"{where} has NaN or infinite numbers in {name}; the file is damaged, download it again"
            )


def _unreadable(where: str, error: BaseException) -> WeightsUnavailable:
    while (earlier := error.__cause__ or error.__context__) is not None:
        error = earlier
    reason = textwrap.shorten(str(error), 160)
    return WeightsUnavailable(f"the weights in {where} do not load ({reason}); download the model again")
