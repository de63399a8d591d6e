"""The shape of `tiny`, how its self-attentions are kept, and the folder it is written to.

It is made of the same diffusers and transformers classes as Stable Diffusion, with a few million parameters. Its
self-attentions stay similarity searches while they train: one metric for queries and keys, of constant length. Left
free, queries and keys part ways and their lengths come to differ from token to token. For denoising that does no harm;
for tracking a key that is long in every comparison attracts the labels of everything. Here `to_k` shares the weights of
`to_q`, a multiple of an orthogonal matrix behind a layer norm without gain and offset, so that with one head q·k is a
cosine times a learnt sharpness. What is compared remains free: the metric is learnt by the layers in front, and values
by `to_v`, which takes over the norm's gain. The exported weights are ordinary ones.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from diffusers.models.attention import BasicTransformerBlock
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizerFast

from undertow.backbones.loading import matcher_start
from undertow.backbones.weights.tokenizers import make_tokenizer
from undertow.base import SettingsError, write_json
from undertow.world.captions import vocabulary_words

TEXT_LENGTH = 32
TEXT_WIDTH = 64


def build_autoencoder(seed: int) -> AutoencoderKL:
    """Returns an untrained stride-4 autoencoder with 4 latent channels and no attention, so that it stays local."""
    torch.manual_seed(seed)
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(16, 32, 64),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=8,
        sample_size=128,
        mid_block_add_attention=False,
        scaling_factor=1.0,
    )


@dataclass(frozen=True)
class DenoiserShape:
    """Size of the latent UNet and how its self-attentions begin.

    Args:
        channels: Of the blocks at image strides 4, 8 and 16.
        heads: Of the attentions in each block.
        matcher_logit: Logit of a token with itself at the start, see `matcher_start`; None for the usual random start.
    """

    channels: tuple[int, int, int] = (32, 128, 128)
    heads: tuple[int, int, int] = (1, 1, 1)
    matcher_logit: float | None = 5.0


def build_denoiser(seed: int, shape: DenoiserShape = DenoiserShape()) -> UNet2DConditionModel:
    """Returns an untrained latent UNet whose self-attentions start as matchers.

    Attention sits at image strides 8 and 16 in one head of 128, none at latent resolution. Five cross-attentions lie
    upstream of the first stride-8 decoder site, so that the text can act on it.
    """
    torch.manual_seed(seed)
    unet = UNet2DConditionModel(
        sample_size=40,
        in_channels=4,
        out_channels=4,
        block_out_channels=shape.channels,
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        # diffusers' name for the number of heads per block.
        attention_head_dim=shape.heads,
        cross_attention_dim=TEXT_WIDTH,
        use_linear_projection=True,
        norm_num_groups=16,
    )
    if shape.matcher_logit is not None:
        matcher_start(unet, seed, shape.matcher_logit)
    return unet


def build_scheduler() -> DDIMScheduler:
    """Returns Stable Diffusion 2.1's noise schedule with v-prediction."""
    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        num_train_timesteps=1000,
        prediction_type="v_prediction",
        steps_offset=1,
        set_alpha_to_one=False,
        clip_sample=False,
    )


def build_tokenizer(longest: int = TEXT_LENGTH) -> CLIPTokenizerFast:
    """Returns a byte-pair tokenizer in which every word that the world's captions use is one token.

    Stop words and punctuation are tokens of their own, as referring segmentation needs. The merges are found here and
    not by the `tokenizers` library, whose trainer breaks ties by hash order: a run that is continued in another process
    would get other token numbers.
    """
    end = "</w>"
    words = [[*word[:-1], word[-1] + end] for word in vocabulary_words()]
    merges: list[tuple[str, str]] = []
    while pairs := Counter(pair for word in words for pair in pairwise(word)):
        first, second = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append((first, second))
        words = [_merged(word, first, second) for word in words]
    letters = [chr(code) for code in range(33, 127)]
    entries = ["<|startoftext|>", "<|endoftext|>", *letters, *(letter + end for letter in letters)]
    entries += [first + second for first, second in merges]
    vocabulary = {entry: number for number, entry in enumerate(dict.fromkeys(entries))}
    return make_tokenizer(vocabulary, merges, longest)


def _merged(word: list[str], first: str, second: str) -> list[str]:
    """Returns the parts of a word after every `first` followed by `second` has become one part."""
    parts: list[str] = []
    for part in word:
        if parts and (parts[-1], part) == (first, second):
            parts[-1] += part
        else:
            parts.append(part)
    return parts


def build_text_encoder(tokenizer: CLIPTokenizerFast, seed: int) -> CLIPTextModel:
    """Returns an untrained two-layer CLIP text encoder for `tokenizer`."""
    torch.manual_seed(seed)
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=TEXT_WIDTH,
            intermediate_size=4 * TEXT_WIDTH,
            projection_dim=TEXT_WIDTH,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=TEXT_LENGTH,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def tie_matchers(unet: UNet2DConditionModel) -> None:
    """Makes every self-attention share one weight between queries and keys, and freezes the norm in front of it."""
    for block in _blocks(unet):
        block.attn1.to_k.weight = block.attn1.to_q.weight
        block.norm1.requires_grad_(False)


