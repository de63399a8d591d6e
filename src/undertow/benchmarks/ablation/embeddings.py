"""Conditionings to be laid beside each other: learned tensors, and the texts of the same objects."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from undertow.backbones import Conditioning, ImageUNet
from undertow.base import SettingsError
from undertow.benchmarks.ablation.texts import ObjectTexts
from undertow.tracking.tuning import read_facts, read_kernel


def gather_conditionings(
    backbone: ImageUNet, folder: Path, texts: Sequence[Mapping[int, ObjectTexts]]
) -> dict[str, Float[np.ndarray, "n d"]]:
    """Returns whole conditionings as vectors, by what they are: the null text, class names, captions, and learned ones.

    Args:
        backbone: the model; kernels of others are left out.
        folder: where learned kernels are kept.
        texts: of the objects of each sequence.
    """
    objects = [one for each in texts for one in each.values()]
    groups: dict[str, list[Conditioning]] = {"null text": [backbone.embed(backbone.card.null_text)]}
    for kind, title in (("class", "class names"), ("caption", "captions")):
        words = dict.fromkeys(one.of(kind) for one in objects)
        groups[title] = [backbone.embed(text) for text in words]
    for path in sorted(folder.glob("*.safetensors")):
        try:
            facts, kernel = read_facts(path), read_kernel(path, backbone)
        except SettingsError:
            # Of another model, or half written by another version.
            continue
        tuning = facts.get("tuning")
        if kernel.conditioning.provenance == "learned" and isinstance(tuning, dict):
            name = "learned, fast" if tuning.get("held_out") else "learned, paper"
            groups.setdefault(name + ", self left out" * bool(tuning.get("exclude_self")), []).append(
                kernel.conditioning
            )
    return {
        name: np.stack([each.tensor.float().cpu().numpy().ravel() for each in found])
        for name, found in groups.items()
        if found
    }
