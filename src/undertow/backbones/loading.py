"""From a name or a folder to a running backbone, of which only what will be used is read."""

import math
from collections.abc import Mapping, Sequence
from math import inf
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTokenizerFast, CLIPVisionModelWithProjection

from undertow.backbones.adapters.autoencoder import (
    AUTOENCODERS,
    Autoencoder,
    ClipAutoencoder,
    ImageAutoencoder,
    autoencoder_of,
)
from undertow.backbones.adapters.dit import VideoDiT, transformer_sites
from undertow.backbones.adapters.dit_image import ImageDiT
from undertow.backbones.adapters.dit_kinds import require_kind
from undertow.backbones.adapters.dit_text import keeping_null_text, null_text_file, text_reader
from undertow.backbones.adapters.pixels import IMAGENET, Pixels
from undertow.backbones.adapters.unet import ImageUNet, unet_sites
from undertow.backbones.adapters.unet_clip import ClipUNet
from undertow.backbones.adapters.unet_pixels import PixelUNet
from undertow.backbones.adapters.unet_video import VideoUNet
from undertow.backbones.adapters.unet_xl import ImageUNetXL, xl_text_reader
from undertow.backbones.adapters.vit import VisionTransformer, vit_network, vit_sites
from undertow.backbones.cards.card import Card, Family, Site
from undertow.backbones.cards.card_file import get_card
from undertow.backbones.cards.nearest import nearest_card, of_features, read_like
from undertow.backbones.fine_tuning import fine_tuned, read_fine_tuning
from undertow.backbones.projection import read_projection
from undertow.backbones.published import ARCHITECTURES
from undertow.backbones.sampling.schedule import NoiseSchedule, Schedule, read_schedule
from undertow.backbones.weights.guided_diffusion import guided_network, guided_shape, guided_size, guided_weights
from undertow.backbones.weights.layout import (
    is_pixel_unet,
    is_transformer,
    is_video_unet,
    layout_of,
    low_noise_denoiser,
    read_config,
)  # fmt: skip
from undertow.backbones.weights.locating import locate, models_in
from undertow.backbones.weights.networks import Network, converted_weights, hollow, quiet, read_network, stored_network
from undertow.backbones.weights.single_file import (
    is_guided,
    published_names,
    shapes_in,
    stored_networks,
    text_loader,
)  # fmt: skip
from undertow.backbones.weights.tokenizers import read_tokenizer
from undertow.base import SettingsError, resolve_device, resolve_dtype


@torch.no_grad()
def matcher_start(unet: UNet2DConditionModel, seed: int, logit: float = 5.0) -> None:
    """Makes every self-attention of `unet` begin as a similarity search: a token matches itself best.

    In each `attn1`, `to_q` becomes a scaled random orthogonal matrix and `to_k` a copy of it, so that q·k is the inner
    product of the tokens' normalised hidden states. The change is in place and a function of the
    architecture, `seed` and `logit` only; what training may do to both is `undertow.training.architecture`' matter.

    Args:
        unet: A denoiser whose self-attention is called `attn1`, as in diffusers' transformer blocks.
        seed: Of the orthogonal matrices; the n-th self-attention in module order draws the n-th matrix.
        logit: The mean over heads of q·k/√d of a token with itself.
    """
    generator = torch.Generator().manual_seed(seed)
    for name, module in unet.named_modules():
        if name.rpartition(".")[2] != "attn1":
            continue
        inner, channels = module.to_q.weight.shape
        head_dim = inner // module.heads
        # The input x is layer-normed, so |x|² = channels. With W = g·U and U orthogonal, |Wx|² summed over the heads
        # is g²·min(inner, channels) (on average over directions if inner < channels), and so the mean over heads of
        # |q_head|²/√d is g²·min(inner, channels) / (heads·√d). Solve for g; for inner = channels it is √(logit/√d).
        gain = math.sqrt(logit * module.heads * math.sqrt(head_dim) / min(inner, channels))
        start = torch.empty(inner, channels)
        torch.nn.init.orthogonal_(start, gain=gain, generator=generator)
        module.to_q.weight.copy_(start)
        module.to_k.weight.copy_(start)


UNTRAINED_SEED = 0
# Wan's autoencoder is run in float32 by its authors.
FLOAT32_AUTOENCODERS = ("AutoencoderKLWan",)
# What Stable Diffusion XL is told besides the noise level and the states of a text: its whole, and sizes.
XL = "text_time"
BLOCKS = {
    "UNet2DConditionModel": ("CrossAttnDownBlock2D", "DownBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "UNetSpatioTemporalConditionModel": (
        *("CrossAttnDownBlockSpatioTemporal", "DownBlockSpatioTemporal"),
        *("CrossAttnUpBlockSpatioTemporal", "UpBlockSpatioTemporal"),
    ),
    "UNet3DConditionModel": ("CrossAttnDownBlock3D", "DownBlock3D", "CrossAttnUpBlock3D", "UpBlock3D"),
}


