"""The network of `tiny-sam`: transformers' SamModel, small, as it is before training."""

import math
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import SamConfig, SamModel

from undertow.backbones.weights.networks import read_network
from undertow.base import SettingsError


@dataclass(frozen=True)
class SegmenterShape:
    """Sizes of the network.

    Args:
        image_size: Longer side of the picture it sees, in pixels.
        patch_size: Side of a token, in pixels; masks come out at four times the token grid.
        width: Channels of the image encoder.
        layers: Layers of the image encoder.
        heads: Heads of its attention.
        everywhere: Which layers attend to the whole picture; the others attend within windows.
        window: Side of a window, in tokens.
        channels: Channels of the image embedding and of the mask decoder.
    """

    image_size: int = 256
    patch_size: int = 8
    width: int = 160
    layers: int = 6
    heads: int = 5
    everywhere: tuple[int, ...] = (2, 5)
    window: int = 8
    channels: int = 128


def build_segmenter(seed: int, shape: SegmenterShape | None = None, start: Path | None = None) -> SamModel:
    """Returns the network of `shape` before training; the same seed gives the same weights.

    With `start`, the folder of a finished one of the same shape, it has that one's weights.

    Positions start as sinusoids, so that attention can tell near from far from the first step. The frequencies with
    which the prompt encoder writes coordinates are drawn with deviation 1, as SAM's are, and are not trained.
    """
    shape = shape or SegmenterShape()
    vision = {
        "hidden_size": shape.width,
        "output_channels": shape.channels,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "image_size": shape.image_size,
        "patch_size": shape.patch_size,
        "window_size": shape.window,
        "global_attn_indexes": list(shape.everywhere),
        "num_pos_feats": shape.channels // 2,
        "use_rel_pos": False,
    }
    prompts = {"hidden_size": shape.channels, "image_size": shape.image_size, "patch_size": shape.patch_size}
    decoder = {
        "hidden_size": shape.channels,
        "mlp_dim": 2 * shape.channels,
        "num_attention_heads": 4,
        "iou_head_hidden_dim": shape.channels,
    }
    config = SamConfig(vision_config=vision, prompt_encoder_config=prompts, mask_decoder_config=decoder)
    # With heads this narrow the gradient of fused attention takes a third of a step on a CPU; plain attention is
    # faster.
    config._attn_implementation = config.vision_config._attn_implementation = "eager"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = SamModel(config)
        _initialise(model)
        frequencies = torch.randn(2, shape.channels // 2)
    with torch.no_grad():
        model.shared_image_embedding.positional_embedding.copy_(frequencies)
        model.prompt_encoder.shared_embedding.positional_embedding.copy_(frequencies)
        side = shape.image_size // shape.patch_size
        model.vision_encoder.pos_embed.copy_(sinusoids(side, shape.width)[None])
    if start is not None:
        finished = read_network(SamModel, start, "", torch.float32)
        try:
            model.load_state_dict(finished.state_dict())
        except RuntimeError as error:
            raise SettingsError(f"{start} holds a segmenter of another shape; give one such as tiny-sam") from error
    model.shared_image_embedding.requires_grad_(False)
    model.prompt_encoder.shared_embedding.requires_grad_(False)
    return model.train()


def _initialise(model: SamModel) -> None:
    """Draws the weights anew so that every layer keeps the size of what passes through it.

    transformers draws all of them with deviation 0.02, which suits wide networks that are loaded from files anyway: in
    this narrow one attention starts uniform, masks start at zero, and clicks are not learnt for hundreds of steps.
    Embeddings of tokens and points have deviation 1, as in the original SAM. Between prompts and picture, keys start as
    copies of queries, so that a click attends to its surroundings and they to it.
    """
    for module in model.modules():
        if isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight)
        elif isinstance(module, nn.Linear | nn.Conv2d):
            nn.init.normal_(module.weight, std=module.weight[0].numel() ** -0.5)
        elif isinstance(module, nn.ConvTranspose2d):
            # Kernels are as large as their stride: each output pixel sees one input pixel.
            nn.init.normal_(module.weight, std=module.in_channels**-0.5)
    transformer = model.mask_decoder.transformer
    crossing = [transformer.final_attn_token_to_image]
    for layer in transformer.layers:
        crossing += [layer.cross_attn_token_to_image, layer.cross_attn_image_to_token]
    for attention in crossing:
        # A matcher: what is at the same place finds each other from the first step, with a logit of about 4.
        attention.q_proj.weight.data *= 1.5
        attention.k_proj.weight.data.copy_(attention.q_proj.weight)
    for layer in model.vision_encoder.layers:
        for last in (layer.attn.proj, layer.mlp.lin2):
            last.weight.data *= len(model.vision_encoder.layers) ** -0.5


def sinusoids(side: int, width: int) -> Tensor:
    """Returns position vectors (side, side, width) in the scale of token embeddings: sines and cosines of y, then of x.

    Periods rise from 2 tokens to twice the side in equal ratios.
    """
    count = width // 4
    periods = 2 * side ** (torch.arange(count) / max(1, count - 1))
    angles = 2 * math.pi * torch.arange(side)[:, None] / periods
    waves = torch.cat([angles.sin(), angles.cos()], 1)
    rows = waves[:, None].expand(side, side, 2 * count)
    columns = waves[None].expand(side, side, 2 * count)
    positions = torch.zeros(side, side, width)
    positions[..., : 4 * count] = torch.cat([rows, columns], -1)
    return 0.5 * positions
