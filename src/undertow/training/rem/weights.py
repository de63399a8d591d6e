"""Which weights of a denoiser are trained, and what of them is kept."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from undertow.backbones import Backbone
from undertow.backbones.fine_tuning import FineTuning
from undertow.backbones.weights.networks import weight_dtype
from undertow.base import SettingsError
from undertow.grounding.generator import predicted
from undertow.training.rem.settings import RemSettings
from undertow.training.sharding import whole

# REM's Wan leaves these as they are; the time embedding says nothing new, since there is one timestep.
FROZEN = ("patch_embedding", "condition_embedder", "time_embedding")


def choose_weights(denoiser: Any, settings: RemSettings) -> None:
    """Makes the weights that are to be trained trainable, and no others; for lora, puts pairs beside them.

    Raises:
        SettingsError: if peft is needed and absent, or there is no such weight.
    """
    denoiser.requires_grad_(False)
    if settings.train == "lora":
        _add_pairs(denoiser, settings.rank)
        return
    for name, parameter in denoiser.named_parameters():
        wanted = in_attention(name) if settings.train == "attention" else name.split(".")[0] not in FROZEN
        parameter.requires_grad_(wanted)
    if not any(each.requires_grad for each in denoiser.parameters()):
        raise SettingsError(f"the denoiser has no weights of '{settings.train}'; train 'full'")


def halve_frozen(denoiser: Any) -> None:
    """Makes the weights that are not trained bfloat16, but for those that their class wants in float32."""
    for name, parameter in denoiser.named_parameters():
        if not parameter.requires_grad:
            parameter.data = parameter.data.to(weight_dtype(denoiser, name, torch.bfloat16))


def in_attention(name: str) -> bool:
    """Returns whether a weight is of an attention.

    >>> in_attention("blocks.3.attn2.to_q.weight"), in_attention("blocks.3.ffn.net.0.proj.weight")
    (True, False)
    """
    return any(part.startswith("attn") for part in name.split(".")[:-1])


def repeat_positions(denoiser: Any, size: tuple[int, int], frames: int, stride: int) -> None:
    """Makes the table of positions of an image model begin anew in every frame of a sheet.

    The middle frame has the positions of a picture alone, so that what was learned of pictures holds for it; the others
    have the same and the number of the frame, as a turn in a plane of random direction. The table is one of the weights
    that are kept. Models that turn queries and keys have none, and are left as they are.

    Args:
        denoiser: The model.
        size: (height, width) of a frame in pixels.
        frames: Frames of a sheet.
        stride: Pixels per side of a token.

    Raises:
        SettingsError: if the sheet is larger than the table, or no frame is in its middle.
    """
    if not hasattr(denoiser, "pos_embed"):
        return
    side, rows = denoiser.pos_embed.pos_embed_max_size, size[0] // stride
    if frames % 2 == 0 or rows * frames > side:
        raise SettingsError(
            f"a sheet of {frames} frames of {rows} rows of tokens has no middle frame or more than {side} rows; "
            "give an odd number of frames, fewer, or a smaller size"
        )
    old = denoiser.pos_embed.pos_embed.unflatten(1, (side, side))
    new, alone, first = old.clone(), (side - rows) // 2, (side - rows * frames) // 2
    plane = torch.linalg.qr(torch.randn(old.shape[-1], 2, generator=torch.Generator().manual_seed(0))).Q
    # A third as long as a position is.
    plane *= float(old.norm(dim=-1).mean()) / 3
    for frame in range(frames):
        turn = math.pi * (frame - frames // 2) / frames
        number = plane @ torch.tensor([math.sin(turn), math.cos(turn) - 1])
        new[:, first + rows * frame : first + rows * (frame + 1)] = old[:, alone : alone + rows] + number.to(old)
    denoiser.pos_embed.pos_embed = new.flatten(1, 2)


def learned_weights(denoiser: Any, settings: RemSettings, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    """Returns what is written of a denoiser: weights by name, or pairs `NAME.lora_A` and `NAME.lora_B`.

    Processes that share the denoiser must all ask for it.
    """
    kept: Mapping[str, Tensor] = denoiser.state_dict()
    chosen = {name for name, each in denoiser.named_parameters() if each.requires_grad}
    if settings.sheet:
        chosen |= {name for name in kept if name == "pos_embed.pos_embed"}
    return {
        name.replace(".lora_", ".weight.lora_", 1).removesuffix(".default.weight"): whole(kept[name]).to(dtype)
        for name in kept
        if name in chosen
    }


def checkpoint_activations(denoiser: Any) -> None:
    """Makes a denoiser compute its activations again in the backward pass."""
    if getattr(denoiser, "_supports_gradient_checkpointing", False):
        denoiser.enable_gradient_checkpointing()
        return
    from torch.utils.checkpoint import checkpoint

    # Diffusers' UNet of clips does not know how; its blocks are wrapped here.
    for block in [*denoiser.down_blocks, denoiser.mid_block, *denoiser.up_blocks]:
        inner = block.forward
        block.forward = lambda *args, _inner=inner, **kwargs: checkpoint(_inner, *args, use_reentrant=False, **kwargs)


class Answering(nn.Module):
    """A denoiser as a function of clips and texts, so that processes can share its gradients."""

    def __init__(self, backbone: Backbone, about: FineTuning, *, bfloat16: bool) -> None:
        """Takes a model whose denoiser is read, and what it is trained to answer."""
        super().__init__()
        self.denoiser = backbone.denoiser
        self._backbone, self._about, self._bfloat16 = backbone, about, bfloat16

    def forward(self, video: Float[Tensor, "b f c h w"], states: Float[Tensor, "b n d"]) -> Float[Tensor, "b f c h w"]:
        """Returns the predictions, float32."""
        with torch.autocast(video.device.type, torch.bfloat16, enabled=self._bfloat16):
            return predicted(self._backbone, self._about, video, states).float()


def _add_pairs(denoiser: Any, rank: int) -> None:
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise SettingsError("training pairs needs peft; install it with `pip install undertow[train]`") from error
    linear = [name for name, each in denoiser.named_modules() if isinstance(each, nn.Linear)]
    wanted = [name for name in linear if in_attention(f"{name}.weight")]
    if not wanted:
        raise SettingsError("the denoiser has no attention of linear maps; train 'full'")
    inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=rank, target_modules=wanted), denoiser)
    for name, parameter in denoiser.named_parameters():
        parameter.requires_grad_(".lora_" in name)