AnyBackbone = ImageUNet | VideoUNet | VideoDiT | VisionTransformer


def load(
    model: str | Path,
    *,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
    sites: str | Sequence[str | Site] | None = None,
) -> AnyBackbone:
    """Returns a running backbone.

        backbone = load("tiny")

    Args:
        model: The name of a card (`tiny`, `sd-2.1`, ...), a local folder in the diffusers layout, a safetensors file
            of a whole Stable Diffusion 1 or 2 model, or NAME=PATH for a folder or file that holds the model called
            NAME; or a folder that `undertow train rem` made. A folder without a name is given the card whose sites
            and prediction type its network has, and a generic one if there is none. Several of these, joined by "+",
            are compared together in tracking: the first leads, and the others are its `partners`.
        device: Where to run; `None` or "auto" for the best there is.
        dtype: Number type of the weights; `None` or "auto" for bfloat16 if the device has it, else float32.
        sites: What the model is used for: a purpose such as "track" (see `Card.places`), a site, or several of either.
            Weights after the last of these sites are read only when something needs them. `None` reads the
            whole denoiser at once.

    Raises:
        WeightsUnavailable: if the weights are absent, incomplete, damaged, or not those that the card pins.
        SettingsError: if the name is unknown, if a file may be one of several models, or if the model is of a
            kind that undertow does not read.
    """
    where = device if isinstance(device, torch.device) else resolve_device(device)
    kind = dtype if isinstance(dtype, torch.dtype) else resolve_dtype(dtype, where)
    first, *others = models_in(model)
    located = locate(first)
    backbone: AnyBackbone
    if located.path.is_file():
        backbone = _load_file(located.path, located.card, where, kind)
    elif layout_of(located.path) == "transformers":
        backbone = _load_features(located.path, located.card, where, kind)
    elif is_pixel_unet(located.path):
        backbone = _load_pixels(located.path, located.card, where, kind)
    elif is_transformer(located.path):
        backbone = load_transformer(located.path, located.card, where, kind)
    else:
        backbone = _load_unet(located.path, located.card, where, kind)
    if located.path.is_dir() and not backbone.card.untrained:
        backbone.projection = read_projection(located.path)
    if located.learned is not None:
        fine_tuned(backbone, located.learned, read_fine_tuning(located.learned))
    alike = {"device": where, "dtype": kind, "sites": None if sites is None else "track"}
    backbone.partners = tuple(load(other, **alike) for other in others)  # type: ignore[arg-type]
    wanted = [sites] if isinstance(sites, str) else sites
    backbone.read(None if wanted is None else backbone.card.places(*wanted))
    return backbone


def _load_file(path: Path, card: Card | None, device: torch.device, dtype: torch.dtype) -> ImageUNet:
    """Returns the model in one file; without a card, the one that its shapes tell."""
    if is_guided(shapes := shapes_in(path)):
        shape, name = guided_shape(shapes), f"adm-{guided_size(shapes)}"
        with quiet(), torch.device("meta"):
            module = guided_network(shape.arguments)
        weights = guided_weights(path, module.state_dict().keys(), shapes, shape)
        network = Network(hollow(module), device, dtype, weights, str(path))
        own = card or read_like(get_card(name), path.stem)
        return PixelUNet(own, network, read_schedule(ARCHITECTURES[name].scheduler))
    fitting = published_names(path)
    if card is None:
        if len(fitting) != 1:
            raise SettingsError(_which(path, fitting))
        card = read_like(get_card(fitting[0]), path.stem)
        name = fitting[0]
    else:
        name = card.name
        if name not in fitting:
            raise SettingsError(_which(path, fitting, f"not '{name}'"))
    architecture = ARCHITECTURES[name]
    network, vae = stored_networks(path, architecture, device, dtype)
    schedule = read_schedule(architecture.scheduler)
    return ImageUNet(card, network, ImageAutoencoder(vae), schedule, text_loader(path, name, architecture.text[0]))


def _which(path: Path, fitting: list[str], wrong: str = "one model only") -> str:
    """Returns the sentence that says which models a file may hold, where `wrong` is what it does not."""
    if not fitting:
        return f"{path} holds a model of a shape that is not known here; give it as a folder in the diffusers layout"
    choice = " or ".join(f"--model {name}={path}" for name in fitting)
    return f"the weights of {path} fit {' and '.join(fitting)}, {wrong}; say which it is with {choice}"


