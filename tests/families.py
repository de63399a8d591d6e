"""Small models with random weights of every family that undertow loads, as folders that commands can be given.

Each has the layout of its published model: the same classes, number of levels and places of attention (of a
transformer only three blocks), but thin layers. A folder takes half a second to write and a few megabytes.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
import transformers
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizerFast,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
    LlamaConfig,
    LlamaModel,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
    T5Config,
    T5EncoderModel,
    T5TokenizerFast,
    UMT5Config,
    UMT5EncoderModel,
)

from undertow.backbones import Card, ImageUNet, Site, VideoDiT, VideoUNet, get_card, load, random_backbone
from undertow.backbones.adapters.vit import KINDS
from undertow.backbones.cards.card_file import write_card_file
from undertow.backbones.cards.nearest import nearest_card
from undertow.backbones.fine_tuning import FineTuning, write_fine_tuning
from undertow.backbones.published import ARCHITECTURES, Architecture
from undertow.backbones.weights.guided_diffusion import GuidedShape

TEXT = 32  # width of the states of a text, in nearly every family


@dataclass(frozen=True)
class Family:
    """One family of models.

    Attributes:
        card: Name of the published model's card.
        architecture: Shapes of the small networks.
        texts: Writes tokenizers and text encoders, or what the model reads in their place.
        block: The attention that is read, of a transformer; `None` to keep the card's.
    """

    card: str
    architecture: Architecture
    texts: Callable[[Path], None]
    block: Site | None = None


def small_backbone(name: str, seed: int = 0, **options: Any) -> ImageUNet | VideoUNet | VideoDiT:
    """Returns the small model called `name`, a key of `FAMILIES`, without writing it; `options` as `random_backbone`.

    A transformer has a card of its own: that of a model which nobody knows, on clean latents at timestep 19.
    """
    family = FAMILIES[name]
    like = get_card(family.card)
    card = _small_card(like, family)
    if family.block is not None:
        config = family.architecture.denoiser[1]
        size = (config["sample_height"], config["sample_width"]) if "sample_height" in config else None
        alone = like.chunk == 1
        card = nearest_card(name, "dit", like.prediction, like.latent_stride, [family.block], size, images=alone)
        card = replace(card, positions=like.positions)
    backbone = random_backbone(card, seed, architecture=family.architecture, **options)
    with torch.no_grad():
        for name, parameter in backbone.denoiser.named_parameters():
            if name.endswith("mix_factor"):
                # As after training: the mixture of space and time differs from block to block.
                parameter.fill_(0.3 * len(name) % 2 - 1)
            if name == "pos_frequencies":
                # As after training, where every head turns each pair of dimensions at a speed of its own.
                parameter.normal_(std=0.1, generator=torch.Generator().manual_seed(seed))
        for name, buffer in backbone.autoencoder.network.module.named_buffers():
            if name in ("latents_mean", "bn.running_mean"):
                buffer.copy_(torch.linspace(-0.2, 0.3, len(buffer)))
            if name in ("latents_std", "bn.running_var"):
                buffer.copy_(torch.linspace(0.6, 1.5, len(buffer)))
    return backbone


def write_features(name: str, folder: Path, seed: int = 0) -> Path:
    """Writes the small vision transformer called `name`, a key of `FEATURES`, into `folder`, and returns that."""
    if not hasattr(transformers, f"{KINDS[name]}Model"):
        pytest.skip(f"this version of transformers has no {KINDS[name]}")
    shape = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2, "image_size": 32, "patch_size": 8}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config = getattr(transformers, f"{KINDS[name]}Config")(**shape, **FEATURES[name])
        model = getattr(transformers, f"{KINDS[name]}Model")(config)
        # As after training: positions and tokens that are zeros or ones say nothing.
        for weight in model.parameters():
            weight.data += 0.1 * torch.randn_like(weight)
        model.save_pretrained(folder)
    return folder


def write_pixels(name: str, folder: Path, seed: int = 0) -> Path:
    """Writes a small UNet that denoises pixels, as guided diffusion's are shaped, and returns its folder.

    That of 512 pixels is given the class of a picture, and its first level is as wide as its second.
    """
    shape = GuidedShape(channels=16, factors=(1, 2, 2), blocks=1, attended=(1, 2), head_dim=8, groups=4)
    if name == "adm-512":
        shape = replace(shape, factors=(1, 1, 2, 2), attended=(2, 3), classes=5)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        diffusers.UNet2DModel(**shape.arguments).save_pretrained(folder / "unet")
    diffusers.DDPMScheduler().save_pretrained(folder / "scheduler")
    return folder


def write_answering(folder: Path) -> Path:
    """Writes a small `tiny-video` that was fine-tuned to answer, neither with nothing nor with everything."""
    base = write_family("tiny-video", folder / "base", seed=2)
    generator = torch.Generator().manual_seed(0)
    weights = {
        name: 0.3 * torch.randn(each.shape, generator=generator)
        for name, each in load(base, device="cpu", dtype="float32").denoiser.state_dict().items()
        if name.startswith("proj_out")
    }
    about = FineTuning(str(base), window=3, size=(32, 48), mask_range="-1..1")
    write_fine_tuning(folder / "learned", about, weights)
    return folder / "learned"


def write_family(name: str, folder: Path, seed: int = 0, **options: Any) -> Path:
    """Writes the small model called `name` into `folder`, and returns that.

    Names are keys of `FAMILIES`, `FEATURES` and `PIXELS`.

    Its `card.json` is the published model's card with the sites of this one, so that both the folder and the card file
    can be given as --model: the folder alone is read at one generic site. `options` are those of `save_pretrained`.
    """
    if name in FEATURES:
        return write_features(name, folder, seed)
    if name in PIXELS:
        return write_pixels(name, folder, seed)
    family = FAMILIES[name]
    save(small_backbone(name, seed), folder, **options)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        family.texts(folder)
    scheduler = dict(family.architecture.scheduler)
    kind = scheduler.pop("_class_name", "DDIMScheduler")
    getattr(diffusers, kind)(**scheduler).save_pretrained(folder / "scheduler")
    (folder / "model_index.json").write_text(json.dumps({"_class_name": "Pipeline", "_diffusers_version": "0.42.0"}))
    card = get_card(family.card)
    own = replace(_small_card(card, family), name=f"small-{name}", hub_ids=(), embedded="", token_budget=64)
    write_card_file(folder / "card.json", own, like=card, folder=".")
    return folder


def save(backbone: ImageUNet | VideoUNet | VideoDiT, folder: Path, **options: Any) -> None:
    """Writes the networks of a model, without those that read texts, as `save_pretrained` does."""
    component = "transformer" if backbone.card.family == "dit" else "unet"
    backbone.denoiser.save_pretrained(folder / component, **options)
    backbone.autoencoder.module.save_pretrained(folder / "vae")


def _small_card(card: Card, family: Family) -> Card:
    """Returns the published card with the sites of the small network."""
    if family.block is not None:
        sites = dict.fromkeys(card.sites, (family.block,))
        if "refer" in sites and family.block.kind == "self":
            # Words are read beside an attention that compares pictures alone.
            cross = family.block.path.replace("attn1", "attn2")
            sites["refer"] = (replace(family.block, path=cross, kind="cross"),)
        return replace(card, sites=sites)
    kind, arguments = family.architecture.denoiser
    with torch.device("meta"):
        unet = getattr(diffusers, kind)(**arguments)

    def fitted(site: Site) -> Site:
        attention = unet.get_submodule(site.path)
        if site.kind == "block":
            return replace(site, head_dim=attention.resnets[-1].out_channels)
        return replace(site, heads=attention.heads, head_dim=attention.to_q.out_features // attention.heads)

    return replace(card, sites={purpose: tuple(map(fitted, sites)) for purpose, sites in card.sites.items()})


def write_clip(folder: Path, number: str = "", length: int = 10, width: int = TEXT, kind: Any = CLIPTextModel) -> None:
    """Writes CLIP's text encoder with one layer, and a tokenizer that spells every word."""
    letters = [chr(code) for code in range(33, 127)]
    entries = ["<|startoftext|>", "<|endoftext|>", *letters, *(letter + "</w>" for letter in letters)]
    where = folder / f"tokenizer{number}"
    where.mkdir(parents=True)
    (where / "vocab.json").write_text(json.dumps({entry: i for i, entry in enumerate(entries)}))
    (where / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = CLIPTokenizerFast.from_pretrained(where, model_max_length=length)
    config = CLIPTextConfig(
        vocab_size=len(tokenizer), hidden_size=width, intermediate_size=width, projection_dim=width,
        num_hidden_layers=1, num_attention_heads=2, max_position_embeddings=length,
        bos_token_id=0, eos_token_id=1, pad_token_id=1,
    )  # fmt: skip
    kind(config).save_pretrained(folder / f"text_encoder{number}")
    tokenizer.save_pretrained(where)


def write_clip_vision(folder: Path) -> None:
    """Writes CLIP's image encoder with one layer."""
    config = CLIPVisionConfig(
        hidden_size=TEXT, intermediate_size=TEXT, num_hidden_layers=1, num_attention_heads=2, image_size=28,
        patch_size=14, projection_dim=TEXT,
    )  # fmt: skip
    CLIPVisionModelWithProjection(config).save_pretrained(folder / "image_encoder")


def write_t5(folder: Path, width: int = TEXT, number: str = "") -> None:
    """Writes T5's encoder with two layers, and a tokenizer of a few words."""
    _write_t5(folder, T5EncoderModel, T5Config, width, number)


def write_umt5(folder: Path, width: int = TEXT) -> None:
    """Writes UMT5's encoder with two layers, and a tokenizer of a few words."""
    _write_t5(folder, UMT5EncoderModel, UMT5Config, width)


def write_flux_texts(folder: Path, width: int = TEXT, pooled: int = 8) -> None:
    """Writes CLIP's and T5's text encoders, as FLUX.1 reads both."""
    write_clip(folder, length=77, width=pooled)
    write_t5(folder, width, "_2")


def write_xl_texts(folder: Path, width: int = TEXT) -> None:
    """Writes two of CLIP's text encoders, the second with a projection, as wide together as the denoiser reads."""
    write_clip(folder, width=8)
    write_clip(folder, "_2", width=width - 8, kind=CLIPTextModelWithProjection)


def write_sd3_texts(folder: Path, width: int = TEXT) -> None:
    """Writes two of CLIP's text encoders with projections, narrower together than T5's, and that."""
    write_clip(folder, length=77, width=8, kind=CLIPTextModelWithProjection)
    write_clip(folder, "_2", length=77, width=16, kind=CLIPTextModelWithProjection)
    write_t5(folder, width, "_3")


def _write_t5(folder: Path, kind: Any, config: Any, width: int, number: str = "") -> None:
    words = ["<pad>", "</s>", "<unk>", "▁", *(f"▁{word}" for word in ("a", "red", "kite", "dog", "&")), *"&amp;kitedog"]
    pieces = Tokenizer(models.Unigram([(word, -float(i)) for i, word in enumerate(dict.fromkeys(words))], unk_id=2))
    pieces.normalizer = normalizers.Replace(Regex(" {2,}"), " ")
    pieces.pre_tokenizer = pre_tokenizers.Metaspace()
    pieces.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    names = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    T5TokenizerFast(tokenizer_object=pieces, **names).save_pretrained(folder / f"tokenizer{number}")
    shape = config(vocab_size=40, d_model=width, d_kv=4, d_ff=8, num_layers=2, num_heads=2, dropout_rate=0.0)
    kind(shape).save_pretrained(folder / f"text_encoder{number}")


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


def write_qwen3(folder: Path, width: int = 48) -> None:
    """Writes a language model with 28 thin layers, of which FLUX.2 klein reads three, and a tokenizer of bytes."""
    alphabet = {letter: place for place, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    marks = ("<|im_start|>", "<|im_end|>", "<|endoftext|>")
    pieces = Tokenizer(models.BPE(alphabet, []))
    pieces.pre_tokenizer, pieces.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    pieces.add_special_tokens(list(marks))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=pieces, pad_token=marks[-1])
    tokenizer.save_pretrained(folder / "tokenizer")
    config = Qwen3Config(
        vocab_size=len(tokenizer), hidden_size=width // 3, intermediate_size=8, num_hidden_layers=28,
        num_attention_heads=1, num_key_value_heads=1, head_dim=4, max_position_embeddings=512,
    )  # fmt: skip
    Qwen3ForCausalLM(config).save_pretrained(folder / "text_encoder")


_IMAGE_VAE = {
    "block_out_channels": (8, 8, 8, 8),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "layers_per_block": 2,
    "norm_num_groups": 4,
    "scaling_factor": 0.18215,
}
_VIDEO_VAE = {"block_out_channels": (8,) * 4, "layers_per_block": 1, "latent_channels": 4, "norm_num_groups": 4}
_HEADS = {"in_channels": 4, "out_channels": 4, "num_attention_heads": 2, "attention_head_dim": 16}


def _stable_diffusion(card: str, prediction: str, **unet: Any) -> Family:
    denoiser = {
        "sample_size": 8,
        "block_out_channels": (16, 32, 32, 32),
        "layers_per_block": 2,
        "down_block_types": (*("CrossAttnDownBlock2D",) * 3, "DownBlock2D"),
        "up_block_types": ("UpBlock2D", *("CrossAttnUpBlock2D",) * 3),
        "cross_attention_dim": TEXT,
        "norm_num_groups": 8,
        **unet,
    }
    levels = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "clip_sample": False}
    scheduler = {**levels, "prediction_type": prediction, "steps_offset": 1, "set_alpha_to_one": False}
    shapes = Architecture(("UNet2DConditionModel", denoiser), ("AutoencoderKL", _IMAGE_VAE), scheduler, (10, TEXT))
    return Family(card, shapes, write_clip)


