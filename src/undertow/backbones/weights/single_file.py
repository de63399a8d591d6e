"""A whole model in one safetensors file, in the layout Stable Diffusion was first published in.

Such a file holds the denoiser, the autoencoder and the text encoder, but neither their settings nor a tokenizer. The
settings are the published ones; nothing is downloaded. diffusers renames the weights.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from undertow.base import SettingsError, WeightsUnavailable

if TYPE_CHECKING:
    from transformers import CLIPTextModel

    from undertow.backbones.published import Architecture
    from undertow.backbones.weights.networks import Network

UNET, VAE, CLIP, OPEN_CLIP = (
    "model.diffusion_model.",
    "first_stage_model.",
    "cond_stage_model.transformer.",
    "cond_stage_model.model.",
)
_FIRST_LAYER = f"{UNET}input_blocks.0.0.weight"
_TEXT_KEYS = f"{UNET}input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight"

# What a file seems to be if some name in it holds one of these parts; the first that fits is said.
_SIGNS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("a LoRA, which changes a model and is none itself", ("lora_", ".lora", "hada_w", "lokr_")),
    ("a ControlNet, which steers a model and is none itself", ("control_model.", "controlnet_", "input_hint_block.")),
    ("Stable Diffusion XL", ("conditioner.embedders.",)),
    ("Stable Diffusion 3", ("joint_blocks.",)),
    ("a Flux model", ("double_blocks.", "double_stream")),
    ("a denoiser without its autoencoder and text encoder", (UNET, "down_blocks.0.attentions.", "input_blocks.")),
    ("an autoencoder alone", (VAE, "encoder.down", "decoder.up")),
    ("a text encoder alone", ("text_model.", "cond_stage_model.", "encoder.layers.")),
    ("a textual inversion, which adds words to a model and is none itself", ("emb_params", "string_to_param")),
)


@dataclass(frozen=True)
class TextEncoder:
    """What a file does not say of its text encoder.

    Attributes:
        config: Arguments of its configuration.
        padding: Number of the token that fills the text up.
        layout: Prefix of its weights' names, which tells OpenAI's naming from OpenCLIP's.
    """

    config: Mapping[str, Any]
    padding: int
    layout: str = CLIP


_TOKENS = {"vocab_size": 49408, "bos_token_id": 49406, "eos_token_id": 49407}
_SD1_TEXT = TextEncoder(
    {
        **_TOKENS,
        "hidden_size": 768,
        "intermediate_size": 3072,
        "projection_dim": 768,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "hidden_act": "quick_gelu",
    },
    padding=49407,
)
# Stable Diffusion 2 reads the last layer but one of 24, so that its encoder has 23.
_SD2_TEXT = TextEncoder(
    {
        **_TOKENS,
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "projection_dim": 512,
        "num_hidden_layers": 23,
        "num_attention_heads": 16,
        "hidden_act": "gelu",
    },
    padding=0,
    layout=OPEN_CLIP,
)
TEXT_ENCODERS: Mapping[str, TextEncoder] = {"sd-1.5": _SD1_TEXT, "sd-2.1": _SD2_TEXT, "sd-2.1-base": _SD2_TEXT}


def find_file_problem(path: Path) -> str | None:
    """Returns what keeps the file at `path` from being a model that is read here, as half a sentence, or `None`."""
    if path.suffix != ".safetensors":
        pickled = path.suffix in (".ckpt", ".pt", ".pth", ".bin", ".pkl")
        return f"{path} is {'a pickle, which undertow never opens' if pickled else 'not a safetensors file'}"
    shapes = shapes_in(path)
    if is_guided(shapes):
        return None
    if all(any(name.startswith(prefix) for name in shapes) for prefix in (UNET, VAE)) and _TEXT_KEYS in shapes:
        channels = shapes[_FIRST_LAYER][1] if _FIRST_LAYER in shapes else 4
        if channels != 4:
            return f"the denoiser of {path} reads {channels} channels and not 4 (an inpainting or depth model)"
        if any(name.startswith(f"{UNET}label_emb.") for name in shapes):
            return f"the denoiser of {path} needs more than a text (an unCLIP or upscaling model)"
        if not any(name.startswith((CLIP, OPEN_CLIP)) for name in shapes):
            return f"{path} holds no text encoder that is known"
        return None
    return f"{path} seems to be {_resemblance(shapes)}"


def is_guided(names: Iterable[str]) -> bool:
    """Returns whether weights of such names are those of guided diffusion (ADM), which denoises pixels."""
    return {"input_blocks.0.0.weight", "time_embed.0.weight", "out.2.weight"} <= set(names)


def published_names(path: Path, architectures: "Mapping[str, Architecture] | None" = None) -> list[str]:
    """Returns the published models whose weights have the shapes of those in the file.

    Weights do not tell what the denoiser predicts, so that there may be several.
    """
    from undertow.backbones.published import ARCHITECTURES

    width = shapes_in(path)[_TEXT_KEYS][1]
    known = ARCHITECTURES if architectures is None else architectures
    return [name for name, each in known.items() if name in TEXT_ENCODERS and each.text[1] == width]


def stored_networks(
    path: Path, architecture: "Architecture", device: torch.device, dtype: torch.dtype
) -> "tuple[Network, Network]":
    """Returns the denoiser and the autoencoder of the file, of which nothing has been read yet."""
    import diffusers
    from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint, convert_ldm_vae_checkpoint

    from undertow.backbones.weights.networks import Network, StoredWeights, hollow, quiet

    found = []
    for (kind, arguments), convert, prefix, what in (
        (architecture.denoiser, convert_ldm_unet_checkpoint, UNET, "denoiser"),
        (architecture.vae, convert_ldm_vae_checkpoint, VAE, "autoencoder"),
    ):
        names = [name for name in shapes_in(path) if name.startswith(prefix)]
        with quiet(), torch.device("meta"):
            module = getattr(diffusers, kind)(**arguments)
        # The weights are only renamed, so that numbers in their place say which is which.
        with quiet():
            renamed = convert({name: torch.tensor(place) for place, name in enumerate(names)}, module.config)
        stored = {new: names[int(place)] for new, place in renamed.items()}
        weights = StoredWeights(dict.fromkeys(stored, path), stored)
        found.append(Network(hollow(module), device, dtype, weights, f"{path} ({what})"))
    return found[0], found[1]


def read_text(path: Path, text: TextEncoder, length: int) -> "tuple[Any, CLIPTextModel]":
    """Returns a tokenizer and the text encoder of the file.

    The tokenizer is that of a folder `tokenizer` beside the file, or else one that knows the empty text only.

    Raises:
        WeightsUnavailable: if weights are missing, of other shapes, or not finite.
    """
    from diffusers.loaders.single_file_utils import convert_ldm_clip_checkpoint, convert_open_clip_checkpoint
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizerFast

    from undertow.backbones.weights.networks import fill_network, quiet
    from undertow.backbones.weights.tokenizers import read_tokenizer

    with quiet():
        encoder = CLIPTextModel(CLIPTextConfig(**text.config, max_position_embeddings=length))
        weights = _tensors(path, text.layout)
        if text.layout == CLIP:
            named = convert_ldm_clip_checkpoint(weights)
        else:
            named = convert_open_clip_checkpoint(encoder, weights, prefix=text.layout)
    if not hasattr(encoder, "text_model"):  # from version 5.6 of transformers
        named = {name.removeprefix("text_model."): weight for name, weight in named.items()}
    encoder = fill_network(encoder, named, f"{path} (text encoder)", torch.float32)
    beside = path.parent / "tokenizer"
    if beside.is_dir():
        return read_tokenizer(CLIPTokenizerFast, beside, most=length), encoder
    config = encoder.config
    return EmptyTextTokenizer((config.bos_token_id, config.eos_token_id), text.padding, length, path), encoder


class EmptyTextTokenizer:
    """Stands in for the tokenizer that a single file lacks: the tokens of the empty text are known without it."""

    def __init__(self, frame: tuple[int, int], padding: int, length: int, path: Path) -> None:
        """Takes the tokens before and after a text, the one that fills up, and how many there are in all."""
        self.model_max_length, self._path = length, path
        self._ids = [*frame, *(padding for _ in range(length - 2))]

    def __call__(self, text: str, **_: Any) -> Any:
        """Returns `input_ids` of shape (1, length), and `offset_mapping`: none of them stands for a character.

        Raises:
            SettingsError: if the text is not empty.
        """
        if text:
            raise SettingsError(
                f"{self._path.name} has no tokenizer, so that only the empty text is known; to use '{text}', put the "
                f"model's tokenizer folder beside it, as {self._path.parent / 'tokenizer'}"
            )
        ids = torch.tensor([self._ids])
        return SimpleNamespace(input_ids=ids, offset_mapping=torch.zeros(1, len(self._ids), 2, dtype=torch.int64))


def text_loader(path: Path, name: str, length: int) -> "Callable[[], tuple[Any, CLIPTextModel]]":
    """Returns what loads the text encoder of the file, which holds the published model `name`, when it is needed."""
    return lambda: read_text(path, TEXT_ENCODERS[name], length)


def _resemblance(names: Iterable[str]) -> str:
    names = list(names)
    for what, parts in _SIGNS:
        if any(part in name for name in names for part in parts):
            return f"{what}, not a whole Stable Diffusion 1 or 2 model"
    return f"no model that is known here (its first weight is called {min(names)})" if names else "empty"


def shapes_in(path: Path) -> dict[str, tuple[int, ...]]:
    """Returns the shape of every weight of a file by its name."""
    with _opened(path) as file:
        names = file.keys()
        return {name: tuple(file.get_slice(name).get_shape()) for name in names}


def _tensors(path: Path, prefix: str) -> dict[str, Tensor]:
    with _opened(path) as file:
        names = file.keys()
        return {name: file.get_tensor(name) for name in names if name.startswith(prefix)}


def _opened(path: Path) -> Any:
    try:
        return safe_open(path, framework="pt")
    except (OSError, SafetensorError) as error:
        raise WeightsUnavailable(f"{path} is not a whole safetensors file ({error}); download it again") from error
