"""Learned kernels on disk: small safetensors that say which model and mask they are for, and the same as JSON."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError, safe_open

from undertow.backbones import Backbone, Conditioning
from undertow.base import SettingsError, write_json, write_tensors
from undertow.masks import LabelMap
from undertow.tracking.kernels import ObjectKernel

FORMAT = "undertow kernel 1"


def kernel_key(facts: Mapping[str, Any]) -> str:
    """Returns 16 hexadecimal digits of everything that decides what would be learned."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def mask_hash(labels: LabelMap, object_id: int) -> str:
    """Returns 16 hexadecimal digits of one object's pixels."""
    shape = "x".join(map(str, labels.shape)).encode()
    return hashlib.sha256(shape + (labels == object_id).tobytes()).hexdigest()[:16]


def write_kernel(path: Path | str, kernel: ObjectKernel, facts: Mapping[str, Any]) -> None:
    """Writes a kernel atomically, and its facts beside it with the suffix .json.

    Args:
        path: A file name that ends in .safetensors.
        kernel: What was learned.
        facts: Plain values; "model" must be the fingerprint of the model.
    """
    path = Path(path)
    facts = {"format": FORMAT, **facts}
    if kernel.conditioning.text is not None:
        facts["text"] = kernel.conditioning.text
    tensors = {"conditioning": kernel.conditioning.tensor, "head_weights": kernel.head_weights}
    plain = {name: tensor.detach().float().cpu().contiguous() for name, tensor in tensors.items()}
    write_tensors(path, plain, {"undertow": json.dumps(facts)})
    write_json(path.with_suffix(".json"), facts)


def read_facts(path: Path | str) -> dict[str, Any]:
    """Returns the facts of a kernel.

    Raises:
        SettingsError: if the file cannot be read or is none of a kernel.
    """
    try:
        with safe_open(path, framework="pt") as file:
            facts = json.loads((file.metadata() or {}).get("undertow", "null"))
    except (OSError, SafetensorError, ValueError, RecursionError) as error:
        raise SettingsError(f"'{path}' cannot be read as safetensors ({error}); tune again") from error
    if not isinstance(facts, dict) or facts.get("format") != FORMAT:
        raise SettingsError(f"'{path}' is not a kernel that undertow learned; give a file that tuning wrote")
    return facts


def read_kernel(path: Path | str, backbone: Backbone) -> ObjectKernel:
    """Returns a kernel, after checking that it was learned for this very model.

    Raises:
        SettingsError: if it cannot be read, or its model, shape or numbers are wrong.
    """
    facts, fingerprint = read_facts(path), backbone.fingerprint()
    if facts.get("model") != fingerprint:
        raise SettingsError(
            f"'{path}' was learned for the model {facts.get('model')} but this one is {fingerprint}; tune again for it"
        )
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    if set(tensors) != {"conditioning", "head_weights"}:
        raise SettingsError(f"'{path}' holds {', '.join(sorted(tensors)) or 'nothing'}, not a kernel; tune again")
    states, weights = tensors["conditioning"], tensors["head_weights"]
    wanted = tuple(backbone.condition().tensor.shape)
    if tuple(states.shape) != wanted:
        raise SettingsError(f"'{path}' has a conditioning of shape {tuple(states.shape)}, not {wanted}; tune again")
    if weights.ndim != 1 or not bool((weights >= 0).all() and (weights.sum() - 1).abs() < 1e-4):
        raise SettingsError(f"'{path}' has head weights that are not shares of one; tune again")
    if not bool(torch.isfinite(states).all()):
        raise SettingsError(f"'{path}' has NaN or infinite numbers; tune again")
    text = facts.get("text")
    if text is None:
        return ObjectKernel(Conditioning(states.to(backbone.device), "learned"), weights)
    provenance: Literal["null", "text"] = "null" if text == backbone.card.null_text else "text"
    return ObjectKernel(Conditioning(states.to(backbone.device), provenance, text), weights)
