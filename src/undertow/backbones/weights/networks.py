"""Reading one network from files: whole, finite, and without the libraries' own noise."""

import math
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from undertow.backbones.weights.layout import Layout, read_config, weight_files, weight_variant
from undertow.base import WeightsUnavailable

# What the first autoencoders call the projections of their attentions.
_OLD_NAMES = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}


def read_network(kind: Any, folder: Path, component: str, dtype: torch.dtype) -> Any:
    """Returns a network of transformers: a component of a folder in the diffusers layout, or "" in transformers' own.

    Raises:
        WeightsUnavailable: if weights are missing, of another shape, damaged or not finite.
        SettingsError: if a number in its configuration is out of bounds.
    """
    where = folder / component
    read_config(where / "config.json", text=True)
    try:
        with quiet():
            network, report = kind.from_pretrained(
                where,
                variant=weight_variant(folder, component) or None,
                dtype=dtype,
                # Said here, since a configuration may ask for one that is fetched from elsewhere.
                attn_implementation="sdpa" if kind._supports_sdpa else "eager",
                use_safetensors=True,
                local_files_only=True,
                output_loading_info=True,
            )
    except Exception as error:  # a configuration can be wrong in as many ways as the libraries have lines
        raise _unreadable(str(where), error) from error
    _require_all(report["missing_keys"], str(where))
    _require_finite(dict(network.named_parameters()), str(where))
    return network


