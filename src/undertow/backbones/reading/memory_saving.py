"""Other forwards for modules of a frozen network that keep less for their gradients, at next to no time.

Where only the conditioning is learned, no weight asks for a gradient. Torch keeps the input of a convolution all the
same, and of a norm with its activation three tensors where one is enough to make the others again. A feed-forward layer
keeps a dozen times its input; all but its last product is computed again instead, some tokens at a time.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.grad import conv2d_input
from torch.utils.checkpoint import checkpoint

Forward = Callable[..., Any]

# Tokens that a feed-forward layer takes at once: on a CPU so few that what it makes of them stays in its caches.
TOKENS_CPU, TOKENS = 512, 2**14


def frugal_forwards(modules: Iterable[torch.nn.Module]) -> dict[torch.nn.Module, Forward]:
    """Returns forwards that give the same outputs and gradients of inputs, for those modules that have one.

    Args:
        modules: of a UNet of diffusers with frozen weights.
    """
    forwards: dict[torch.nn.Module, Forward] = {}
    for module in modules:
        kind = type(module).__name__
        if isinstance(module, torch.nn.Conv2d) and _plain(module):
            forwards[module] = partial(_convolve, module)
        elif kind == "FeedForward":
            forwards[module] = partial(_in_parts, _again(module.forward))
        elif kind == "ResnetBlock2D" and module.time_embedding_norm == "default":
            block: Any = module
            activation = block.nonlinearity.forward
            for norm in (block.norm1, block.norm2):
                forwards[norm] = _again(partial(_then, norm.forward, activation))
            # What comes from a norm has met it already; the time's embedding, without rows and columns, has not.
            forwards[block.nonlinearity] = partial(_flat_only, activation)
    return forwards


def _plain(module: torch.nn.Conv2d) -> bool:
    return module.padding_mode == "zeros" and not isinstance(module.padding, str) and not module.weight.requires_grad


def _convolve(module: torch.nn.Conv2d, values: Tensor, *_: Any) -> Tensor:
    if not (torch.is_grad_enabled() and values.requires_grad):
        return module._conv_forward(values, module.weight, module.bias)
    convolved: Tensor = _FrozenConvolution.apply(values, module)
    return convolved


class _FrozenConvolution(torch.autograd.Function):
    """A convolution that forgets its input: only the gradient of a weight would ask for it."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, module: torch.nn.Conv2d) -> Tensor:
        ctx.shape, ctx.module = values.shape, module
        return module._conv_forward(values, module.weight, module.bias)

    @staticmethod
    def backward(ctx: Any, *above: Tensor) -> tuple[Tensor, None]:
        module: torch.nn.Conv2d = ctx.module
        way = (module.stride, module.padding, module.dilation, module.groups)
        return conv2d_input(ctx.shape, module.weight, above[0], *way), None


def _again(forward: Forward) -> Forward:
    """Returns a forward that keeps its input only, and runs again for gradients."""
    return partial(checkpoint, forward, use_reentrant=False, preserve_rng_state=False)


def _in_parts(forward: Forward, values: Float[Tensor, "n s c"], *_: Any) -> Float[Tensor, "n s c"]:
    """Returns what a layer that sees tokens one by one makes of them."""
    parts = values.flatten(0, 1).split(TOKENS_CPU if values.device.type == "cpu" else TOKENS)
    return torch.cat([forward(part) for part in parts]).view_as(values)


def under(others: dict[torch.nn.Module, Forward], forward: Forward) -> Forward:
    """Returns a forward during which other modules run by theirs."""

    def run(*args: Any, **named: Any) -> Any:
        with replaced(others):
            return forward(*args, **named)

    return run


@contextmanager
def replaced(others: dict[torch.nn.Module, Forward]) -> Iterator[None]:
    """Lets modules run by other forwards, and puts those back that they had."""
    before = {module: vars(module).get("forward") for module in others}
    try:
        for module, forward in others.items():
            module.forward = forward
        yield
    finally:
        for module, own in before.items():
            if own is None:
                vars(module).pop("forward", None)
            else:
                module.forward = own


def _then(first: Forward, second: Forward, values: Tensor) -> Any:
    return second(first(values))


def _flat_only(activation: Forward, values: Tensor) -> Any:
    return values if values.ndim == 4 else activation(values)
