"""Attention whose pictures see only themselves: the perturbed branch of cross-attention guidance.

In a video transformer every visual token attends to the visual tokens of all frames and to the text. The perturbed
branch loses what it takes from other frames: those weights become zero *after* the softmax, and what is left is not
normalised again (DiffTrack, arXiv 2506.17220). As written that needs every weight of an N x N matrix. But the weights
kept are those of a softmax over the own frame and the text alone, times a number per token,

    Σ_kept e^l / Σ_all e^l = exp(LSE_kept − LSE_all),

so that two fused attentions, which return their log-sum-exp, give exactly the same and hold no matrix.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
import torch.nn.functional as functional
from jaxtyping import Bool, Float
from torch import Tensor
from torch.overrides import TorchFunctionMode

from undertow.base import SettingsError

# Logits held at a time where no fused attention tells its log-sum-exp: 16 million, 64 MB in float32.
_LOGITS = 1 << 24


def attention_with_lse(
    query: Float[Tensor, "b a n d"],
    key: Float[Tensor, "b a m d"],
    value: Float[Tensor, "b a m d"],
    scale: float | None = None,
) -> tuple[Float[Tensor, "b a n d"], Float[Tensor, "b a n"]]:
    """Returns softmax(scale · q·k) v and the natural log-sum-exp of each token's logits, float32.

    PyTorch's fused kernels for CPU and CUDA compute both; elsewhere it is done in blocks of queries.
    """
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    if query.device.type == "cpu":
        flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
        mixed, lse = flash(query, key, value, 0.0, False, scale=scale)
        return mixed, lse
    if query.device.type == "cuda":
        efficient = torch.ops.aten._scaled_dot_product_efficient_attention
        mixed, lse, *_ = efficient(query, key, value, None, True, 0.0, False, scale=scale)
        # This kernel pads the number of rows.
        return mixed, lse[..., : query.shape[2]].float()
    rows = max(1, _LOGITS // (query.shape[0] * query.shape[1] * key.shape[2]))
    parts = []
    for some in query.split(rows, dim=2):
        logits = scale * (some.float() @ key.float().transpose(2, 3))
        parts.append(((logits.softmax(-1) @ value.float()).to(query.dtype), logits.logsumexp(-1)))
    return torch.cat([part[0] for part in parts], dim=2), torch.cat([part[1] for part in parts], dim=2)


def own_frame_attention(
    query: Float[Tensor, "b a n d"],
    key: Float[Tensor, "b a n d"],
    value: Float[Tensor, "b a n d"],
    *,
    frames: int,
    text: slice,
    mask: Bool[Tensor, "b 1 1 n"] | None = None,
    scale: float | None = None,
) -> Float[Tensor, "b a n d"]:
    """Returns attention in which a visual token takes nothing from other frames, without renormalisation.

    Text tokens attend as ever, and visual tokens attend to the text as ever.

    Args:
        query: Of a joint sequence of text and `frames` equally long frames.
        key: Of the same sequence.
        value: Of the same sequence.
        frames: Number of frames.
        text: Where the text lies, at the start or the end of the sequence; empty if there is none.
        mask: Which keys may be seen at all, as models with padded text give; `None` for all. Frames are never masked.
        scale: Of the logits; `None` for 1/√d.

    Raises:
        SettingsError: if the mask differs between tokens, which no model here asks for.
    """
    if mask is not None and len(query) > 1:
        masks = mask.expand(len(query), *mask.shape[1:])
        rows = [
            own_frame_attention(
                query[i : i + 1], key[i : i + 1], value[i : i + 1],
                frames=frames, text=text, mask=masks[i : i + 1], scale=scale,
            )
            for i in range(len(query))
        ]  # fmt: skip
        return torch.cat(rows)
    length = query.shape[2]
    words = torch.arange(length, device=query.device)[text]
    pictures = slice(text.stop, length) if text.start == 0 else slice(0, text.start)
    seen: slice | Tensor = slice(None)
    read = words
    if mask is not None:
        if mask.dtype != torch.bool or mask.numel() != length:
            raise SettingsError(
                f"the attention mask has shape {tuple(mask.shape)}, where one flag per key is read; leave guidance out"
            )
        flags = mask.flatten()
        seen, read = flags.nonzero().flatten(), words[flags[text]]
    everything, total = attention_with_lse(query, key[:, :, seen], value[:, :, seen], scale)

    def alone(joint: Float[Tensor, "b a n *d"]) -> Float[Tensor, "bf a s *d"]:
        """Returns the frames beside the batch."""
        return joint[:, :, pictures].unflatten(2, (frames, -1)).transpose(1, 2).flatten(0, 1)

    def with_text(joint: Float[Tensor, "b a n d"]) -> Float[Tensor, "bf a m d"]:
        """Returns the text that is seen and then the frame's own tokens, for every frame."""
        return torch.cat([joint[:, :, read].repeat_interleave(frames, 0), alone(joint)], dim=2)

    own, kept = attention_with_lse(alone(query), with_text(key), with_text(value), scale)
    share = (kept - alone(total)).exp().unsqueeze(-1)
    mixed = everything.clone()
    mixed[:, :, pictures] = (own * share).to(own.dtype).unflatten(0, (-1, frames)).transpose(1, 2).flatten(2, 3)
    return mixed


