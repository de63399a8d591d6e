"""The shape of `tiny-video`: CogVideoX's transformer class in the latent space of `tiny`, with `tiny`'s text encoder.

In every block text and video attend jointly. The first blocks look around: their queries and keys are free and begin as
those of heads that look at a neighbour each, so that a token comes to know more than its own 8 x 8 pixels, of which two
frames rarely have the same ones. The other blocks are matchers, with one metric for queries and keys: `to_k` shares the
weights of `to_q`, and so do the norms that give each head's queries and keys one length. Left free they part ways and
matching is lost (see `undertow.training.architecture`); the per-head norm does what an orthogonal projection does
there.
"""

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from importlib.resources import as_file, files
from itertools import product
from math import sqrt
from pathlib import Path
from typing import Any

import torch
from diffusers import CogVideoXDDIMScheduler, CogVideoXTransformer3DModel
from diffusers.models.embeddings import apply_rotary_emb, get_1d_rotary_pos_embed
from diffusers.models.transformers.cogvideox_transformer_3d import CogVideoXBlock
from jaxtyping import Float
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import CLIPTextModel

from undertow.base import SettingsError
from undertow.training.architecture import TEXT_LENGTH, TEXT_WIDTH, TinyParts, read_module, read_parts, write_model

MOST_FRAMES = 13


@dataclass(frozen=True)
class VideoShape:
    """Size of the transformer and how its attentions begin.

    Args:
        layers: Number of blocks.
        heads: Heads of each attention.
        head_dim: Channels of a head; a multiple of 16, for rotary coordinates of time, height and width.
        time_width: Width of the time embedding, which decides the size of the adaptive norms.
        matcher_logit: Logit of a token with itself at the start, in every head of a matcher.
        lookers: Number of blocks in front whose heads begin by looking at neighbours; the others are matchers.
    """

    layers: int = 6
    heads: int = 4
    head_dim: int = 48
    time_width: int = 64
    matcher_logit: float = 5.0
    lookers: int = 2


def build_transformer(seed: int, shape: VideoShape = VideoShape()) -> CogVideoXTransformer3DModel:
    """Returns an untrained transformer, its queries and keys tied and its attentions starting as matchers.

    Each frame is its own latent; tokens have a stride of 8 pixels. Nothing is added for positions but the rotation of
    queries and keys, so that a token is compared by what it shows.
    """
    torch.manual_seed(seed)
    transformer = CogVideoXTransformer3DModel(
        num_attention_heads=shape.heads,
        attention_head_dim=shape.head_dim,
        in_channels=4,
        out_channels=4,
        time_embed_dim=shape.time_width,
        text_embed_dim=TEXT_WIDTH,
        num_layers=shape.layers,
        sample_width=32,
        sample_height=32,
        sample_frames=MOST_FRAMES,
        patch_size=2,
        temporal_compression_ratio=1,
        max_text_seq_length=TEXT_LENGTH,
        spatial_interpolation_scale=1.0,
        use_rotary_positional_embeddings=True,
    )
    with torch.no_grad():
        for number, block in enumerate(blocks(transformer)):
            nn.init.orthogonal_(block.attn1.to_q.weight)
            nn.init.orthogonal_(block.attn1.to_k.weight)
            for norm in (block.norm1, block.norm2):
                _plain_start(norm.linear, gate=1 / sqrt(2 * shape.layers))
            if number < shape.lookers:
                _look_around(block, number)
            else:
                # Behind the norm |q|² = |k|² = gain² * head_dim; a token's logit with itself is that over √head_dim.
                block.attn1.norm_q.weight.fill_(sqrt(shape.matcher_logit / sqrt(shape.head_dim)))
        nn.init.zeros_(transformer.proj_out.weight)
        nn.init.zeros_(transformer.proj_out.bias)
    tie_queries_and_keys(transformer, shape.lookers)
    return transformer


