"""Reading one network from files: whole, finite, and without the libraries' own noise."""

import textwrap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from diffusers.utils import logging as diffusers_logging
from safetensors import SafetensorError
from torch import Tensor
from transformers import CLIPTextModel
from transformers.utils import logging as transformers_logging

from undertow.backbones.layout import weight_variant
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
    if kind is CLIPTextModel:
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
    chosen = {name: weights[name].to(dtype) for name in expected}
    try:
        network.load_state_dict(chosen, assign=True)
    except RuntimeError as error:
        raise _unreadable(where, error) from error
    _require_finite(network, where)
    return network


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
