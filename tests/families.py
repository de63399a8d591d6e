"""Small models with random weights of every family that undertow loads, as folders that commands can be given.

Each has the layout of its published model: the same classes, number of levels and places of attention (of a
transformer only three blocks), but thin layers. A folder takes half a second to write and a few megabytes.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import diffusers
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTokenizer,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
    LlamaConfig,
    LlamaModel,
    PreTrainedTokenizerFast,
    T5Config,
    T5EncoderModel,
    T5TokenizerFast,
    UMT5Config,
    UMT5EncoderModel,
)

from undertow.backbones import get_card
from undertow.backbones.cards.card_file import write_card_file

TEXT = 32  # width of the states of a text, in every family
Network = tuple[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Family:
    """What a folder holds.

    Attributes:
        card: Name of the published model's card.
        denoiser: Class of diffusers, and its arguments.
        vae: Likewise.
        scheduler: Class of diffusers, and its arguments.
        texts: Writes tokenizers and text encoders, or what the model reads in their place.
        block: Path of the attention that is read, of a transformer; `None` to keep the card's paths.
    """

    card: str
    denoiser: Network
    vae: Network
    scheduler: Network
    texts: Callable[[Path], None]
    block: str | None = None


def write_family(name: str, folder: Path, seed: int = 0) -> Path:
    """Writes the small model called `name`, a key of `FAMILIES`, into `folder`, and returns that.

    Its `card.json` is the published model's card with the sites of this one, so that both the folder and the card file
    can be given as --model: the folder alone is read at one generic site.
    """
    family = FAMILIES[name]
    component = "transformer" if "Transformer" in family.denoiser[0] else "unet"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        denoiser = _built(family.denoiser)
        for path, network in (
            (component, denoiser),
            ("vae", _built(family.vae)),
            ("scheduler", _built(family.scheduler)),
        ):
            network.save_pretrained(folder / path)
        family.texts(folder)
    card = get_card(family.card)
    sites = {
        purpose: tuple(_fitted(replace(site, path=family.block or site.path), denoiser) for site in places)
        for purpose, places in card.sites.items()
    }
    (folder / "model_index.json").write_text(json.dumps({"_class_name": "Pipeline", "_diffusers_version": "0.42.0"}))
    own = replace(card, name=f"small-{name}", hub_ids=(), sites=sites, token_budget=64)
    write_card_file(folder / "card.json", own, like=card, folder=".")
    return folder


def _built(network: Network) -> Any:
    kind, arguments = network
    return getattr(diffusers, kind)(**arguments)


def _fitted(site: Any, denoiser: Any) -> Any:
    attention = denoiser.get_submodule(site.path)
    return replace(site, heads=attention.heads, head_dim=attention.to_q.out_features // attention.heads)


def write_clip(folder: Path, number: str = "", length: int = 10, width: int = TEXT) -> None:
    """Writes CLIP's text encoder with one layer, and a tokenizer that spells every word."""
    letters = [chr(code) for code in range(33, 127)]
    entries = ["<|startoftext|>", "<|endoftext|>", *letters, *(letter + "</w>" for letter in letters)]
    tokenizer = CLIPTokenizer(vocab={entry: i for i, entry in enumerate(entries)}, merges=[], model_max_length=length)
    config = CLIPTextConfig(
        vocab_size=len(tokenizer), hidden_size=width, intermediate_size=width, projection_dim=width,
        num_hidden_layers=1, num_attention_heads=2, max_position_embeddings=length,
        bos_token_id=0, eos_token_id=1, pad_token_id=1,
    )  # fmt: skip
    CLIPTextModel(config).save_pretrained(folder / f"text_encoder{number}")
    tokenizer.save_pretrained(folder / f"tokenizer{number}")


def write_clip_vision(folder: Path) -> None:
    """Writes CLIP's image encoder with one layer."""
    config = CLIPVisionConfig(
        hidden_size=TEXT, intermediate_size=TEXT, num_hidden_layers=1, num_attention_heads=2, image_size=28,
        patch_size=14, projection_dim=TEXT,
    )  # fmt: skip
    CLIPVisionModelWithProjection(config).save_pretrained(folder / "image_encoder")


def write_t5(folder: Path, width: int = TEXT) -> None:
    """Writes T5's encoder with two layers, and a tokenizer of a few words."""
    _write_t5(folder, T5EncoderModel, T5Config, width)


def write_umt5(folder: Path, width: int = TEXT) -> None:
    """Writes UMT5's encoder with two layers, and a tokenizer of a few words."""
    _write_t5(folder, UMT5EncoderModel, UMT5Config, width)


def _write_t5(folder: Path, kind: Any, config: Any, width: int) -> None:
    words = ["<pad>", "</s>", "<unk>", "▁", *(f"▁{word}" for word in ("a", "red", "kite", "dog", "&")), *"&amp;kitedog"]
    tokenizer = T5TokenizerFast(vocab=[(word, -float(i)) for i, word in enumerate(dict.fromkeys(words))])
    tokenizer.save_pretrained(folder / "tokenizer")
    shape = config(vocab_size=40, d_model=width, d_kv=4, d_ff=8, num_layers=2, num_heads=2, dropout_rate=0.0)
    kind(shape).save_pretrained(folder / "text_encoder")


