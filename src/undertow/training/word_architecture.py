"""The shape of `tiny-words`: Stable Diffusion 3's transformer class in the latent space of `tiny`, and text encoders.

Picture and text attend jointly in every block. Words can act through that attention alone: the pooled state of the
text, which in Stable Diffusion 3 modulates all tokens alike, is zero. Of the two text encoders the first says which
word a token is, the second what stands around it.
"""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModelWithProjection, CLIPTokenizerFast

from undertow.training.architecture import TEXT_WIDTH, build_tokenizer, write_model

LONGEST = 64
# Layers of each text encoder. Its last one is never read: Stable Diffusion 3 takes the states that enter it.
LAYERS = (1, 2)


@dataclass(frozen=True)
class WordShape:
    """Size of the transformer.

    Args:
        layers: Number of blocks.
        heads: Heads of each attention.
        head_dim: Channels of a head.
        tokens: Longest side of a picture in tokens.
    """

    layers: int = 4
    heads: int = 4
    head_dim: int = 32
    tokens: int = 64


def build_word_transformer(seed: int, shape: WordShape = WordShape()) -> SD3Transformer2DModel:
    """Returns an untrained transformer; tokens have a stride of 8 pixels."""
    torch.manual_seed(seed)
    width = shape.heads * shape.head_dim
    transformer = SD3Transformer2DModel(
        sample_size=32,
        patch_size=2,
        in_channels=4,
        out_channels=4,
        num_layers=shape.layers,
        attention_head_dim=shape.head_dim,
        num_attention_heads=shape.heads,
        joint_attention_dim=len(LAYERS) * TEXT_WIDTH,
        caption_projection_dim=width,
        pooled_projection_dim=len(LAYERS) * TEXT_WIDTH,
        pos_embed_max_size=shape.tokens,
        qk_norm="rms_norm",
    )
    with torch.no_grad():
        for block in transformer.transformer_blocks:
            for norm in (block.norm1, block.norm1_context):
                _plain_start(norm.linear, width, gate=1 / sqrt(2 * shape.layers))
        _plain_start(transformer.norm_out.linear, width)
        nn.init.zeros_(transformer.proj_out.weight)
        nn.init.zeros_(transformer.proj_out.bias)
    return transformer


def build_word_encoders(seed: int) -> tuple[CLIPTokenizerFast, list[CLIPTextModelWithProjection]]:
    """Returns the tokenizer, of captions of up to 64 tokens, and the untrained text encoders."""
    torch.manual_seed(seed)
    tokenizer = build_tokenizer(LONGEST)
    encoders = []
    for layers in LAYERS:
        config = CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=TEXT_WIDTH,
            intermediate_size=4 * TEXT_WIDTH,
            projection_dim=TEXT_WIDTH,
            num_hidden_layers=layers,
            num_attention_heads=4,
            max_position_embeddings=LONGEST,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
        encoder = CLIPTextModelWithProjection(config)
        # The embeddings enter the transformer as they are; CLIP's own start is a tenth of what a projection expects.
        nn.init.normal_(encoder.text_model.embeddings.token_embedding.weight, std=1.0 if layers == 1 else 0.3)
        nn.init.zeros_(encoder.text_projection.weight)
        for module in (
            encoder.text_projection,
            encoder.text_model.encoder.layers[-1],
            encoder.text_model.final_layer_norm,
        ):
            module.requires_grad_(False)
        encoders.append(encoder)
    return tokenizer, encoders


def read_captions(encoders: Sequence[CLIPTextModelWithProjection], tokens: Tensor) -> Tensor:
    """Returns the states (n, tokens, width) that Stable Diffusion 3 reads: of both encoders, side by side."""
    return torch.cat([encoder(tokens, output_hidden_states=True).hidden_states[-2] for encoder in encoders], dim=2)


def export_words(
    out: Path,
    transformer: SD3Transformer2DModel,
    encoders: list[CLIPTextModelWithProjection],
    tokenizer: CLIPTokenizerFast,
    vae: AutoencoderKL,
    facts: dict[str, Any],
) -> None:
    """Writes the model below `out` in diffusers' layout, float16; `facts` go into `training.json` beside it."""
    first, second = encoders
    # Stable Diffusion 3's pipeline adds a shift that `tiny` knows nothing of.
    vae = deepcopy(vae)
    vae.register_to_config(shift_factor=0.0)
    modules = {"transformer": transformer, "vae": vae, "text_encoder": first, "text_encoder_2": second}
    scheduler = FlowMatchEulerDiscreteScheduler(num_train_timesteps=1000, shift=1.0)
    write_model(out, "StableDiffusion3Pipeline", modules, tokenizer, scheduler, facts)


def _plain_start(modulation: nn.Linear, width: int, gate: float = 0.0) -> None:
    """Makes an adaptive norm begin as a plain one: no shift, no scale, one gate for all, whatever the noise level."""
    nn.init.zeros_(modulation.weight)
    nn.init.zeros_(modulation.bias)
    if len(modulation.bias) == 6 * width:
        # Order: shift, scale and gate of the attention, then of the layers behind it.
        for part in (2, 5):
            modulation.bias[part * width : (part + 1) * width] = gate
