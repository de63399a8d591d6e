"""A model as a folder: which files it needs, which of them hold weights, and its configurations, read with care.

There are two layouts. That of diffusers has a folder for each component, `transformer` being the denoiser of a video
transformer; that of transformers is one network, with its config and weights at the top. Configurations are JSON that
anyone may have written. What one states decides how much is built, so that every number is looked at here, before
anything is made of it.
"""

import json
import re
from pathlib import Path
from typing import Any, Literal

from undertow.base import SettingsError, WeightsUnavailable, whole

# How many times something is built: layers, blocks and heads.
_COUNTS = re.compile(r"layers(?!cale)|num_\w*(blocks|heads)")
# How large the layers of a text encoder are; its other numbers may be anything.
_SIZES = re.compile(r"size|dim|positions|^d_")
MOST_COUNT, MOST_NUMBER, MOST_LEVELS, MOST_TIMESTEPS = 256, 1 << 20, 16, 100_000


def read_config(path: Path, *, text: bool = False) -> dict[str, Any]:
    """Returns the configuration in a JSON file.

    That of a text or image encoder (`text`) has numbers of other kinds too.

    Raises:
        WeightsUnavailable: if it is absent, no JSON object, or has a number that is out of bounds.
        SettingsError: if it is of quantised weights.
    """
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise WeightsUnavailable(f"{path} cannot be read ({error.strerror}); download the model again") from error
    except (ValueError, RecursionError) as error:
        raise WeightsUnavailable(f"{path} is not valid JSON ({error}); download the model again") from error
    if not isinstance(config, dict):
        raise WeightsUnavailable(f"{path} holds no JSON object; download the model again")
    if config.get("quantization_config"):
        raise SettingsError(f"{path} is of quantised weights, which undertow does not read; give a plain model")
    try:
        for name, value in config.items():
            _check(name, value, path, text)
    except SettingsError as error:
        raise WeightsUnavailable(f"{error}, or download the model again") from error
    return config


def _check(name: str, value: Any, path: Path, text: bool) -> None:
    """Refuses a number that is out of bounds, or a list that is too long."""
    if isinstance(value, list):
        if "block" in name and len(value) > MOST_LEVELS:
            raise SettingsError(f"{path} has {len(value)} levels in {name}; give a model with {MOST_LEVELS} or fewer")
        for each in value:
            _check(name, each, path, text)
    elif name == "num_train_timesteps" and value is not None:
        whole(value, name, least=1, most=MOST_TIMESTEPS, source=path)
    elif value is not None and _COUNTS.search(name):
        whole(value, name, most=MOST_COUNT, source=path)
    elif isinstance(value, int | float) and not isinstance(value, bool) and (not text or _SIZES.search(name)):
        if isinstance(value, int):
            whole(value, name, least=int("patch_size" in name), most=MOST_NUMBER, source=path)
        elif not abs(value) <= MOST_NUMBER:
            raise SettingsError(f"in '{path}' {name} is {value:g}, which is no number to build with; correct it")


Layout = Literal["diffusers", "transformers"]

