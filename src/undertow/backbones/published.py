"""The published shapes of models, from which ones with random weights can be built for tests and timing.

The configurations are those of the repositories that the cards name.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import diffusers
import torch
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTokenizerFast,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
)

from undertow.backbones.adapters.autoencoder import ClipAutoencoder, ImageAutoencoder, autoencoder_of
from undertow.backbones.adapters.dit import VideoDiT
from undertow.backbones.adapters.dit_image import ImageDiT
from undertow.backbones.adapters.pixels import Pixels
from undertow.backbones.adapters.unet import ImageUNet
from undertow.backbones.adapters.unet_pixels import PixelUNet
from undertow.backbones.adapters.unet_video import VideoUNet
from undertow.backbones.adapters.unet_xl import ImageUNetXL
from undertow.backbones.adapters.vit import VisionTransformer, vit_network
from undertow.backbones.cards.card import Card
from undertow.backbones.cards.features import MODELS, SHAPES
from undertow.backbones.observation import Conditioning
from undertow.backbones.sampling.schedule import read_schedule
from undertow.backbones.weights.guided_diffusion import GUIDED, GuidedShape, guided_network
from undertow.backbones.weights.networks import Network
from undertow.backbones.weights.tokenizers import make_tokenizer
from undertow.base import SettingsError


@dataclass(frozen=True)
class Architecture:
    """The networks of a model, as class names of diffusers with what their constructors are given.

    Attributes:
        denoiser: Class and arguments; what they leave out is diffusers' default. Of a vision transformer, its type and
            configuration in transformers; it has nothing else.
        vae: Class and arguments of the autoencoder.
        scheduler: Configuration of the scheduler, with its class if it is not one of Stable Diffusion's.
        text: (tokens, width) of the text states.
        pooled: Width of the vector for the whole text; 0 if there is none.
        image_encoder: Configuration of CLIP's image encoder, of models that continue an image.
    """

    denoiser: tuple[str, Mapping[str, Any]]
    vae: tuple[str, Mapping[str, Any]]
    scheduler: Mapping[str, Any]
    text: tuple[int, int]
    pooled: int = 0
    image_encoder: Mapping[str, Any] = field(default_factory=dict)


_VAE = {
    "block_out_channels": (128, 256, 512, 512),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "layers_per_block": 2,
    "latent_channels": 4,
}
# `attention_head_dim` is diffusers' historical name for the number of heads.
_SD2 = {"attention_head_dim": (5, 10, 20, 20), "use_linear_projection": True, "upcast_attention": True}


def _stable_diffusion(prediction: str, sample_size: int, width: int, **unet: Any) -> Architecture:
    denoiser = {
        "sample_size": sample_size,
        "in_channels": 4,
        "out_channels": 4,
        "block_out_channels": (320, 640, 1280, 1280),
        "layers_per_block": 2,
        "down_block_types": (*("CrossAttnDownBlock2D",) * 3, "DownBlock2D"),
        "up_block_types": ("UpBlock2D", *("CrossAttnUpBlock2D",) * 3),
        "cross_attention_dim": width,
        **unet,
    }
    vae = {"up_block_types": ("UpDecoderBlock2D",) * 4, "sample_size": sample_size * 8, "scaling_factor": 0.18215}
    scheduler = {
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "num_train_timesteps": 1000,
        "prediction_type": prediction,
        "steps_offset": 1,
        "set_alpha_to_one": False,
        "clip_sample": False,
    }
    return Architecture(("UNet2DConditionModel", denoiser), ("AutoencoderKL", {**_VAE, **vae}), scheduler, (77, width))


def _stable_diffusion_xl() -> Architecture:
    like = _stable_diffusion(
        "epsilon", 128, 2048,
        block_out_channels=(320, 640, 1280), attention_head_dim=(5, 10, 20), use_linear_projection=True,
        down_block_types=("DownBlock2D", *("CrossAttnDownBlock2D",) * 2),
        up_block_types=(*("CrossAttnUpBlock2D",) * 2, "UpBlock2D"), transformer_layers_per_block=(1, 2, 10),
        addition_embed_type="text_time", addition_time_embed_dim=256, projection_class_embeddings_input_dim=2816,
    )  # fmt: skip
    return replace(like, vae=(like.vae[0], {**like.vae[1], "scaling_factor": 0.13025}), pooled=1280)


def _cogvideox(scaling_factor: float, snr_shift_scale: float, **denoiser: Any) -> Architecture:
    scheduler = {
        "_class_name": "CogVideoXDDIMScheduler",
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "clip_sample": False,
        "prediction_type": "v_prediction",
        "rescale_betas_zero_snr": True,
        "set_alpha_to_one": True,
        "snr_shift_scale": snr_shift_scale,
        "timestep_spacing": "trailing",
    }
    vae = ("AutoencoderKLCogVideoX", {"scaling_factor": scaling_factor})
    return Architecture(("CogVideoXTransformer3DModel", denoiser), vae, scheduler, (226, 4096))


def _wan(**denoiser: Any) -> Architecture:
    scheduler = {"_class_name": "UniPCMultistepScheduler", "prediction_type": "flow_prediction"}
    transformer = ("WanTransformer3DModel", {"text_dim": 4096, **denoiser})
    return Architecture(transformer, ("AutoencoderKLWan", {}), scheduler, (512, 4096))


def _image_transformer(kind: str, scaling: float, shift: float, pooled: int, **denoiser: Any) -> Architecture:
    vae = {**_VAE, "up_block_types": ("UpDecoderBlock2D",) * 4, "latent_channels": 16, "scaling_factor": scaling}
    return Architecture(
        (kind, denoiser),
        ("AutoencoderKL", {**vae, "shift_factor": shift, "use_quant_conv": False, "use_post_quant_conv": False}),
        {"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 3.0},
        (16, 4096),
        pooled=pooled,
    )


def _flow_video(kind: str, vae: tuple[str, Mapping[str, Any]], length: int, **denoiser: Any) -> Architecture:
    scheduler = {"_class_name": "FlowMatchEulerDiscreteScheduler"}
    return Architecture((kind, denoiser), vae, scheduler, (length, 4096))


def _flux2(**denoiser: Any) -> Architecture:
    shape = {"guidance_embeds": False, **denoiser}
    like = _image_transformer("Flux2Transformer2DModel", 1.0, 0.0, 0, **shape)
    return replace(like, vae=("AutoencoderKLFlux2", {}), text=(16, denoiser["joint_attention_dim"]))


def _cosmos(heads: int, blocks: int) -> Architecture:
    denoiser = {
        "num_attention_heads": heads, "num_layers": blocks, "rope_scale": (1.0, 4.0, 4.0),
        "extra_pos_embed_type": None,
    }  # fmt: skip
    like = _flow_video("CosmosTransformer3DModel", ("AutoencoderKLWan", {}), 512, **denoiser)
    return replace(like, text=(512, 1024))


def _flux(**denoiser: Any) -> Architecture:
    return _image_transformer("FluxTransformer2DModel", 0.3611, 0.1159, 768, **denoiser)


def _sd3(blocks: int, heads: int, **denoiser: Any) -> Architecture:
    shape = {"num_layers": blocks, "num_attention_heads": heads, "caption_projection_dim": 64 * heads, **denoiser}
    return _image_transformer("SD3Transformer2DModel", 1.5305, 0.0609, 2048, **shape)


_5B = {"num_attention_heads": 48, "num_layers": 42, "use_rotary_positional_embeddings": True}


def _vit(kind: str, size: str, patch: int, **more: Any) -> Architecture:
    blocks, heads, width = SHAPES[size]
    shape = {"num_hidden_layers": blocks, "num_attention_heads": heads, "hidden_size": width, "patch_size": patch}
    if kind in ("vit", "dinov3_vit"):
        shape["intermediate_size"] = 4 * width
    if kind.startswith("dinov3"):
        shape["num_register_tokens"] = 4
    if patch == 14:
        shape["image_size"] = 518
    return Architecture((kind, {**shape, **more}), ("Pixels", {}), {}, (1, 1))


def _guided(shape: GuidedShape) -> Architecture:
    scheduler = {"beta_start": 0.0001, "beta_end": 0.02, "beta_schedule": "linear", "prediction_type": "epsilon"}
    return Architecture(("UNet2DModel", shape.arguments), ("Pixels", {}), scheduler, (1, 1))


ARCHITECTURES: Mapping[str, Architecture] = {
    **{name: _vit(kind, size, patch) for name, kind, _, size, patch, *_ in MODELS},
    "dinov3-7b": _vit("dinov3_vit", "7b", 16, intermediate_size=8192, use_gated_mlp=True),
    **{f"adm-{size}": _guided(shape) for size, shape in GUIDED.items()},
    "c-radio-v4-h": _vit("radio", "h", 16),
    "sd-2.1": _stable_diffusion("v_prediction", 96, 1024, **_SD2),
    "sd-2.1-base": _stable_diffusion("epsilon", 64, 1024, **(_SD2 | {"upcast_attention": False})),
    "sd-1.5": _stable_diffusion("epsilon", 64, 768, attention_head_dim=8),
    "sdxl": _stable_diffusion_xl(),
    "svd": Architecture(
        ("UNetSpatioTemporalConditionModel", {}),
        ("AutoencoderKLTemporalDecoder", _VAE),
        {},
        (1, 1024),
        image_encoder={
            "hidden_size": 1280,
            "intermediate_size": 5120,
            "num_hidden_layers": 32,
            "num_attention_heads": 16,
            "patch_size": 14,
            "projection_dim": 1024,
        },
    ),
    "cogvideox-2b": _cogvideox(1.15258426, 3.0),
    "cogvideox-5b": _cogvideox(0.7, 1.0, **_5B),
    "cogvideox-5b-i2v": _cogvideox(0.7, 1.0, in_channels=32, use_learned_positional_embeddings=True, **_5B),
    "cogvideox-1.5-5b": _cogvideox(
        0.7, 1.0, patch_size_t=2, patch_bias=False, sample_height=300, sample_width=300, sample_frames=81, **_5B
    ),
    # Their pipelines read at most 256 and 128 tokens; the empty text has one.
    "mochi-1": _flow_video("MochiTransformer3DModel", ("AutoencoderKLMochi", {}), 1),
    "ltx-video": _flow_video("LTXVideoTransformer3DModel", ("AutoencoderKLLTXVideo", {}), 1),
    "hunyuan-video": Architecture(
        ("HunyuanVideoTransformer3DModel", {}),
        ("AutoencoderKLHunyuanVideo", {}),
        {"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 7.0},
        # The pipeline reads at most 256 tokens; the empty text has few.
        (4, 4096),
        pooled=768,
    ),
    "wan2.1-1.3b": _wan(num_attention_heads=12, num_layers=30, ffn_dim=8960),
    "wan2.1-14b": _wan(num_attention_heads=40, num_layers=40, ffn_dim=13824),
    "flux.1-schnell": _flux(),
    "flux.1-dev": _flux(guidance_embeds=True),
    "flux.2-klein-4b": _flux2(num_layers=5, num_single_layers=20, num_attention_heads=24, joint_attention_dim=7680),
    "cosmos-predict2-2b": _cosmos(16, 28),
    "sd-3-medium": _sd3(24, 24, pos_embed_max_size=192),
    "sd-3.5-medium": _sd3(24, 24, pos_embed_max_size=384, qk_norm="rms_norm", dual_attention_layers=tuple(range(13))),
    "sd-3.5-large": _sd3(38, 38, pos_embed_max_size=192, qk_norm="rms_norm"),
}


def random_backbone(
    card: Card,
    seed: int = 0,
    *,
    architecture: Architecture | None = None,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
    rotary: bool = True,
) -> ImageUNet | VideoUNet | VideoDiT | VisionTransformer:
    """Returns a model of the shape of `card` with random weights.

    Denoiser and autoencoder are the real classes. The text encoder of an image model is a one-layer stand-in that gives
    states of the right number and width; for that of a video transformer there are random states, a function of the
    text.

    Args:
        card: Of the model; its sites must be in the architecture.
        seed: Of the weights.
        architecture: Shapes of the networks; `None` for the published ones of `card`.
        device: Where to build it; on "meta" nothing is allocated, and only shapes come out.
        dtype: Number type of the weights.
        rotary: See `VideoDiT`.

    Raises:
        SettingsError: if no architecture is published under the name of `card`.
    """
    shapes = architecture or ARCHITECTURES.get(card.name)
    if shapes is None:
        raise SettingsError(f"no architecture is known for '{card.name}'; known are {', '.join(ARCHITECTURES)}")
    where = torch.device(device)

    def built(network: tuple[str, Mapping[str, Any]]) -> Network:
        kind, arguments = network
        with where:
            return Network(getattr(diffusers, kind)(**arguments), where, dtype)

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if card.family == "vit":
            kind, arguments = shapes.denoiser
            return VisionTransformer(card, vit_network({"model_type": kind, **arguments}, where, dtype), Pixels(where))
        if shapes.vae[0] == "Pixels":
            with where:
                unet = guided_network(shapes.denoiser[1])
            return PixelUNet(card, Network(unet, where, dtype), read_schedule(shapes.scheduler))
        denoiser = built(shapes.denoiser)
        vae = built(shapes.vae)
        if card.family == "unet-video":
            with where:
                encoder = CLIPVisionModelWithProjection(CLIPVisionConfig(**shapes.image_encoder))
            return VideoUNet(card, denoiser, ClipAutoencoder(vae), lambda: encoder)
        schedule = read_schedule(shapes.scheduler)
        if card.family == "dit":
            states = lambda text: _random_states(text, shapes)  # noqa: E731
            adapter = ImageDiT if card.chunk == 1 else VideoDiT
            return adapter(card, denoiser, autoencoder_of(vae), schedule, states, rotary=rotary)
        if shapes.pooled:
            read = partial(_random_states, shapes=shapes)
            return ImageUNetXL(card, denoiser, ImageAutoencoder(vae), schedule, read)
        text = _random_text(*shapes.text)
    return ImageUNet(card, denoiser, ImageAutoencoder(vae), schedule, lambda: text)


def _random_text(length: int, width: int) -> tuple[CLIPTokenizerFast, CLIPTextModel]:
    """Returns a tokenizer that spells every word and an untrained one-layer text encoder, on the CPU."""
    letters = [chr(code) for code in range(33, 127)]
    entries = ["<|startoftext|>", "<|endoftext|>", *letters, *(letter + "</w>" for letter in letters)]
    tokenizer = make_tokenizer({entry: number for number, entry in enumerate(entries)}, [], length)
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=width,
        projection_dim=width,
        num_hidden_layers=1,
        num_attention_heads=4,
        max_position_embeddings=length,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return tokenizer, CLIPTextModel(config)


def _random_states(text: str, shapes: Architecture) -> Conditioning:
    """Returns states that are a function of the text, of unit variance."""
    generator = torch.Generator().manual_seed(int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big"))
    pooled = torch.randn(shapes.pooled, generator=generator) if shapes.pooled else None
    return Conditioning(torch.randn(shapes.text, generator=generator), "text", text, pooled)