def write_llama(folder: Path, width: int = TEXT, pooled: int = 8) -> None:
    """Writes a language model with four layers, and CLIP's text encoder, as HunyuanVideo reads both."""
    words = Tokenizer(models.WordLevel({"<unk>": 0, "<pad>": 1, "a": 2, "red": 3, "kite": 4, "dog": 5}, "<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<unk>", pad_token="<pad>")
    tokenizer.save_pretrained(folder / "tokenizer")
    config = LlamaConfig(
        vocab_size=6, hidden_size=width, intermediate_size=8, num_hidden_layers=4, num_attention_heads=2,
        num_key_value_heads=2, max_position_embeddings=512,
    )  # fmt: skip
    LlamaModel(config).save_pretrained(folder / "text_encoder")
    write_clip(folder, "_2", length=77, width=pooled)


_STABLE_DIFFUSION: Mapping[str, Any] = {
    "sample_size": 8,
    "block_out_channels": (16, 32, 32, 32),
    "layers_per_block": 2,
    "down_block_types": (*("CrossAttnDownBlock2D",) * 3, "DownBlock2D"),
    "up_block_types": ("UpBlock2D", *("CrossAttnUpBlock2D",) * 3),
    "cross_attention_dim": TEXT,
    "norm_num_groups": 8,
}
_IMAGE_VAE: Network = (
    "AutoencoderKL",
    {
        "block_out_channels": (8, 8, 8, 8),
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
        "layers_per_block": 2,
        "norm_num_groups": 4,
        "scaling_factor": 0.18215,
    },
)


def _stable_diffusion(card: str, prediction: str, **unet: Any) -> Family:
    levels = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "clip_sample": False}
    return Family(
        card,
        ("UNet2DConditionModel", {**_STABLE_DIFFUSION, **unet}),
        _IMAGE_VAE,
        ("DDIMScheduler", {**levels, "prediction_type": prediction, "steps_offset": 1, "set_alpha_to_one": False}),
        write_clip,
    )


def _cogvideox(card: str, snr_shift_scale: float, **transformer: Any) -> Family:
    return Family(
        card,
        (
            "CogVideoXTransformer3DModel",
            {
                "num_attention_heads": 2, "attention_head_dim": 16, "num_layers": 3, "in_channels": 4,
                "out_channels": 4, "time_embed_dim": 32, "text_embed_dim": TEXT, "max_text_seq_length": 16,
                "sample_height": 12, "sample_width": 16, **transformer,
            },
        ),
        (
            "AutoencoderKLCogVideoX",
            {"block_out_channels": (8,) * 4, "layers_per_block": 1, "latent_channels": 4, "norm_num_groups": 4},
        ),
        (
            "CogVideoXDDIMScheduler",
            {
                "prediction_type": "v_prediction", "rescale_betas_zero_snr": True, "timestep_spacing": "trailing",
                "snr_shift_scale": snr_shift_scale,
            },
        ),
        write_t5,
        "transformer_blocks.1.attn1",
    )  # fmt: skip


FAMILIES: Mapping[str, Family] = {
    "sd-1.5": _stable_diffusion("sd-1.5", "epsilon", attention_head_dim=2),
    "sd-2.1": _stable_diffusion(
        "sd-2.1", "v_prediction", attention_head_dim=(1, 2, 4, 4), use_linear_projection=True, upcast_attention=True
    ),
    "svd": Family(
        "svd",
        (
            "UNetSpatioTemporalConditionModel",
            {
                "block_out_channels": (32,) * 4, "num_attention_heads": (2,) * 4, "layers_per_block": 2,
                "cross_attention_dim": TEXT, "addition_time_embed_dim": 8,
                "projection_class_embeddings_input_dim": 24,
            },
        ),
        (
            "AutoencoderKLTemporalDecoder",
            {"block_out_channels": (32,) * 4, "down_block_types": ("DownEncoderBlock2D",) * 4, "layers_per_block": 1},
        ),
        ("EulerDiscreteScheduler", {"prediction_type": "v_prediction", "use_karras_sigmas": True}),
        write_clip_vision,
    ),
    "cogvideox-2b": _cogvideox("cogvideox-2b", 3.0),
    "cogvideox-5b": _cogvideox("cogvideox-5b", 1.0, use_rotary_positional_embeddings=True),
    "hunyuan-video": Family(
        "hunyuan-video",
        (
            "HunyuanVideoTransformer3DModel",
            {
                "in_channels": 4, "out_channels": 4, "num_attention_heads": 2, "attention_head_dim": 16,
                "num_layers": 2, "num_single_layers": 2, "num_refiner_layers": 1, "text_embed_dim": TEXT,
                "pooled_projection_dim": 8, "rope_axes_dim": (4, 6, 6),
            },
        ),
        (
            "AutoencoderKLHunyuanVideo",
            {
                "block_out_channels": (8,) * 4, "layers_per_block": 1, "latent_channels": 4, "norm_num_groups": 4,
                "mid_block_add_attention": False,
            },
        ),
        ("FlowMatchEulerDiscreteScheduler", {"shift": 7.0}),
        write_llama,
        "transformer_blocks.1.attn",
    ),
    "wan2.1-1.3b": Family(
        "wan2.1-1.3b",
        (
            "WanTransformer3DModel",
            {
                "in_channels": 4, "out_channels": 4, "num_attention_heads": 2, "attention_head_dim": 16,
                "num_layers": 3, "ffn_dim": 32, "freq_dim": 16, "text_dim": TEXT, "rope_max_seq_len": 64,
            },
        ),
        (
            "AutoencoderKLWan",
            {
                "base_dim": 4, "z_dim": 4, "num_res_blocks": 1, "latents_mean": (-0.8, 0.1, 0.4, -0.3),
                "latents_std": (2.8, 1.5, 2.3, 2.7),
            },
        ),
        ("UniPCMultistepScheduler", {"prediction_type": "flow_prediction"}),
        write_umt5,
        "blocks.1.attn1",
    ),
}  # fmt: skip