@torch.no_grad()
def project_matchers(unet: UNet2DConditionModel) -> None:
    """Replaces every query matrix by the nearest multiple of an orthogonal one, after each step of training."""
    for block in _blocks(unet):
        weight = block.attn1.to_q.weight
        turn = _nearest_orthogonal(weight)
        weight.copy_(turn * (turn * weight).sum() / len(weight))


def untie_matchers(unet: UNet2DConditionModel) -> None:
    """Gives keys weights of their own again, equal to those of the queries, as files need them."""
    for block in _blocks(unet):
        block.attn1.to_k.weight = nn.Parameter(block.attn1.to_q.weight.detach().clone())


def _nearest_orthogonal(matrix: Float[Tensor, "n n"]) -> Float[Tensor, "n n"]:
    """Returns the orthogonal polar factor, by Newton-Schulz iteration.

    A singular value decomposition gives the same, but LAPACK's need not converge where all singular values are nearly
    equal, as they are here.
    """
    unit = torch.eye(len(matrix), device=matrix.device)
    turn = matrix / matrix.norm() * len(matrix) ** 0.5
    if (turn.T @ turn - unit).norm() >= 1:
        # Far from orthogonal: below this bound no singular value is above 1, where the iteration always converges.
        turn = matrix / (matrix.abs().sum(0).max() * matrix.abs().sum(1).max()).sqrt()
    for _ in range(60):
        gram = turn.T @ turn
        turn = 1.5 * turn - 0.5 * turn @ gram
        if (gram - unit).norm() < 1e-4:
            break
    return turn


def _blocks(unet: UNet2DConditionModel) -> Iterator[BasicTransformerBlock]:
    """Yields the transformer blocks, each with a self-attention `attn1` and the norm `norm1` in front of it."""
    for module in unet.modules():
        if isinstance(module, BasicTransformerBlock):
            yield module


PARTS = ((AutoencoderKL, "vae"), (UNet2DConditionModel, "unet"))


@dataclass(frozen=True)
class TinyParts:
    """The parts of `tiny` besides its noise schedule."""

    vae: AutoencoderKL
    unet: UNet2DConditionModel
    text_encoder: CLIPTextModel
    tokenizer: CLIPTokenizerFast


def read_module(kind: Any, folder: Path) -> Any:
    """Returns a module of diffusers in float32, from its own folder."""
    # Not `from_pretrained`, which would write the folder's place on this machine into the exported files.
    module = kind.from_config(kind.load_config(folder))
    weights = load_file(folder / "diffusion_pytorch_model.safetensors")
    module.load_state_dict({name: weight.float() for name, weight in weights.items()})
    return module


def read_parts(folder: Path) -> TinyParts:
    """Returns the parts of a finished model in float32.

    Raises:
        SettingsError: if the folder holds no such model.
    """
    try:
        vae, unet = (read_module(kind, folder / part) for kind, part in PARTS)
        text_encoder = CLIPTextModel.from_pretrained(
            folder / "text_encoder", dtype=torch.float32, local_files_only=True
        )
        tokenizer = CLIPTokenizerFast.from_pretrained(folder / "tokenizer", local_files_only=True)
    except (OSError, RuntimeError, SafetensorError) as error:
        raise SettingsError(f"{folder} does not hold a model like tiny: {error}") from error
    return TinyParts(vae, unet, text_encoder, tokenizer)


def export(out: Path, parts: TinyParts, scheduler: DDIMScheduler, facts: dict[str, Any]) -> None:
    """Writes a model below `out`; `facts` (recipe, measurements) go into `training.json` beside it."""
    unet = deepcopy(parts.unet)
    untie_matchers(unet)
    modules = {"unet": unet, "vae": parts.vae, "text_encoder": parts.text_encoder}
    write_model(out, "StableDiffusionPipeline", modules, parts.tokenizer, scheduler, facts)


def write_model(
    out: Path,
    pipeline: str,
    modules: Mapping[str, Any],
    tokenizer: CLIPTokenizerFast,
    scheduler: Any,
    facts: dict[str, Any],
) -> None:
    """Writes networks by component in the folder layout every diffusers model has, as float16 safetensors.

    Every text encoder gets the tokenizer.
    """
    for name, module in modules.items():
        deepcopy(module).cpu().half().save_pretrained(out / name, safe_serialization=True)
    every = {**modules, "scheduler": scheduler}
    every |= {name.replace("text_encoder", "tokenizer"): tokenizer for name in modules if "text_encoder" in name}
    for name in every.keys() - modules.keys():
        every[name].save_pretrained(out / name)
    classes = {name: [type(each).__module__.split(".")[0], type(each).__name__] for name, each in every.items()}
    write_json(out / "model_index.json", {"_class_name": pipeline, **classes})
    write_json(out / "training.json", facts)