def _load_features(folder: Path, card: Card | None, device: torch.device, dtype: torch.dtype) -> VisionTransformer:
    """Returns the vision transformer in a folder in transformers' layout."""
    config = read_config(folder / "config.json", text=True)
    network = vit_network(config, device, dtype, lambda module: converted_weights(folder, module), str(folder))
    own = folder / "preprocessor_config.json"
    shown = read_config(own, text=True) if own.is_file() else {}
    mean, std = (shown.get(f"image_{each}", usual) for each, usual in zip(("mean", "std"), IMAGENET, strict=True))
    # RADIO normalises what it is given itself.
    pixels = Pixels(device, *((0.0,) * 3, (1.0,) * 3) if config["model_type"] == "radio" else (mean, std))
    if card is None:
        card = of_features(_name(folder), vit_sites(network.module))
    return VisionTransformer(card, network, pixels)


def _load_pixels(folder: Path, card: Card | None, device: torch.device, dtype: torch.dtype) -> PixelUNet:
    """Returns the UNet of pixels in a folder."""
    config = read_config(folder / "unet" / "config.json")
    if config.get("_class_name") != "UNet2DModel":
        raise SettingsError(
            f"{folder} holds a {config.get('_class_name')} and no autoencoder; give a whole model, or one of pixels "
            "(UNet2DModel)"
        )
    network = stored_network("UNet2DModel", config, folder, "unet", device, dtype)
    schedule = Schedule.from_config(read_config(folder / "scheduler" / "scheduler_config.json"))
    if card is None:
        sites, size = unet_sites(network.module, 1), network.module.config.sample_size or 256
        card = nearest_card(_name(folder), "unet-image", schedule.prediction, 1, sites, (int(size), int(size)))
    return PixelUNet(card, network, schedule)


def _load_unet(folder: Path, card: Card | None, device: torch.device, dtype: torch.dtype) -> ImageUNet | VideoUNet:
    """Returns the UNet in a folder, of images or of clips."""
    clips = is_video_unet(folder)
    kind, vae_kind = (
        ("UNetSpatioTemporalConditionModel", "AutoencoderKLTemporalDecoder")
        if clips
        else ("UNet2DConditionModel", "AutoencoderKL")
    )
    config, vae_config = (read_config(folder / component / "config.json") for component in ("unet", "vae"))
    worded = not clips and config.get("_class_name") == "UNet3DConditionModel"
    kind = "UNet3DConditionModel" if worded else kind
    _check_family(folder, config, vae_config, kind, vae_kind)
    if card is not None and card.untrained:
        network = Network(untrained_denoiser(config), device, dtype)
    else:
        network = stored_network(kind, config, folder, "unet", device, dtype)
    vae = stored_network(vae_kind, vae_config, folder, "vae", device, dtype)
    autoencoder = ClipAutoencoder(vae) if clips else ImageAutoencoder(vae)
    own = network.module.config
    if own.in_channels != autoencoder.channels * (2 if clips else 1):
        raise SettingsError(
            f"the denoiser of {folder} reads {own.in_channels} channels and its latents have {autoencoder.channels} "
            "(an inpainting model?); give a plain text-to-image model"
        )
    sites = unet_sites(network.module, autoencoder.stride)
    size = (own.sample_size,) * 2 if isinstance(own.sample_size, int) else own.sample_size
    if clips:
        card = card or nearest_card(_name(folder), "unet-video", "v_prediction", autoencoder.stride, sites, size)

        def load_image_encoder() -> Any:
            return read_network(CLIPVisionModelWithProjection, folder, "image_encoder", torch.float32)

        return VideoUNet(card, network, autoencoder, load_image_encoder)
    schedule = Schedule.from_config(read_config(folder / "scheduler" / "scheduler_config.json"))
    if card is None:
        family: Family = "unet-clip" if worded else "unet-image"
        card = nearest_card(_name(folder), family, schedule.prediction, autoencoder.stride, sites, size)
    _check_card(folder, card, schedule, autoencoder)
    if own.get("addition_embed_type") == XL:
        return ImageUNetXL(card, network, autoencoder, schedule, xl_text_reader(folder))

    def load_text() -> tuple[Any, Any]:
        encoder = read_network(CLIPTextModel, folder, "text_encoder", torch.float32)
        most = encoder.config.max_position_embeddings
        return read_tokenizer(CLIPTokenizerFast, folder / "tokenizer", most=most), encoder

    return (ClipUNet if worded else ImageUNet)(card, network, autoencoder, schedule, load_text)