@contextmanager
def frames_apart(network: torch.nn.Module, sites: Sequence[str], frames: int) -> Iterator[None]:
    """Within the block, the attentions at `sites` take nothing from other frames (see `own_frame_attention`).

    It works on any attention that ends in PyTorch's scaled dot-product attention and is called with the visual tokens
    and, if it is a joint attention, the text tokens: CogVideoX (text first), HunyuanVideo's double and single stream
    (text last), Wan's self-attention (no text). The model's own processor runs, so that norms and rotary embedding
    are as ever; only the last step of it is another one. One forward of the network at a time: a second one in another
    thread would meet the same hooks.

    Raises:
        SettingsError: if a site is not in the network, or the tokens cannot be `frames` equal frames.
    """
    text_first = "CogVideoX" in type(network).__name__
    with ExitStack() as stack:
        for path in sites:
            try:
                attention = network.get_submodule(path)
            except AttributeError:
                raise SettingsError(f"the model has no attention called '{path}'; check the site") from None
            running: list[_OwnFrame] = []

            def enter(_: Any, inputs: tuple[Any, ...], named: dict[str, Any], running: Any = running) -> None:
                given = dict(zip(("hidden_states", "encoder_hidden_states"), inputs, strict=False)) | named
                visual, words = given["hidden_states"], given.get("encoder_hidden_states")
                mode = _OwnFrame(frames, visual.shape[1], 0 if words is None else words.shape[1], text_first)
                running.append(mode)
                mode.__enter__()

            def leave(*_: Any, running: Any = running) -> None:
                if running:
                    running.pop().__exit__(None, None, None)

            stack.callback(attention.register_forward_pre_hook(enter, with_kwargs=True).remove)
            # Also when the attention raises, or another attention would be changed as well.
            stack.callback(attention.register_forward_hook(leave, always_call=True).remove)
        yield


class _OwnFrame(TorchFunctionMode):
    """While it is on, PyTorch's scaled dot-product attention is `own_frame_attention`."""

    def __init__(self, frames: int, visual: int, words: int, text_first: bool) -> None:
        super().__init__()
        if visual % frames:
            raise SettingsError(f"{visual} visual tokens are not {frames} equal frames; check the number of frames")
        self._frames = frames
        self._text = slice(0, words) if text_first or not words else slice(visual, visual + words)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is not functional.scaled_dot_product_attention:
            return func(*args, **(kwargs or {}))
        names = ("query", "key", "value", "attn_mask")
        given = dict(zip(names, args, strict=False)) | (kwargs or {})
        return own_frame_attention(
            given["query"],
            given["key"],
            given["value"],
            frames=self._frames,
            text=self._text,
            mask=given.get("attn_mask"),
            scale=given.get("scale"),
        )
