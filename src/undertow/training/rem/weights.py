"""Which weights of a denoiser are trained, and what of them is kept."""

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


def learned_weights(denoiser: Any, train: str, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    """Returns what is written of a denoiser: weights by name, or pairs `NAME.lora_A` and `NAME.lora_B`."""
    kept: Mapping[str, Tensor] = denoiser.state_dict()
    if train == "lora":
        named = {name: each for name, each in kept.items() if ".lora_" in name}
        return {name.replace(".lora_", ".weight.lora_", 1).removesuffix(".default.weight"): each.to(dtype)
                for name, each in named.items()}  # fmt: skip
    trained = {name for name, each in denoiser.named_parameters() if each.requires_grad}
    return {name: each.to(dtype) for name, each in kept.items() if name in trained}


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