# Each component of the diffusers layout that holds weights, with the stem of its weight file.
WEIGHT_STEMS = {"unet": "diffusion_pytorch_model", "vae": "diffusion_pytorch_model", "text_encoder": "model"}
# Those of a video transformer; its text encoders, the heaviest, may be absent where only the empty text is used.
_VIDEO_STEMS = {"transformer": "diffusion_pytorch_model", "vae": "diffusion_pytorch_model"}
# The second denoiser of models that have one for the lower noise levels (Wan 2.2 A14B).
LOW_NOISE = "transformer_2"
_VIDEO_TEXT_STEMS = {"text_encoder": "model", "text_encoder_2": "model", "text_encoder_3": "model"}
_PLAIN_FILES = (
    *(f"{component}/config.json" for component in WEIGHT_STEMS),
    "scheduler/scheduler_config.json",
    "tokenizer/tokenizer_config.json",
)
# Those of a UNet that continues an image.
_CLIP_STEMS = {"unet": "diffusion_pytorch_model", "vae": "diffusion_pytorch_model", "image_encoder": "model"}
_CLIP_FILES = tuple(f"{component}/config.json" for component in _CLIP_STEMS)
# Those of a UNet of pixels.
_PIXEL_FILES = ("unet/config.json", "scheduler/scheduler_config.json")
_VIDEO_FILES = (*(f"{component}/config.json" for component in _VIDEO_STEMS), "scheduler/scheduler_config.json")
# Only these are fetched: never pickles, nor the half-precision and non-EMA copies beside the weights. No repository of
# one layout has the files of the other.
PATTERNS = (
    "config.json",
    "preprocessor_config.json",
    "model.safetensors",
    "model-*-of-*.safetensors",
    "model.safetensors.index.json",
    "scheduler/*.json",
    "tokenizer/*.json",
    "tokenizer/merges.txt",
    "tokenizer/spiece.model",
    "tokenizer_2/*.json",
    "tokenizer_2/merges.txt",
    "tokenizer_2/spiece.model",
    "tokenizer_3/*.json",
    "tokenizer_3/spiece.model",
    *(
        f"{component}/{name}"
        for component, stem in (WEIGHT_STEMS | _VIDEO_STEMS | _VIDEO_TEXT_STEMS | _CLIP_STEMS).items()
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
    clip = layout == "diffusers" and is_video_unet(folder)
    pixels = layout == "diffusers" and is_pixel_unet(folder)
    video = layout == "diffusers" and is_transformer(folder)
    plain = _PIXEL_FILES if pixels else _CLIP_FILES if clip else _VIDEO_FILES if video else _PLAIN_FILES
    for name in ("config.json",) if layout == "transformers" else plain:
        if not (folder / name).is_file():
            return f"{folder} has no {name}"
    vocabulary = folder / "tokenizer"
    if (
        layout == "diffusers"
        and not (video or clip or pixels)
        and not any((vocabulary / f"{name}.json").is_file() for name in ("tokenizer", "vocab"))
    ):
        return f"{vocabulary} has neither tokenizer.json nor vocab.json"
    for component, stem in (
        {"": "model"} if layout == "transformers" else _VIDEO_STEMS if video else _unet_stems(folder)
    ).items():
        if weight_variant(folder, component) is None:
            pickles = [file.name for file in sorted((folder / component).glob("*.bin"))]
            found = f"only the pickle {pickles[0]}" if pickles else "no weights"
            return f"{folder / component} holds {found}, not {stem}.safetensors"
    return None


def layout_of(folder: Path) -> Layout:
    """Returns which layout a model in `folder` has."""
    parts = ("unet", "transformer", "vae")
    own = (folder / "config.json").is_file() and not any((folder / each).is_dir() for each in parts)
    return "transformers" if own else "diffusers"


def is_transformer(folder: Path) -> bool:
    """Returns whether `folder` holds a denoiser that is a transformer, not a UNet."""
    return (folder / "transformer").is_dir() and not (folder / "unet").is_dir()


def is_pixel_unet(folder: Path) -> bool:
    """Returns whether `folder` holds a UNet that denoises pixels, and so has neither autoencoder nor text."""
    return (folder / "unet").is_dir() and not (folder / "vae").exists() and not (folder / "text_encoder").exists()


def is_video_unet(folder: Path) -> bool:
    """Returns whether `folder` holds a UNet that continues an image, as Stable Video Diffusion does."""
    return (folder / "unet").is_dir() and (folder / "image_encoder").is_dir()


def low_noise_denoiser(folder: Path) -> tuple[str, float] | None:
    """Returns the component that knows the lower noise levels and the timestep it ends below, if there are two.

    Raises:
        WeightsUnavailable: if the model's index is damaged.
        SettingsError: if it does not say which noise levels each of them knows.
    """
    if not (folder / LOW_NOISE).is_dir():
        return None
    boundary = read_config(folder / "model_index.json").get("boundary_ratio")
    if not isinstance(boundary, int | float) or not 0 < boundary <= 1:
        raise SettingsError(
            f"{folder} has two denoisers and {folder / 'model_index.json'} no boundary_ratio between them; "
            f"remove {LOW_NOISE}, or correct it"
        )
    return LOW_NOISE, 1000 * boundary


def _unet_stems(folder: Path) -> dict[str, str]:
    pixels = {"unet": WEIGHT_STEMS["unet"]}
    if (folder / "text_encoder_2").is_dir():
        return {**WEIGHT_STEMS, "text_encoder_2": "model"}
    return pixels if is_pixel_unet(folder) else _CLIP_STEMS if is_video_unet(folder) else WEIGHT_STEMS


def weight_variant(folder: Path, component: str) -> str | None:
    """Returns which copy of its weights a component has; in the layout of transformers, the component is "".

    Returns:
        "" for plain safetensors (one file or shards), "fp16" if there is only a half-precision copy, `None` if neither.
    """
    stem = (
        folder
        / component
        / (WEIGHT_STEMS | _VIDEO_STEMS | {LOW_NOISE: _VIDEO_STEMS["transformer"]}).get(component, "model")
    )
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
    stems = {"": "model"}
    if layout == "diffusers":
        stems = _VIDEO_STEMS | _VIDEO_TEXT_STEMS if is_transformer(folder) else _unet_stems(folder)
        stems |= {LOW_NOISE: _VIDEO_STEMS["transformer"]} if (folder / LOW_NOISE).is_dir() else {}
    for component, stem in stems.items():
        variant = weight_variant(folder, component)
        infix = f".{variant}" if variant else ""
        for pattern in (f"{stem}{infix}.safetensors", f"{stem}*-of-*.safetensors"):
            files += [file.relative_to(folder).as_posix() for file in sorted((folder / component).glob(pattern))]
    return files