def tie_queries_and_keys(transformer: CogVideoXTransformer3DModel, lookers: int) -> None:
    """Makes queries and keys share all weights in the blocks after the first `lookers`, and keeps constants out."""
    for block in list(blocks(transformer))[lookers:]:
        attention = block.attn1
        attention.to_k.weight = attention.to_q.weight
        attention.norm_k.weight = attention.norm_q.weight
        # A constant in all queries and keys says the same in every comparison.
        for module in (attention.to_q, attention.to_k, attention.norm_q, attention.norm_k):
            nn.init.zeros_(module.bias)
            module.bias.requires_grad_(False)


def untied(transformer: CogVideoXTransformer3DModel) -> CogVideoXTransformer3DModel:
    """Returns a copy in which the keys of matchers have weights of their own, equal in value, as files need them."""
    transformer = deepcopy(transformer)
    for block in blocks(transformer):
        for module in (block.attn1.to_k, block.attn1.norm_k):
            module.weight = nn.Parameter(module.weight.detach().clone())
    return transformer


def blocks(transformer: CogVideoXTransformer3DModel) -> Iterator[CogVideoXBlock]:
    """Yields the blocks in the order in which they run."""
    for block in transformer.transformer_blocks:
        assert isinstance(block, CogVideoXBlock)
        yield block


def rotary(
    times: Float[Tensor, "t"], rows: Float[Tensor, "h"], columns: Float[Tensor, "w"], head_dim: int
) -> tuple[Float[Tensor, "s d"], Float[Tensor, "s d"]]:
    """Returns cosine and sine of the rotary embedding of the tokens t-major, then row-major, at any coordinates.

    At 0, 1, 2, ... it equals `diffusers.models.embeddings.get_3d_rotary_pos_embed`, which knows no others.
    """
    widths = (head_dim // 4, head_dim // 8 * 3, head_dim // 8 * 3)
    axes = [
        get_1d_rotary_pos_embed(width, at, use_real=True)
        for width, at in zip(widths, (times, rows, columns), strict=True)
    ]
    size = (len(times), len(rows), len(columns))
    parts = []
    for wave in range(2):
        along_t, along_h, along_w = (axis[wave] for axis in axes)
        spread = (along_t[:, None, None], along_h[None, :, None], along_w[None, None])
        parts.append(torch.cat([each.expand(*size, -1) for each in spread], dim=-1).flatten(0, 2))
    return parts[0], parts[1]


def build_video_scheduler() -> CogVideoXDDIMScheduler:
    """Returns Stable Diffusion's noise schedule, rescaled to end in pure noise, with v-prediction."""
    return CogVideoXDDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        num_train_timesteps=1000,
        prediction_type="v_prediction",
        clip_sample=False,
        timestep_spacing="trailing",
        rescale_betas_zero_snr=True,
        snr_shift_scale=1.0,
    )


def load_tiny_parts() -> TinyParts:
    """Returns the shipped parts of `tiny` in float32, the autoencoder frozen."""
    with as_file(files("undertow.backbones") / "embedded" / "tiny") as folder:
        parts = read_parts(folder)
    parts.vae.eval().requires_grad_(False)
    parts.text_encoder.train()
    return parts


def read_video(folder: Path, lookers: int) -> tuple[CogVideoXTransformer3DModel, CLIPTextModel]:
    """Returns transformer and text encoder of a finished model, queries and keys tied, to be trained further.

    Raises:
        SettingsError: if the folder holds no such model, or one whose matchers have two metrics.
    """
    try:
        transformer = read_module(CogVideoXTransformer3DModel, folder / "transformer")
        text_encoder = CLIPTextModel.from_pretrained(
            folder / "text_encoder", dtype=torch.float32, local_files_only=True
        )
    except (OSError, RuntimeError, SafetensorError) as error:
        raise SettingsError(f"{folder} does not hold a model like tiny-video: {error}") from error
    if not all(torch.equal(b.attn1.to_q.weight, b.attn1.to_k.weight) for b in list(blocks(transformer))[lookers:]):
        raise SettingsError(f"{folder} does not hold a model like tiny-video: its queries and keys differ")
    tie_queries_and_keys(transformer, lookers)
    return transformer, text_encoder.train()


