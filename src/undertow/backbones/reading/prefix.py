"""One frame seen under many conditionings: what comes before the first cross-attention is computed once.

Up to there nothing depends on the conditioning, and autograd has nothing to remember. The modules that have finished by
then answer later forwards from what they returned; everything else runs as in any forward, so no network is copied.

What comes after keeps as little for gradients as it can, at next to no time. Where only the conditioning is learned, no
weight asks for a gradient. Torch keeps the input of a convolution all the same, and of a norm with its activation three
tensors where one is enough to make the others again. A feed-forward layer keeps a dozen times its input; all but its
last product is computed again instead, some tokens at a time.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.grad import conv2d_input
from torch.utils.checkpoint import checkpoint

from undertow.backbones.cards.card import Site
from undertow.backbones.reading.capture import Capture, attention_at, capture
from undertow.backbones.reading.edits import always, answering

Forward = Callable[..., Any]

# Tokens that a feed-forward layer takes at once: on a CPU so few that what it makes of them stays in its caches.
TOKENS_CPU, TOKENS = 512, 2**14


def saving_forwards(modules: Iterable[torch.nn.Module]) -> dict[torch.nn.Module, Forward]:
    """Returns forwards with the same outputs and input gradients for modules, of a frozen UNet, that have one."""
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
        with answering(others):
            return forward(*args, **named)

    return run


def _then(first: Forward, second: Forward, values: Tensor) -> Any:
    return second(first(values))


def _flat_only(activation: Forward, values: Tensor) -> Any:
    return values if values.ndim == 4 else activation(values)


class ConditionedObserver:
    """Queries and keys of one frame as a function of the conditioning, with gradients.

    Args:
        denoiser: The frozen network.
        sites: Where to look.
        forward: Runs the denoiser once for states (o, tokens, dim), the frame repeated o times.
        example: States (1, tokens, dim) of any conditioning, for the first forward.
        turn: Entered for every forward: one at a time.
        features: Whether to show the input of the sites' transformer blocks too.
        compiled: Whether to compile the blocks between the first cross-attention and the last site. Shapes never
            change, so each is compiled once.
        recomputed: Whether these blocks forget what they computed and compute it again for gradients: less memory,
            more time.

    Attributes:
        reached: Whether the conditioning can change anything at the sites: a cross-attention comes before one of them.
    """

    def __init__(
        self,
        denoiser: torch.nn.Module,
        sites: Sequence[Site],
        forward: Callable[[Float[Tensor, "o tokens dim"]], object],
        example: Float[Tensor, "1 tokens dim"],
        turn: AbstractContextManager[Any],
        *,
        features: bool = False,
        compiled: bool = False,
        recomputed: bool = False,
    ) -> None:
        self._denoiser, self._forward, self._turn, self._features = denoiser, forward, turn, features
        with torch.no_grad(), turn:
            prefix = _record(denoiser, sites, lambda: forward(example), features=features)
        self._remembered = prefix.outputs
        self._before = prefix.seen
        self._sites = [site for site in sites if site.path not in prefix.seen.keys]
        self.reached = bool(self._sites)
        wanted = [attention_at(denoiser, site) for site in self._sites]
        self._others = _stand_ins(prefix.later, wanted, compiled, recomputed)

    def __call__(self, states: Float[Tensor, "o tokens dim"]) -> Capture:
        """Returns what the sites show for each of o conditionings; sites before the first cross-attention repeat."""
        count = len(states)
        seen = Capture()
        if self._sites:
            remembering = {each: always(_repeated(output, count)) for each, output in self._remembered.items()}
            with self._turn, answering(remembering | self._others):
                seen = capture(self._denoiser, self._sites, lambda: self._forward(states), features=self._features)
        seen.update(self._before, lambda values: _repeated(values, count))
        return seen


class _Prefix:
    """What one forward showed of the part that comes before the first cross-attention.

    Attributes:
        outputs: What each of its outermost modules returned.
        seen: Queries and keys of the sites in it.
        later: The modules that ran, or began to run, after it.
    """

    def __init__(self) -> None:
        self.outputs: dict[torch.nn.Module, Any] = {}
        self.seen = Capture()
        self.later: list[torch.nn.Module] = []


def _record(
    denoiser: torch.nn.Module, sites: Sequence[Site], forward: Callable[[], object], *, features: bool
) -> _Prefix:
    """Runs a forward up to the last site, noting which modules had returned before the first cross-attention began."""
    prefix = _Prefix()
    calls: dict[torch.nn.Module, int] = {}
    finished: dict[torch.nn.Module, Any] = {}
    wanted = {f"{site.path}.to_k": site.path for site in sites}
    early: set[str] = set()
    crossed = False

    def begin(module: torch.nn.Module, _: Any) -> None:
        nonlocal crossed
        calls[module] = calls.get(module, 0) + 1
        crossed = crossed or bool(getattr(module, "is_cross_attention", False))

    with ExitStack() as stack:
        for name, module in denoiser.named_modules():

            def end(module: torch.nn.Module, _: Any, output: Any, name: str = name) -> None:
                if not crossed:
                    finished[module] = output
                    early.update([wanted[name]] if name in wanted else [])

            stack.callback(module.register_forward_pre_hook(begin).remove)
            stack.callback(module.register_forward_hook(end).remove)
        seen = capture(denoiser, sites, forward, features=features)

    # A module called twice (an activation that blocks share) cannot answer from one memory; its parents can.
    settled = {module for module in finished if calls[module] == 1}
    inside = {id(child) for module in settled for child in module.modules() if child is not module}
    prefix.outputs = {module: finished[module] for module in settled if id(module) not in inside}
    prefix.seen.update(seen, Tensor.detach, early)
    prefix.later = [module for module in calls if module not in settled]
    return prefix


def _stand_ins(
    modules: Sequence[torch.nn.Module], wanted: Sequence[torch.nn.Module], compiled: bool, recomputed: bool
) -> dict[torch.nn.Module, Any]:
    """Returns other forwards of the modules that come after the prefix.

    Blocks that hold a wanted attention are neither compiled nor recomputed: a forward left early stays as it is.
    """
    left_early = {id(module) for module in wanted}
    blocks = [each for each in modules if type(each).__name__ in ("ResnetBlock2D", "Transformer2DModel")]
    whole = [each for each in blocks if not any(id(child) in left_early for child in each.modules())]
    if compiled:
        # A compiler decides for itself what to keep.
        forwards = {each: torch.compile(each.forward, dynamic=False) for each in whole}
        return {each: _checkpointed(run) if recomputed else run for each, run in forwards.items()}
    forwards = saving_forwards(modules)
    if recomputed:
        for block in whole:
            # When a block runs again for gradients, nothing else holds its modules to their other forwards.
            inside = {each: forwards[each] for each in block.modules() if each in forwards}
            forwards[block] = _checkpointed(under(inside, block.forward))
    return forwards


def _checkpointed(forward: Callable[..., Any]) -> Callable[..., Any]:
    return partial(checkpoint, forward, use_reentrant=False)


def _repeated(output: Any, count: int) -> Any:
    """Returns tensors of a batch of one, however nested, as a batch of `count`, without copying."""
    if isinstance(output, Tensor):
        return output.expand(count, *output.shape[1:])
    if isinstance(output, tuple | list):
        return type(output)(_repeated(each, count) for each in output)
    return output
