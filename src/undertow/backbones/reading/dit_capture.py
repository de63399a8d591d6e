"""Reading queries and keys out of a video transformer's forward that ends as soon as the last wanted one is known."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from undertow.backbones.adapters.dit_kinds import Heads, Kind
from undertow.backbones.cards.card import Site
from undertow.backbones.reading.capture import attention_at
from undertow.base import SettingsError


class _SeenAll(Exception):
    """Leaves a forward in which nothing wanted is still to come."""


def capture_heads(
    transformer: torch.nn.Module,
    kind: Kind,
    sites: Sequence[Site],
    forward: Callable[[], object],
    *,
    visual: int,
    rotary: bool = True,
    features: bool = False,
) -> tuple[dict[str, Heads], dict[str, Float[Tensor, "tokens c"]]]:
    """Runs `forward` until every site has shown its queries and keys; returns these, and features, by site path.

    A hook meets each call of a wanted attention, works out the queries and keys it will compare, and lets the stock
    processor go on. The last site is left there: neither its values, nor its attention, nor any later block is
    computed. With `features` it is left right after the attention. Nothing stays on the network.

    Args:
        transformer: holds the attentions by their site paths.
        kind: of the transformer.
        sites: where to look; repeats count once.
        forward: runs the transformer once.
        visual: number of visual tokens.
        rotary: whether queries and keys are rotated, as the attention compares them.
        features: whether to keep what each attention returns, before its output projection.

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
                heads[path] = kind.heads(module, *args, **kwargs) if rotary else _unrotated(kind, module, args, kwargs)
                if len(awaited) == len(wanted):
                    raise _SeenAll

            def keep_output(output: Float[Tensor, "1 tokens c"], path: str = path) -> None:
                outputs[path] = output[0]
                if len(awaited) == len(wanted):
                    raise _SeenAll

            stack.callback(attention.register_forward_pre_hook(keep_heads, with_kwargs=True).remove)
            if features:
                stack.callback(kind.watch(attention, keep_output, visual).remove)
        try:
            forward()
        except _SeenAll:
            return heads, outputs
    absent = [path for path in wanted if path not in heads]
    raise SettingsError(f"site {absent[0]} took no part in the forward; choose another site")


def _unrotated(kind: Kind, attention: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Heads:
    """Returns the queries and keys of a call as if it had come without rotary tables, the only tuple in it."""
    plain = tuple(None if isinstance(value, tuple) else value for value in args)
    return kind.heads(
        attention, *plain, **{name: None if isinstance(value, tuple) else value for name, value in kwargs.items()}
    )