class StoredWeights:
    """Weights in safetensors files by name, read when they are asked for.

    Args:
        files: Where each weight is.
        stored: What a weight is called in its file, where that is another name.
        parts: Which of how many equal parts of a stored weight's rows a weight is, where it is not all of it, and into
            how many blocks the rows were divided before.
    """

    def __init__(
        self,
        files: Mapping[str, Path],
        stored: Mapping[str, str] | None = None,
        parts: Mapping[str, tuple[int, int, int]] | None = None,
    ) -> None:
        self.files, self.stored, self.parts = dict(files), dict(stored or {}), dict(parts or {})

    @classmethod
    def of(cls, folder: Path, component: str) -> "StoredWeights":
        """Returns the weights of one component of a `folder` in the diffusers layout.

        Raises:
            WeightsUnavailable: if a file is damaged.
        """
        files = weight_names(folder, component)
        stored = {_renamed(name): name for name in files}
        return cls({new: files[name] for new, name in stored.items()}, stored)

    def __contains__(self, name: str) -> bool:
        return name in self.files

    def tensors(self, names: Iterable[str]) -> Iterator[tuple[str, Tensor]]:
        """Yields some weights with their names, file by file."""
        for file, group in groupby(sorted(names, key=lambda name: self.files[name]), self.files.__getitem__):
            with safe_open(file, "pt") as opened:
                for name in group:
                    yield name, self._part(name, opened.get_tensor(self.stored.get(name, name)))

    def heads(self, names: Iterable[str], count: int) -> Iterator[tuple[str, Tensor]]:
        """Yields the first numbers of some weights with their names, file by file, without reading all of them."""
        for file, group in groupby(sorted(names, key=lambda name: self.files[name]), self.files.__getitem__):
            with safe_open(file, "pt") as opened:
                for name in group:
                    part = opened.get_slice(self.stored.get(name, name))
                    shape = part.get_shape()
                    if not shape or name in self.parts:
                        whole = self._part(name, opened.get_tensor(self.stored.get(name, name)))
                        yield name, whole.flatten()[:count]
                    else:
                        rows = -(-count // max(1, math.prod(shape[1:])))
                        yield name, part[:rows].flatten()[:count]

    def _part(self, name: str, stored: Tensor) -> Tensor:
        """Returns what of a stored weight is that of a name."""
        if name not in self.parts:
            return stored
        index, count, blocks = self.parts[name]
        return stored.unflatten(0, (blocks, count, -1))[:, index].flatten(0, 1)


def weight_names(folder: Path, component: str, layout: Layout = "diffusers") -> dict[str, Path]:
    """Returns the file of each weight of a component, in transformers' layout "", by the name it has there.

    Raises:
        WeightsUnavailable: if a file is damaged.
    """
    files: dict[str, Path] = {}
    for file in weight_files(folder, layout):
        if file.rpartition("/")[0] == component and folder / file not in files.values():
            try:
                with safe_open(folder / file, "pt") as opened:
                    files |= dict.fromkeys(opened.keys(), folder / file)
            except (OSError, SafetensorError) as error:
                raise _unreadable(str(folder / component), error) from error
    return files


def converted_weights(folder: Path, module: Any) -> StoredWeights:
    """Returns the weights in a folder in transformers' layout, as its classes name them today.

    Files keep the names that they were published with; transformers knows which became which, and what was one.

    Raises:
        WeightsUnavailable: if a file is damaged.
    """
    from transformers.conversion_mapping import get_model_conversion_mapping

    files, stored, parts = weight_names(folder, "", "transformers"), dict[str, str](), dict[str, tuple[int, int, int]]()
    changes = get_model_conversion_mapping(module)
    for name in files:
        names = [name]
        for change in changes:
            new, matched = change.rename_source_key(names[0])
            if matched is not None:
                first, targets = change.target_patterns[0], change.target_patterns
                names = [new, *(new.replace(first, target, 1) for target in targets[1:])]
        stored |= dict.fromkeys(names, name)
        parts |= {each: (index, len(names), 1) for index, each in enumerate(names) if len(names) > 1}
    return StoredWeights({new: files[name] for new, name in stored.items()}, stored, parts)


class Network:
    """A frozen network whose weights are read when they are needed, and moved to where it runs.

    Weights that were not read are on the "meta" device: they have shapes and no memory.
    """

    def __init__(
        self,
        module: Any,
        device: torch.device,
        dtype: torch.dtype,
        stored: StoredWeights | None = None,
        where: str = "",
    ) -> None:
        """Takes over a module: freezes it, and moves the weights it has to `device`, in the number type `dtype`.

        Those that its class wants in float32 stay so. Weights on the "meta" device come from `stored`; errors call
        their origin `where`.
        """
        self.module = (hollow(module) if device.type == "meta" else module).eval().requires_grad_(False)
        self.device, self.dtype, self.stored, self._where = device, dtype, stored, where
        for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
            if stored is None or not tensor.is_meta:
                tensor.data = self._placed(name, tensor.data)

    def nbytes(self, wanted: Callable[[str], bool] | None = None) -> int:
        """Returns the bytes of the weights that have been read, or of those with names that are `wanted`."""
        total = 0
        for name, each in self.module.state_dict().items():
            waiting = self.stored is not None and each.is_meta
            size = weight_dtype(self.module, name, self.dtype).itemsize if waiting else each.itemsize
            total += each.numel() * size if (not waiting if wanted is None else wanted(name)) else 0
        return total

    def read(self, wanted: Callable[[str], bool] = lambda name: True) -> None:
        """Reads the weights with names that are `wanted`, unless they were read before.

        Raises:
            WeightsUnavailable: if one is missing, of another shape or not finite, or a file is damaged.
        """
        if self.stored is None:
            return
        shapes = {n: each.shape for n, each in self.module.state_dict().items() if each.is_meta and wanted(n)}
        _require_all({name for name in shapes if name not in self.stored}, self._where)
        try:
            chosen = {}
            for name, stored in self.stored.tensors(shapes):
                # A copy, since a view of the file has another alignment in memory, and rounds otherwise.
                weight = self._placed(name, stored, copy=True)
                # Files of the first layout keep some matrices as convolutions of one pixel.
                dimensions = len(shapes[name])
                chosen[name] = weight.flatten(dimensions - 1) if weight.ndim > dimensions > 0 else weight
            self.module.load_state_dict(chosen, strict=False, assign=True)
        except (OSError, RuntimeError, SafetensorError) as error:
            raise _unreadable(self._where, error) from error
        _require_finite(chosen, self._where)

    def heads(self, count: int) -> Iterator[tuple[str, tuple[int, ...], torch.dtype, Tensor]]:
        """Yields name, shape, number type and first numbers of every weight, of those not read from their files.

        A weight whose file is not there has no numbers.
        """
        weights, unread = self.module.state_dict(), dict[str, Tensor]()
        if self.stored is not None:
            names = [name for name, tensor in weights.items() if tensor.is_meta and name in self.stored]
            unread = dict(self.stored.heads(names, count))
        for name, tensor in weights.items():
            dtype, head = tensor.dtype, tensor.flatten()[:count]
            if self.stored is not None and tensor.is_meta:
                dtype = weight_dtype(self.module, name, self.dtype)
                head = unread[name].to(dtype) if name in unread else torch.empty(0)
            yield name, tuple(tensor.shape), dtype, head

    def _placed(self, name: str, tensor: Tensor, copy: bool = False) -> Tensor:
        dtype = weight_dtype(self.module, name, self.dtype) if tensor.is_floating_point() else tensor.dtype
        return tensor.to(self.device, dtype, copy=copy)


def stored_network(
    kind: str, config: Mapping[str, Any], folder: Path, component: str, device: torch.device, dtype: torch.dtype
) -> Network:
    """Returns a network of a class of diffusers, of which nothing has been read yet.

    Raises:
        WeightsUnavailable: if a file is damaged.
    """
    import diffusers

    where = str(folder / component)
    try:
        with quiet(), torch.device("meta"):
            module = getattr(diffusers, kind).from_config(dict(config))
    except Exception as error:  # a configuration can be wrong in as many ways as the libraries have lines
        reason = textwrap.shorten(f"{type(error).__name__}: {error}", 160)
        raise WeightsUnavailable(
            f"{where} describes no network that can be built ({reason}); give another model"
        ) from error
    return Network(hollow(module), device, dtype, StoredWeights.of(folder, component), where)


def hollow(module: Any) -> Any:
    """Returns a module that was built on the "meta" device without those weights that were made elsewhere all the same.

    Where a class makes a weight out of numbers, it is on no device but the CPU, and would pass for one that was read.
    """
    for part in module.modules():
        for name, weight in part.named_parameters(recurse=False):
            if not weight.is_meta:
                setattr(part, name, torch.nn.Parameter(weight.to("meta"), requires_grad=False))
    return module


def fill_network(network: Any, weights: Mapping[str, Tensor], where: str, dtype: torch.dtype) -> Any:
    """Returns `network` with `weights` in the place of its own; what else `weights` holds is ignored.

    The network may be one without memory, on the "meta" device; errors call the origin of the weights `where`.

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
    _require_finite(chosen, where)
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
    # Here, as both take seconds to import, and much that finds weights reads none.
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

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


def _renamed(name: str) -> str:
    """Returns the name that a weight has now; old autoencoders call the parts of an attention otherwise."""
    path, _, own = name.rpartition(".")
    parent, _, part = path.rpartition(".")
    return f"{parent}.{_OLD_NAMES[part]}.{own}" if part in _OLD_NAMES and ".attentions." in path else name


def _require_finite(weights: Mapping[str, Tensor], where: str) -> None:
    for name, weight in weights.items():
        # A sum is not finite if any term is not, and is much cheaper than looking at each.
        if weight.is_floating_point() and not weight.sum(dtype=torch.float32).isfinite():
            raise WeightsUnavailable(
                f"{where} has NaN or infinite numbers in {name}; the file is damaged, download it again"
            )


def _unreadable(where: str, error: BaseException) -> WeightsUnavailable:
    while (earlier := error.__cause__ or error.__context__) is not None:
        error = earlier
    reason = textwrap.shorten(str(error), 160)
    return WeightsUnavailable(f"the weights in {where} do not load ({reason}); download the model again")
