"""Changing a forward from outside: given queries and keys, maps added to outputs, attention restricted.

Every edit names a module of the denoiser by its path and is in force inside `edited` only. The networks are
diffusers' own and stay as they are: hooks and stand-ins sit on single modules, and are gone on leaving, also when the
forward raises. One forward at a time: one in another thread would meet the same edits.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from undertow.backbones.cards.card import Site
from undertow.base import SettingsError


@dataclass(frozen=True)
class Inject:
    """Queries and keys that take the place of an attention's own; its values stay its own.

    Attributes:
        path: Of the attention.
        queries: As its projection gives them, heads side by side, rows as the attention sees them (at a temporal
            attention a row is a token, and its sequence the frames); `None` to leave them.
        keys: Likewise; of the text tokens at a cross-attention.
    """

    path: str
    queries: Float[Tensor, "rows s c"] | None = None
    keys: Float[Tensor, "rows n c"] | None = None


@dataclass(frozen=True)
class AddMap:
    """A rank-one change of an output: a number per token times one vector over the channels.

    Attributes:
        path: Of an attention, whose output is changed after its out-projection and before the residual is added; or
            of any module that returns (frames, channels, height, width), such as a whole transformer.
        map: The number of each token of each frame.
        direction: The vector; `None` for one at every channel.
        clip: At a temporal attention, the frames of a clip, which it sees as a sequence.
    """

    path: str
    map: Float[Tensor, "f s"]
    direction: Float[Tensor, "c"] | None = None
    clip: int | None = None


@dataclass(frozen=True)
class Restrict:
    """A number added to an attention's logits: minus infinity keeps a key from a query, log w weighs it by w.

    Attributes:
        path: Of the attention.
        bias: Per query and key, the same for every head; of size 1 where it does not depend on frame or query.
    """

    path: str
    bias: Float[Tensor, "rows s n"]


Edit = Inject | AddMap | Restrict


@contextmanager
def edited(denoiser: torch.nn.Module, edits: Sequence[Edit]) -> Iterator[None]:
    """Puts `edits` in force: every forward inside meets them.

    Several edits of one module act in order.

    Raises:
        SettingsError: if a path names no module, or a forward meets an edit of another shape than its own.
    """
    with ExitStack() as stack:
        for edit in edits:
            module = module_at(denoiser, edit.path)
            if isinstance(edit, Inject):
                for name, given in (("to_q", edit.queries), ("to_k", edit.keys)):
                    if given is not None:
                        _stand_in(stack, module_at(denoiser, f"{edit.path}.{name}"), _answer(given, edit.path))
            elif isinstance(edit, AddMap):
                stack.callback(module.register_forward_hook(_adder(edit)).remove)
            else:
                stack.callback(module.register_forward_pre_hook(_biaser(edit), with_kwargs=True).remove)
        yield


@dataclass(frozen=True)
class Recording:
    """Queries and keys of attentions, by path, as `Inject` takes them."""

    queries: dict[str, Float[Tensor, "rows s c"]]
    keys: dict[str, Float[Tensor, "rows n c"]]


@contextmanager
def recording(denoiser: torch.nn.Module, sites: Sequence[Site]) -> Iterator[Recording]:
    """Records the queries and keys of `sites` while whole forwards go on; the last forward inside is kept.

    Raises:
        SettingsError: if a site is no attention of `denoiser`.
    """
    kept = Recording({}, {})
    with ExitStack() as stack:
        for site in sites:
            for name, store in (("to_q", kept.queries), ("to_k", kept.keys)):

                def keep(
                    _: Any, __: Any, output: Tensor, store: dict[str, Tensor] = store, path: str = site.path
                ) -> None:
                    store[path] = output

                module = module_at(denoiser, f"{site.path}.{name}")
                stack.callback(module.register_forward_hook(keep).remove)
        yield kept


@contextmanager
def answering(answers: dict[torch.nn.Module, Callable[..., Any]]) -> Iterator[None]:
    """Lets modules run other forwards than their own, and puts all back."""
    with ExitStack() as stack:
        for module, forward in answers.items():
            _stand_in(stack, module, forward)
        yield


def always(output: Any) -> Callable[..., Any]:
    """Returns a forward that answers the same whatever it is given."""
    return lambda *_, **__: output


def module_at(denoiser: torch.nn.Module, path: str) -> torch.nn.Module:
    """Returns the module of `denoiser` at `path`.

    Raises:
        SettingsError: if there is none.
    """
    try:
        return denoiser.get_submodule(path)
    except AttributeError:
        raise SettingsError(f"the model has no module called '{path}'; check the site") from None


def _stand_in(stack: ExitStack, module: Any, forward: Callable[..., Any]) -> None:
    before = module.__dict__.get("forward")
    module.forward = forward
    if before is None:
        stack.callback(module.__dict__.pop, "forward", None)
    else:
        stack.callback(module.__dict__.__setitem__, "forward", before)


def _answer(given: Tensor, path: str) -> Callable[[Tensor], Tensor]:
    def forward(hidden: Tensor) -> Tensor:
        if given.shape[:2] != hidden.shape[:2]:
            raise SettingsError(
                f"{tuple(given.shape[:2])} rows and tokens are injected at {path}, which has {tuple(hidden.shape[:2])}"
            )
        return given.to(hidden.device, hidden.dtype)

    return forward


def _adder(edit: AddMap) -> Callable[[Any, Any, Any], Any]:
    def change(_: Any, __: Any, output: Any) -> Any:
        if isinstance(output, tuple):
            return (change(_, __, output[0]), *output[1:])
        values = edit.map.to(output.device, output.dtype)
        if edit.clip is not None:
            values = values.unflatten(0, (-1, edit.clip)).transpose(1, 2).flatten(0, 1)
        if output.ndim == 4:
            found, change_of = (output.shape[0], output.shape[2] * output.shape[3]), (values[:, None], (1, -1, 1))
        else:
            found, change_of = tuple(output.shape[:2]), (values[..., None], (1, 1, -1))
        if tuple(values.shape) != found:
            raise SettingsError(f"the map at {edit.path} is {tuple(values.shape)} where its output has {found}")
        added, shape = change_of
        if edit.direction is not None:
            added = added * edit.direction.to(output.device, output.dtype).view(shape)
        return output + (added.unflatten(2, output.shape[2:]) if output.ndim == 4 else added)

    return change


def _biaser(edit: Restrict) -> Callable[..., Any]:
    def change(attention: Any, inputs: tuple[Tensor, ...], options: dict[str, Any]) -> Any:
        text = options.get("encoder_hidden_states")
        hidden = inputs[0] if inputs else options["hidden_states"]
        keys = hidden if text is None else text
        shape = (hidden.shape[0], hidden.shape[1], keys.shape[1])
        if any(mine not in (1, theirs) for mine, theirs in zip(edit.bias.shape, shape, strict=True)):
            raise SettingsError(f"the bias at {edit.path} is {tuple(edit.bias.shape)} where its logits are {shape}")
        bias = edit.bias.to(hidden.device, hidden.dtype).expand(hidden.shape[0], -1, keys.shape[1])
        if (given := options.get("attention_mask")) is not None:
            bias = bias + given
        return inputs, {**options, "attention_mask": bias}

    return change