def export_video(out: Path, transformer: CogVideoXTransformer3DModel, parts: TinyParts, facts: dict[str, Any]) -> None:
    """Writes the model below `out` in diffusers' layout, float16; `facts` go into `training.json` beside it."""
    modules = {"transformer": untied(transformer), "vae": parts.vae, "text_encoder": parts.text_encoder}
    write_model(out, "CogVideoXPipeline", modules, parts.tokenizer, build_video_scheduler(), facts)


def _plain_start(modulation: nn.Linear, gate: float) -> None:
    """Makes an adaptive norm begin as a plain one: no shift, no scale, one gate for all, whatever the timestep.

    The residual stream then grows by a factor of about √2 over all blocks (cf. adaLN-zero, Peebles and Xie, 2023).
    """
    nn.init.zeros_(modulation.weight)
    modulation.bias.zero_()
    width = len(modulation.bias) // 6
    for part in (2, 5):
        # Order: shift, scale and gate of the video, then of the text.
        modulation.bias[part * width : (part + 1) * width] = gate


def _look_around(block: CogVideoXBlock, number: int, gain: float = 1.8, share: float = 3.0) -> None:
    """Makes the heads of a block begin by looking at a neighbour each: beside, above and below, or across corners.

    Queries and keys begin as two orthogonal maps, each with a constant `share` times as strong added. Rotated, two
    constants have an inner product that depends on nothing but the distance of their tokens; a constant that is rotated
    in advance moves its peak. The constants lie in the channels that turn fastest, for a narrow peak.
    """
    attention = block.attn1
    dim = attention.to_q.weight.shape[0] // attention.heads
    widths = (dim // 4, dim // 8 * 3, dim // 8 * 3)
    strengths = torch.zeros(dim // 2)
    for begin, width, energies in zip((0, widths[0], widths[0] + widths[1]), widths, _ENERGIES, strict=True):
        used = energies[: width // 2]
        strengths[begin // 2 : begin // 2 + len(used)] = torch.tensor(used).sqrt()
    strengths *= sqrt(share * dim / float(strengths.square().sum()))
    # Channels 2i and 2i + 1 turn together; opposite signs leave the mean, which the norm takes away, at zero.
    constant = torch.stack([strengths, -strengths], dim=1).flatten() / sqrt(2)
    ways = (
        [(0.0, 1.0), (0.0, -1.0), (1.0, 0.0), (-1.0, 0.0)] if number % 2 == 0 else list(product((-1.5, 1.5), repeat=2))
    )
    turned = []
    for head in range(attention.heads):
        down, right = ways[head % len(ways)]
        waves = rotary(torch.zeros(1), torch.tensor([down]), torch.tensor([right]), dim)
        turned.append(apply_rotary_emb(constant[None, None, None], waves).flatten())
    attention.to_q.bias.copy_(torch.cat(turned))
    attention.to_k.bias.copy_(constant.repeat(attention.heads))
    attention.norm_q.weight.fill_(gain)
    attention.norm_k.weight.fill_(gain)
    width = len(block.norm1.linear.bias) // 6
    block.norm1.linear.bias[2 * width : 3 * width] = 1.0
    # Text has no place: its shift takes the constant away again, so that it is not everybody's neighbour at (0, 0, 0).
    block.norm1.linear.bias[3 * width : 4 * width] = -attention.to_k.weight.T @ attention.to_k.bias


# How strongly a looking head's constant lies in the fastest channels of time, height and width.
_ENERGIES = ((2.0, 1.0, 0.5), (1.0, 1.0, 0.7), (1.0, 1.0, 0.7))
