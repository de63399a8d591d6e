"""The shape of `tiny`: the same diffusers and transformers classes as Stable Diffusion, a few million parameters."""

import json

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
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


def build_denoiser(seed: int) -> UNet2DConditionModel:
    """Returns an untrained latent UNet whose self-attentions start as matchers.

    Attention sits at image strides 8 and 16 in heads of 64, none at latent resolution. Five cross-attentions lie
    upstream of the first stride-8 decoder site, so that the text can act on it.
    """
    torch.manual_seed(seed)
    unet = UNet2DConditionModel(
        sample_size=40,
        in_channels=4,
        out_channels=4,
        block_out_channels=(32, 128, 128),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        # diffusers' name for the number of heads per block.
        attention_head_dim=(1, 2, 2),
        cross_attention_dim=TEXT_WIDTH,
        use_linear_projection=True,
        norm_num_groups=16,
    )
    matcher_start(unet, seed)
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

    Stop words and punctuation are tokens of their own, as referring segmentation needs.
    """
    tokenizer = Tokenizer(models.BPE(unk_token="<|endoftext|>", end_of_word_suffix="</w>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.decoder = decoders.BPEDecoder(suffix="</w>")
    alphabet = [chr(c) for c in range(33, 127)]
    trainer = trainers.BpeTrainer(
        vocab_size=4096,
        min_frequency=1,
        end_of_word_suffix="</w>",
        initial_alphabet=alphabet,
        special_tokens=["<|startoftext|>", "<|endoftext|>"],
        show_progress=False,
    )
    tokenizer.train_from_iterator([" ".join(vocabulary_words())] * 2, trainer)
    vocabulary = tokenizer.get_vocab()
    # A character can also stand at the end of a word, which training keeps only if it was seen there.
    for character in alphabet:
        vocabulary.setdefault(character + "</w>", len(vocabulary))
    merges = _merges(tokenizer)
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=TEXT_LENGTH)


def _merges(tokenizer: Tokenizer) -> list[tuple[str, str]]:
    """Returns the merge rules of a trained byte-pair tokenizer, in order."""
    return [tuple(pair) for pair in json.loads(tokenizer.to_str())["model"]["merges"]]


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