def _stable_diffusion_xl() -> Family:
    like = _stable_diffusion(
        "sdxl", "epsilon", block_out_channels=(16, 32, 32), attention_head_dim=(1, 2, 2), use_linear_projection=True,
        down_block_types=("DownBlock2D", *("CrossAttnDownBlock2D",) * 2),
        up_block_types=(*("CrossAttnUpBlock2D",) * 2, "UpBlock2D"), transformer_layers_per_block=(1, 1, 2),
        addition_embed_type="text_time", addition_time_embed_dim=8, projection_class_embeddings_input_dim=6 * 8 + 24,
        cross_attention_dim=TEXT,
    )  # fmt: skip
    return replace(like, architecture=replace(like.architecture, pooled=24), texts=write_xl_texts)


def _cogvideox(card: str, snr_shift_scale: float = 1.0, **denoiser: Any) -> Family:
    network = {
        **_HEADS,
        "num_layers": 3,
        "time_embed_dim": 32,
        "text_embed_dim": TEXT,
        "max_text_seq_length": 16,
        "sample_height": 12,
        "sample_width": 16,
        **denoiser,
    }
    vae = ("AutoencoderKLCogVideoX", {**_VIDEO_VAE, "scaling_factor": 0.7})
    scheduler = {**ARCHITECTURES["cogvideox-2b"].scheduler, "snr_shift_scale": snr_shift_scale}
    shapes = Architecture(("CogVideoXTransformer3DModel", network), vae, scheduler, (16, TEXT))
    return Family(card, shapes, write_t5, Site("transformer_blocks.1.attn1", "joint", 2, 16, 16))


