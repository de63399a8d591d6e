"""Reading queries and keys out of a forward that ends as soon as the last wanted one is known."""

from collections.abc import Callable, Collection, Container, Iterable, Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor

from undertow.backbones.cards.card import Site
from undertow.base import SettingsError

if TYPE_CHECKING:
    from undertow.backbones.adapters.dit_kinds import Heads, Kind


class SeenAll(Exception):
    """Raised by a hook to leave a forward in which nothing wanted is still to come."""


class Capture:
    """The queries, keys and (if asked for) block inputs that one forward showed, by site path; of blocks, outputs."""

    def __init__(self) -> None:
        self.queries: dict[str, Float[Tensor, "f a s d"]] = {}
        self.keys: dict[str, Float[Tensor, "f a s d"]] = {}
        self.features: dict[str, Float[Tensor, "f s c"]] = {}

    def update(self, other: "Capture", made: Callable[[Tensor], Tensor], paths: Collection[str] | None = None) -> None:
        """Adds what is `made` of everything that another forward showed, or of what it showed at some of its paths."""
        for name, values in vars(other).items():
            chosen = {path: made(each) for path, each in values.items() if paths is None or path in paths}
            getattr(self, name).update(chosen)


def capture(
    denoiser: torch.nn.Module, sites: Sequence[Site], forward: Callable[[], object], *, features: bool = False
) -> Capture:
    """Runs `forward` until every site has shown its queries and keys, and returns them.

    Hooks sit on `to_q` and `to_k` of the wanted attentions, so whatever precedes these (norms, other processors) is as
    in any forward, and earlier sites go on as usual. At the site that comes last, neither values nor the attention are
    computed. The hooks are gone when this returns or raises. One forward of `denoiser` at a time: a second one in
    another thread would meet the same hooks. With `features` the inputs of the sites' transformer blocks are kept too.
    Of a site that is a block itself, the output is kept.

    Raises:
        SettingsError: if a site is not an attention of `denoiser`, differs from its description, or took no part.
    """
    seen, known = Capture(), set[str]()
    wanted = {site.path: attention_at(denoiser, site) for site in sites}
    blocks = {site.path for site in sites if site.kind == "block"}

    def know(path: str) -> None:
        known.add(path)
        if len(known) == len(wanted):
            raise SeenAll

    with ExitStack() as stack:
        for path in blocks:

            def keep_output(_: Any, __: Any, output: Tensor, path: str = path) -> None:
                seen.features[path] = output.flatten(2).mT
                know(path)

            stack.callback(wanted[path].register_forward_hook(keep_output).remove)
        for path, attention in ((path, each) for path, each in wanted.items() if path not in blocks):

            def keep_query(_: Any, __: Any, output: Tensor, path: str = path, attention: Any = attention) -> None:
                seen.queries[path] = _split_heads(output, attention.heads, attention.norm_q)

            def keep_key(_: Any, __: Any, output: Tensor, path: str = path, attention: Any = attention) -> None:
                seen.keys[path] = _split_heads(output, attention.heads, attention.norm_k)
                know(path)

            def keep_input(_: Any, inputs: tuple[Tensor, ...], path: str = path) -> None:
                seen.features[path] = inputs[0].flatten(2).mT if inputs[0].ndim == 4 else inputs[0]

            stack.callback(attention.to_q.register_forward_hook(keep_query).remove)
            stack.callback(attention.to_k.register_forward_hook(keep_key).remove)
            if features:
                around: Any = denoiser.get_submodule(path.rpartition(".")[0])
                # An attention without a transformer around it is the block itself.
                block = attention if isinstance(around, torch.nn.ModuleList) else around
                stack.callback(block.register_forward_pre_hook(keep_input).remove)
        until_seen(forward, wanted, known)
    return seen


