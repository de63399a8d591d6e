"""A model as a folder: which files it needs, and which of them hold weights.

There are two layouts. That of diffusers has a folder for each component; that of transformers is one network, with its
config and weights at the top.
"""

from pathlib import Path
from typing import Literal

Layout = Literal["diffusers", "transformers"]

# Each component of the diffusers layout that holds weights, with the stem of its weight file.
WEIGHT_STEMS = {"unet": "diffusion_pytorch_model", "vae": "diffusion_pytorch_model", "text_encoder": "model"}
# The layout of transformers is one component, the folder itself.
_STEMS = {"diffusers": WEIGHT_STEMS, "transformers": {"": "model"}}
_PLAIN_FILES = (
    *(f"{component}/config.json" for component in WEIGHT_STEMS),
    "scheduler/scheduler_config.json",
    "tokenizer/tokenizer_config.json",
)
# Only these are fetched: never pickles, nor the half-precision and non-EMA copies beside the weights. No repository of
# one layout has the files of the other.
PATTERNS = (
    "config.json",
    "model.safetensors",
    "model-*-of-*.safetensors",
    "model.safetensors.index.json",
    "scheduler/*.json",
    "tokenizer/*.json",
    "tokenizer/merges.txt",
    *(
        f"{component}/{name}"
        for component, stem in WEIGHT_STEMS.items()
        for name in (
            "config.json",
            f"{stem}.safetensors",
            f"{stem}-*-of-*.safetensors",
            f"{stem}.safetensors.index.json",
        )
    ),
)


def find_problem(folder: Path, layout: Layout = "diffusers") -> str | None:
    """Returns what keeps `folder` from being a model in `layout`, as half a sentence, or `None`."""
    if not folder.is_dir():
        return f"{folder} is not a folder"
    for name in _PLAIN_FILES if layout == "diffusers" else ("config.json",):
        if not (folder / name).is_file():
            return f"{folder} has no {name}"
    vocabulary = folder / "tokenizer"
    if layout == "diffusers" and not any((vocabulary / f"{name}.json").is_file() for name in ("tokenizer", "vocab")):
        return f"{vocabulary} has neither tokenizer.json nor vocab.json"
    for component, stem in _STEMS[layout].items():
        if weight_variant(folder, component) is None:
            pickles = [file.name for file in sorted((folder / component).glob("*.bin"))]
            found = f"only the pickle {pickles[0]}" if pickles else "no weights"
            return f"{folder / component} holds {found}, not {stem}.safetensors"
    return None


def weight_variant(folder: Path, component: str) -> str | None:
    """Returns which copy of its weights `component` has.

    Args:
        folder: of the model.
        component: name of the component's folder inside it; "" for the layout of transformers.

    Returns:
        "" for plain safetensors (one file or shards), "fp16" if there is only a half-precision copy, `None` if neither.
    """
    stem = folder / component / WEIGHT_STEMS.get(component, "model")
    for variant, endings in {
        "": (".safetensors", ".safetensors.index.json"),
        "fp16": (".fp16.safetensors", ".safetensors.index.fp16.json"),
    }.items():
        if any(Path(f"{stem}{ending}").is_file() for ending in endings):
            return variant
    return None


def weight_files(folder: Path, layout: Layout = "diffusers") -> list[str]:
    """Returns the paths inside `folder` of all files from which loading may read weights.

    A single file and shards of the same weights are both named, because the libraries differ in which they prefer.
    """
    files = []
    for component, stem in _STEMS[layout].items():
        variant = weight_variant(folder, component)
        infix = f".{variant}" if variant else ""
        for pattern in (f"{stem}{infix}.safetensors", f"{stem}*-of-*.safetensors"):
            files += [file.relative_to(folder).as_posix() for file in sorted((folder / component).glob(pattern))]
    return files