def _image_transformer(
    card: str, kind: str, texts: Callable[[Path], None], block: int, pooled: int, **denoiser: Any
) -> Family:
    heads = {"num_attention_heads": 2, "attention_head_dim": 16, "joint_attention_dim": TEXT}
    vae = {**_IMAGE_VAE, "layers_per_block": 1, "scaling_factor": 0.36, "shift_factor": 0.12}
    shapes = Architecture(
        (kind, {**heads, "pooled_projection_dim": pooled, **denoiser}),
        ("AutoencoderKL", {**vae, "use_quant_conv": False, "use_post_quant_conv": False}),
        {"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 3.0},
        (5, TEXT),
        pooled=pooled,
    )
    return Family(card, shapes, texts, Site(f"transformer_blocks.{block}.attn", "joint", 2, 16, 16))


def _flux(card: str, **denoiser: Any) -> Family:
    shape = {"in_channels": 16, "num_layers": 2, "num_single_layers": 2, "axes_dims_rope": (4, 6, 6), **denoiser}
    return _image_transformer(card, "FluxTransformer2DModel", write_flux_texts, 1, 8, **shape)


def _sd3(card: str, **denoiser: Any) -> Family:
    shape = {
        "sample_size": 8, "in_channels": 4, "out_channels": 4, "num_layers": 3, "caption_projection_dim": 32,
        "pos_embed_max_size": 12, **denoiser,
    }  # fmt: skip
    return _image_transformer(card, "SD3Transformer2DModel", write_sd3_texts, 1, 24, **shape)


def _flow_video(
    card: str, kind: str, vae: tuple[str, Mapping[str, Any]], site: Site, texts: Callable[[Path], None], **denoiser: Any
) -> Family:
    scheduler = {"_class_name": "FlowMatchEulerDiscreteScheduler"}
    shapes = Architecture((kind, {**_HEADS, **denoiser}), vae, scheduler, (5, TEXT))
    return Family(card, shapes, texts, site)


def _flux2() -> Family:
    like = _image_transformer(
        "flux.2-klein-4b", "Flux2Transformer2DModel", write_qwen3, 1, 0, in_channels=16, num_layers=2,
        num_single_layers=2, axes_dims_rope=(4, 4, 4, 4), guidance_embeds=False, timestep_guidance_channels=16,
    )  # fmt: skip
    denoiser = {**like.architecture.denoiser[1], "joint_attention_dim": 48}
    del denoiser["pooled_projection_dim"]
    levels = {name: _IMAGE_VAE[name] for name in ("block_out_channels", "down_block_types", "up_block_types")}
    vae = ("AutoencoderKLFlux2", {**levels, "layers_per_block": 1, "norm_num_groups": 4, "latent_channels": 4})
    network = ("Flux2Transformer2DModel", denoiser)
    return replace(like, architecture=replace(like.architecture, denoiser=network, vae=vae, text=(5, 48)))


def _tiny_video() -> Family:
    """An image autoencoder, and rotary embedding by cells."""
    like = _cogvideox("tiny-video", use_rotary_positional_embeddings=True)
    levels = {"block_out_channels": (8,) * 3, "down_block_types": ("DownEncoderBlock2D",) * 3}
    decoder = {"up_block_types": ("UpDecoderBlock2D",) * 3, "layers_per_block": 1, "mid_block_add_attention": False}
    vae = ("AutoencoderKL", {**_VIDEO_VAE, **levels, **decoder, "scaling_factor": 0.7})
    texts = partial(write_clip, length=16)
    return Family("tiny-video", replace(like.architecture, vae=vae), texts, replace(like.block, stride=8))


# Vision transformers of transformers, by what config.json calls them, with what differs from the others.
PIXELS = ("adm-256", "adm-512")
FEATURES: Mapping[str, Mapping[str, Any]] = {
    "vit": {"intermediate_size": 64},
    "dinov2": {},
    "dinov2_with_registers": {"num_register_tokens": 2},
    "dinov3_vit": {"intermediate_size": 64, "num_register_tokens": 2},
    "radio": {"max_img_size": 64, "num_cls_tokens": 2, "num_registers": 1, "summary_idxs": [0]},
}
FAMILIES: Mapping[str, Family] = {
    "sd-1.5": _stable_diffusion("sd-1.5", "epsilon", attention_head_dim=2),
    "sdxl": _stable_diffusion_xl(),
    "sd-2.1": _stable_diffusion(
        "sd-2.1", "v_prediction", attention_head_dim=(1, 2, 4, 4), use_linear_projection=True, upcast_attention=True
    ),
    "svd": Family(
        "svd",
        Architecture(
            (
                "UNetSpatioTemporalConditionModel",
                {
                    # Normalised in 32 groups, of which none may hold one number only.
                    "block_out_channels": (32, 32, 64, 64), "num_attention_heads": (2,) * 4, "layers_per_block": 2,
                    "cross_attention_dim": TEXT, "addition_time_embed_dim": 8,
                    "projection_class_embeddings_input_dim": 24, "sample_size": 8,
                },
            ),
            (
                "AutoencoderKLTemporalDecoder",
                {"block_out_channels": (32,) * 4, "down_block_types": ("DownEncoderBlock2D",) * 4},
            ),
            {"_class_name": "EulerDiscreteScheduler", "prediction_type": "v_prediction", "use_karras_sigmas": True},
            (1, TEXT),
            image_encoder={
                "hidden_size": TEXT, "intermediate_size": TEXT, "num_hidden_layers": 1, "num_attention_heads": 2,
                "image_size": 28, "patch_size": 14, "projection_dim": TEXT,
            },
        ),
        write_clip_vision,
    ),
    "tiny-video": _tiny_video(),
    "cogvideox-2b": _cogvideox("cogvideox-2b"),
    "cogvideox-5b": _cogvideox("cogvideox-5b", use_rotary_positional_embeddings=True),
    "cogvideox-5b-i2v": _cogvideox(
        "cogvideox-5b-i2v", in_channels=8, use_rotary_positional_embeddings=True,
        use_learned_positional_embeddings=True,
    ),
    "hunyuan-video": Family(
        "hunyuan-video",
        Architecture(
            (
                "HunyuanVideoTransformer3DModel",
                {
                    **_HEADS, "num_layers": 2, "num_single_layers": 2, "num_refiner_layers": 1, "text_embed_dim": TEXT,
                    "pooled_projection_dim": 8, "rope_axes_dim": (4, 6, 6),
                },
            ),
            ("AutoencoderKLHunyuanVideo", {**_VIDEO_VAE, "mid_block_add_attention": False}),
            {"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 7.0},
            (5, TEXT),
            pooled=8,
        ),
        write_llama,
        Site("single_transformer_blocks.0.attn", "joint", 2, 16, 16),
    ),
    "wan2.1-1.3b": Family(
        "wan2.1-1.3b",
        Architecture(
            (
                "WanTransformer3DModel",
                {**_HEADS, "num_layers": 3, "ffn_dim": 32, "freq_dim": 16, "text_dim": TEXT, "rope_max_seq_len": 64},
            ),
            (
                "AutoencoderKLWan",
                {
                    "base_dim": 4, "z_dim": 4, "num_res_blocks": 1, "latents_mean": (-0.8, 0.1, 0.4, -0.3),
                    "latents_std": (2.8, 1.5, 2.3, 2.7),
                },
            ),
            {"_class_name": "UniPCMultistepScheduler", "prediction_type": "flow_prediction"},
            (12, TEXT),
        ),
        write_umt5,
        Site("blocks.1.attn1", "self", 2, 16, 16),
    ),
    "cogvideox-1.5-5b": _cogvideox(
        "cogvideox-1.5-5b", use_rotary_positional_embeddings=True, patch_size_t=2, patch_bias=False
    ),
    "mochi-1": _flow_video(
        "mochi-1", "MochiTransformer3DModel",
        (
            "AutoencoderKLMochi",
            {
                "encoder_block_out_channels": (32,) * 4, "decoder_block_out_channels": (32,) * 4, "latent_channels": 4,
                "layers_per_block": (1,) * 5, "latents_mean": (-0.1, 0.1, 0.0, 0.2),
                "latents_std": (0.9, 1.1, 0.8, 1.2),
            },
        ),
        Site("transformer_blocks.1.attn1", "joint", 2, 16, 16), partial(write_t5, width=TEXT),
        num_layers=3, pooled_projection_dim=24, text_embed_dim=TEXT, time_embed_dim=16,
    ),
    "ltx-video": _flow_video(
        "ltx-video", "LTXVideoTransformer3DModel",
        (
            "AutoencoderKLLTXVideo",
            {
                "latent_channels": 4, "block_out_channels": (8,) * 4, "decoder_block_out_channels": (8,) * 4,
                "layers_per_block": (1,) * 5, "decoder_layers_per_block": (1,) * 5,
            },
        ),
        Site("transformer_blocks.1.attn1", "self", 2, 16, 32), write_t5,
        num_layers=3, cross_attention_dim=32, caption_channels=TEXT,
    ),
    "cosmos-predict2-2b": _flow_video(
        "cosmos-predict2-2b", "CosmosTransformer3DModel",
        (
            "AutoencoderKLWan",
            {
                "base_dim": 4, "z_dim": 4, "num_res_blocks": 1, "latents_mean": (-0.8, 0.1, 0.4, -0.3),
                "latents_std": (2.8, 1.5, 2.3, 2.7),
            },
        ),
        Site("transformer_blocks.1.attn1", "self", 2, 16, 16), write_t5,
        num_layers=3, text_embed_dim=TEXT, adaln_lora_dim=8, max_size=(4, 40, 40), rope_scale=(1.0, 4.0, 4.0),
        extra_pos_embed_type=None,
    ),
    "flux.1-schnell": _flux("flux.1-schnell"),
    "flux.1-dev": _flux("flux.1-dev", guidance_embeds=True),
    "flux.2-klein-4b": _flux2(),
    "sd-3-medium": _sd3("sd-3-medium"),
    "sd-3.5-medium": _sd3("sd-3.5-medium", qk_norm="rms_norm", dual_attention_layers=(0, 1)),
}  # fmt: skip
