"""One forward remembered at one of its decoder blocks, and run again from there, or whole, under its attention.

Modulation (VidSeg, EmerDiff) asks the same frames many times with a small change at one block of the decoder. All that
comes before the block is the same every time: its output and the skip connections that later blocks read are kept, and
modules before it answer from memory. What follows runs as in any forward, so no network is copied.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from undertow.backbones.cards.card import Site
from undertow.backbones.observation import Latents
from undertow.backbones.reading.edits import AddMap, Edit, Inject, always, answering, edited, module_at, recording
from undertow.base import SettingsError

Forward = Callable[[Float[Tensor, "n c h w"]], Float[Tensor, "n c h w"]]


class Trace:
    """What one forward of some frames predicted and left behind.

    Attributes:
        prediction: Of the denoiser, float32.
        output: What `block` returned; `None` if no block was named.

    Args:
        denoiser: A frozen UNet of diffusers, for images or video.
        latents: The frames, at the noise level of the forward.
        forward: Runs the denoiser on latents of n frames: those recorded, or some of them, in any number (whole clips
            for a video model).
        turn: Entered for every forward: one at a time.
        sites: Attentions whose queries and keys are recorded, to be injected later.
        block: Path of a transformer in the decoder, `up_blocks.I.attentions.J`, to run on from; `None` for none.
        clip: Frames that the model sees together.
    """

    def __init__(
        self,
        denoiser: torch.nn.Module,
        latents: Latents,
        forward: Forward,
        turn: AbstractContextManager[Any],
        *,
        sites: Sequence[Site] = (),
        block: str | None = None,
        clip: int = 1,
    ) -> None:
        self._denoiser, self._latents, self._forward, self._turn = denoiser, latents, forward, turn
        self._sites, self._clip = {site.path: site for site in sites}, clip
        self._memory = None if block is None else _Memory(denoiser, block)
        with turn, recording(denoiser, sites) as self._recording:
            if self._memory is None:
                self.prediction = forward(latents)
            else:
                with self._memory.filling():
                    self.prediction = forward(latents)
        self.output = None if self._memory is None else self._memory.output

    def rest(
        self, rows: Int[Tensor, "n"], added: AddMap | None = None, *, inject: bool = True
    ) -> Float[Tensor, "n c h w"]:
        """Returns the predictions for recorded frames of which only what follows the block is computed.

        The rows are those of recorded frames, of a video model whole clips. What is `added` goes to the block's output.
        With `inject`, later sites attend with the queries and keys that were recorded.

        Raises:
            SettingsError: if no block was recorded.
        """
        if self._memory is None:
            raise SettingsError("this forward was recorded without a block to go on from; name one")
        edits: list[Edit] = []
        if inject:
            edits += self._injections(rows, self._memory.later)
        if added is not None:
            edits.append(added)
        with self._turn, answering(self._memory.answers(rows)), edited(self._denoiser, edits):
            return self._forward(self._latents[rows])

    def whole(self, latents: Float[Tensor, "n c h w"], rows: Int[Tensor, "n"]) -> Float[Tensor, "n c h w"]:
        """Returns the predictions for other latents of recorded frames, under the recorded queries and keys.

        Args:
            latents: At the noise level of the recorded forward.
            rows: Which of the recorded frames each of them is.
        """
        with self._turn, edited(self._denoiser, self._injections(rows, None)):
            return self._forward(latents)

    def _injections(self, rows: Int[Tensor, "n"], among: set[str] | None) -> list[Inject]:
        kept = self._recording
        return [
            Inject(path, self._rows(kept.queries[path], path, rows), self._rows(kept.keys[path], path, rows))
            for path in kept.queries
            if among is None or path in among
        ]

    def _rows(self, kept: Tensor, path: str, rows: Int[Tensor, "n"]) -> Tensor:
        """Returns what was kept of frames `rows`: a temporal attention has a row per clip and token, others a frame."""
        if self._sites[path].kind != "temporal":
            return kept[rows]
        clips = kept.unflatten(0, (len(self._latents) // self._clip, -1))
        return clips[rows[:: self._clip] // self._clip].flatten(0, 1)


class _Memory:
    """The output of one decoder block and the skip connections that the blocks after it read.

    Attributes:
        output: What the block returned.
        later: Paths of the modules that run after it.
    """

    def __init__(self, denoiser: Any, path: str) -> None:
        parts = path.split(".")
        if len(parts) != 4 or parts[0] != "up_blocks" or parts[2] != "attentions":
            raise SettingsError(f"block '{path}' is not of the form up_blocks.I.attentions.J")
        self._block = module_at(denoiser, path)
        up, index = int(parts[1]), int(parts[3])
        ups = list(denoiser.up_blocks)
        resnets, attentions = list(ups[up].resnets), list(ups[up].attentions)
        self._givers = [denoiser.conv_in, *denoiser.down_blocks]
        self._skipped = [denoiser.mid_block, *ups[:up], *resnets[: index + 1], *attentions[:index]]
        # The decoder reads skip connections from the last to the first, so what is still to come reads the first.
        self._needed = len(resnets) - 1 - index + sum(len(block.resnets) for block in ups[up + 1 :])
        self._skips: dict[torch.nn.Module, list[Tensor]] = {}
        self._others: dict[torch.nn.Module, Tensor] = {}
        self.output: Tensor
        names = {module: name for name, module in denoiser.named_modules()}
        coming = [*attentions[index + 1 :], *ups[up + 1 :]]
        self.later = {names[module] for block in coming for module in block.modules()}

    @contextmanager
    def filling(self) -> Iterator[None]:
        """Remembers what the forward inside leaves behind."""
        left = self._needed

        def give(module: torch.nn.Module, _: Any, output: Any) -> None:
            nonlocal left
            skips = [output] if isinstance(output, Tensor) else list(output[1])
            self._skips[module] = [skip if place < left else _shape_of(skip) for place, skip in enumerate(skips)]
            left -= min(left, len(skips))

        def pass_by(module: torch.nn.Module, _: Any, output: Any) -> None:
            self._others[module] = _shape_of(_first(output))

        def arrive(_: torch.nn.Module, __: Any, output: Any) -> None:
            self.output = _first(output)

        with ExitStack() as stack:
            for modules, hook in ((self._givers, give), (self._skipped, pass_by), ([self._block], arrive)):
                for module in modules:
                    stack.callback(module.register_forward_hook(hook).remove)
            yield

    def answers(self, rows: Int[Tensor, "n"]) -> dict[torch.nn.Module, Callable[..., Any]]:
        """Returns what the modules up to the block answer for recorded frames `rows`."""
        first, *downs = self._givers
        answers: dict[torch.nn.Module, Callable[..., Any]] = {first: always(_take(self._skips[first][0], rows))}
        for module in downs:
            skips = tuple(_take(skip, rows) for skip in self._skips[module])
            answers[module] = always((skips[-1], skips))
        for module, shape in self._others.items():
            # A transformer inside a block returns a tuple; whole blocks and residual blocks a tensor.
            seen = _take(shape, rows)
            answers[module] = always((seen,) if hasattr(module, "transformer_blocks") else seen)
        answers[self._block] = always((self.output[rows],))
        return answers


def _first(output: Any) -> Tensor:
    tensor: Tensor = output[0] if isinstance(output, tuple) else output
    return tensor


def _shape_of(tensor: Tensor) -> Tensor:
    """Returns zeros of the same shape that hold one number: nothing reads them but their shape."""
    return tensor.new_zeros(()).expand(tensor.shape)


def _take(kept: Tensor, rows: Int[Tensor, "n"]) -> Tensor:
    hollow = kept.stride() == (0,) * kept.ndim
    return kept[:1].expand(len(rows), *kept.shape[1:]) if hollow else kept[rows]