def capture_heads(
    transformer: torch.nn.Module,
    kind: "Kind",
    sites: Sequence[Site],
    forward: Callable[[], object],
    *,
    visual: int,
    rotary: bool = True,
    features: bool = False,
) -> "tuple[dict[str, Heads], dict[str, Float[Tensor, 'tokens c']]]":
    """Runs `forward` until every site has shown its queries and keys; returns these, and features, by site path.

    A hook meets each call of a wanted attention, works out the queries and keys it will compare, and lets the stock
    processor go on. The last site is left there: neither its values, nor its attention, nor any later block is
    computed. With `features` it is left right after the attention. Nothing stays on the network. `visual` is the number
    of visual tokens; without `rotary`, queries and keys are not rotated as the attention compares them.

    Raises:
        SettingsError: if a site is not an attention of `transformer`, or took no part.
    """
    heads: dict[str, Heads] = {}
    outputs: dict[str, Float[Tensor, "tokens c"]] = {}
    wanted = {site.path: attention_at(transformer, site) for site in sites}
    awaited: Mapping[str, object] = outputs if features else heads
    with ExitStack() as stack:
        for path, attention in wanted.items():

            def keep_heads(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any], path: str = path) -> None:
                told = kind.heads if rotary else _unrotated(kind)
                heads[path] = told(module, visual, *args, **kwargs)
                if len(awaited) == len(wanted):
                    raise SeenAll

            def keep_output(output: Float[Tensor, "1 tokens c"], path: str = path) -> None:
                outputs[path] = output[0]
                if len(awaited) == len(wanted):
                    raise SeenAll

            stack.callback(attention.register_forward_pre_hook(keep_heads, with_kwargs=True).remove)
            if features:
                stack.callback(kind.watch(attention, keep_output, visual).remove)
        until_seen(forward, wanted, heads)
    return heads, outputs


def until_seen(forward: Callable[[], object], wanted: Iterable[str], seen: Container[str]) -> None:
    """Runs a forward that is left as soon as all is seen, by `SeenAll`.

    Raises:
        SettingsError: if it ends by itself, since then something that is wanted took no part.
    """
    try:
        forward()
    except SeenAll:
        return
    absent = next(path for path in wanted if path not in seen)
    raise SettingsError(f"site {absent} took no part in the forward; choose another site")


def attention_at(denoiser: torch.nn.Module, site: Site) -> Any:
    """Returns the attention module of `site`, or the block that it is.

    Raises:
        SettingsError: if there is none, or its heads are not those of the description.
    """
    if site.kind == "block":
        return _block_at(denoiser, site)
    try:
        attention: Any = denoiser.get_submodule(site.path)
        heads, inner = attention.heads, attention.inner_dim
    except AttributeError:
        raise SettingsError(f"the model has no attention called '{site.path}'; check the site") from None
    if (heads, inner // heads) != (site.heads, site.head_dim):
        raise SettingsError(
            f"site {site.path} has {heads} heads of {inner // heads} in this model, not {site.heads} of {site.head_dim}"
        )
    return attention


def _block_at(denoiser: torch.nn.Module, site: Site) -> Any:
    try:
        block: Any = denoiser.get_submodule(site.path)
        resnets = getattr(block, "resnets", None)
        channels = resnets[-1].out_channels if resnets else block.to_out[0].out_features
    except AttributeError:
        raise SettingsError(f"the model has no block called '{site.path}'; check the site") from None
    if (1, channels) != (site.heads, site.head_dim):
        raise SettingsError(f"block {site.path} has {channels} channels in this model, not {site.head_dim}")
    return block


def _split_heads(projected: Float[Tensor, "f s c"], heads: int, norm: Any) -> Float[Tensor, "f a s d"]:
    """Returns the projection per head, normalised per head if the model does that before matching."""
    frames, tokens, _ = projected.shape
    split = projected.view(frames, tokens, heads, -1).transpose(1, 2)
    return split if norm is None else norm(split)


def _unrotated(kind: "Kind") -> "Callable[..., Heads]":
    """Returns what gives the queries and keys of a call without its rotary tables, the only tuple in it."""

    def plain(value: Any) -> Any:
        return None if isinstance(value, tuple) else value

    def heads(*args: Any, **kwargs: Any) -> "Heads":
        return kind.heads(*map(plain, args), **{name: plain(value) for name, value in kwargs.items()})

    return heads