def load_transformer(
    folder: Path, card: Card | None, device: torch.device, dtype: torch.dtype, *, cache: Path | str | None = None
) -> VideoDiT:
    """Returns the transformer in a folder, of images or of clips.

    The states of the empty text are kept in the folder `cache`; `None` is the user's.

    Raises:
        WeightsUnavailable: if weights are damaged.
        SettingsError: if the model is of a kind that undertow does not read, or is not that of `card`.
    """
    component, below = low_noise_denoiser(folder) or ("transformer", inf)
    config, vae_config = (read_config(folder / each / "config.json") for each in (component, "vae"))
    schedule = read_schedule(read_config(folder / "scheduler" / "scheduler_config.json"))
    name = card.name if card else _name(folder)
    kind = require_kind(str(config.get("_class_name")), str(folder))
    network = stored_network(str(config["_class_name"]), config, folder, component, device, dtype)
    require_kind(type(network.module).__name__, f"'{name}'", network.module.config).restore_tables(network.module)
    vae_kind = str(vae_config.get("_class_name"))
    if vae_kind not in AUTOENCODERS:
        raise SettingsError(f"{folder} holds a {vae_kind} where undertow reads one of {', '.join(AUTOENCODERS)}")
    own = torch.float32 if vae_kind in FLOAT32_AUTOENCODERS else dtype
    autoencoder = autoencoder_of(stored_network(vae_kind, vae_config, folder, "vae", device, own))
    if card is None:
        sites = transformer_sites(kind, network.module, autoencoder.stride)
        size = (network.module.config.get("sample_height"), network.module.config.get("sample_width"))
        trained = size if all(size) else None
        card = nearest_card(name, "dit", schedule.prediction, autoencoder.stride, sites, trained, images=kind.images)
    _check_card(folder, card, schedule, autoencoder)
    read_text = text_reader(folder, name, kind.text_length(network.module.config), kind.encoders, kind.padding)
    if not card.embedded:
        # What reads the text says which text encoder it was trained with; it is in none of the blocks.
        network.read(lambda weight: weight.split(".")[0] not in kind.stacks)
        reader = kind.text_reader(network.module)
        read_text = keeping_null_text(read_text, card.null_text, null_text_file(reader, card.null_text, cache))
    adapter = ImageDiT if kind.images else VideoDiT
    return adapter(card, network, autoencoder, schedule, read_text, below=below)


def untrained_denoiser(config: Mapping[str, Any]) -> UNet2DConditionModel:
    """Returns the denoiser that `config` describes as it is before training, under a fixed seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(UNTRAINED_SEED)
        unet = UNet2DConditionModel.from_config(config)
    matcher_start(unet, UNTRAINED_SEED)
    return unet


def _name(folder: Path) -> str:
    return folder.resolve().name


def _check_card(folder: Path, card: Card, schedule: NoiseSchedule, autoencoder: Autoencoder) -> None:
    """Raises SettingsError unless the model in a folder can be that of `card`."""
    if (card.prediction, card.latent_stride) != (schedule.prediction, autoencoder.stride):
        raise SettingsError(
            f"{folder} has {schedule.prediction} and latents of stride {autoencoder.stride}, where '{card.name}' has "
            f"{card.prediction} and {card.latent_stride}; it is another model"
        )


def _check_family(folder: Path, unet: Mapping[str, Any], vae: Mapping[str, Any], unet_kind: str, vae_kind: str) -> None:
    """Raises SettingsError unless the networks are those that the adapters of UNets run."""
    for config, wanted in ((unet, unet_kind), (vae, vae_kind)):
        if config.get("_class_name") != wanted:
            raise SettingsError(
                f"{folder} holds a {config.get('_class_name')} where undertow reads a {wanted}; "
                "give a Stable Diffusion 1 or 2 model, or Stable Video Diffusion"
            )
    if unet.get("addition_embed_type") not in (None, XL) or unet.get("class_embed_type") or unet.get("encoder_hid_dim"):
        raise SettingsError(
            f"the denoiser of {folder} needs more than a text; give a Stable Diffusion 1 or 2 model, or XL"
        )
    blocks = [*(unet.get("down_block_types") or ()), *(unet.get("up_block_types") or ())]
    if strange := [each for each in blocks if each not in BLOCKS[unet_kind]]:
        raise SettingsError(
            f"the denoiser of {folder} has a block of type {strange[0]}, not one of {', '.join(BLOCKS[unet_kind])}; "
            "give a Stable Diffusion 1 or 2 model, or Stable Video Diffusion"
        )
