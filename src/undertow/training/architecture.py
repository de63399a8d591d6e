"""The shape of `tiny`: the same diffusers and transformers classes as Stable Diffusion, a few million parameters."""

from collections import Counter
from dataclasses import dataclass
from itertools import pairwise

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from undertow.backbones.initialisation import matcher_start
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


def build_tokenizer() -> CLIPTokenizer:
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
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=TEXT_LENGTH)


def _merged(word: list[str], first: str, second: str) -> list[str]:
    """Returns the parts of a word after every `first` followed by `second` has become one part."""
    parts: list[str] = []
    for part in word:
        if parts and (parts[-1], part) == (first, second):
            parts[-1] += part
        else:
            parts.append(part)
    return parts


def build_text_encoder(tokenizer: CLIPTokenizer, seed: int) -> CLIPTextModel:
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
