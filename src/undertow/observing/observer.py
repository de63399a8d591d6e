"""Frames in, what a model sees in them out: resized, encoded and noised in the same way for every task."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np
import torch
import torch.nn.functional as functional
from jaxtyping import Float, UInt8
from torch import Tensor

from undertow.backbones import Backbone, Conditioning, Noising, Observation, Site
from undertow.backbones.reading.sizes import resize
from undertow.observing.cache import Cache
from undertow.observing.halving import Halving
from undertow.observing.settings import ResolvedFrames, Source
from undertow.observing.store import TensorStore


@dataclass(frozen=True)
class FrameFeatures:
    """One frame's queries and keys, heads first; for all sources but attention they are the same tensor."""

    queries: Float[Tensor, "a s d"]
    keys: Float[Tensor, "a s d"]


class Observer:
    """Shows frames of one size to a model.

        observer = Observer(backbone, resolved)
        first, second = observer.see(images, indices=[0, 1])

    Args:
        backbone: The model.
        resolved: Size, noise level and sites.
        source: What is compared between frames: "attention" queries with keys, "features" hidden states, "latents" and
            "pixels" 3 x 3 patches of clean latents or colours, on the grid.
        sites: Where the model is read, if not at the run's sites.
        conditionings: What it is conditioned on, the heads under each standing side by side; the null text alone if
            empty. Noise is put on under the null text always, so that it is done once.
        projection: Directions that hidden states are compared in; as they are if there are none.
        store: Where clean latents are kept until they are dropped, so that no frame is encoded twice.
        cache: Where clean latents, and inverted ones, are kept for other runs.

    Attributes:
        halving: What does work on frames that do not see each other in batches that fit in memory.
    """

    def __init__(
        self,
        backbone: Backbone,
        resolved: ResolvedFrames,
        source: Source = "attention",
        *,
        sites: Sequence[Site] | None = None,
        conditionings: Sequence[Conditioning] = (),
        projection: Float[Tensor, "d n"] | None = None,
        store: TensorStore | None = None,
        cache: Cache | None = None,
    ) -> None:
        self.cache, self.halving = cache, Halving()
        self.backbone, self.resolved, self.source, self.store = backbone, resolved, source, store
        self._projection = projection
        self.sites = resolved.sites if sites is None else tuple(sites)
        self._conditionings: Sequence[Conditioning | None] = conditionings or [None]

    def see(self, images: Sequence[UInt8[np.ndarray, "h w 3"]], indices: Sequence[int]) -> list[FrameFeatures]:
        """Returns the features of frames, float32, each frame's as tensors of its own.

        Frames are given at their native size, with their numbers, which seed the noise.
        """
        # Scores and their statistics are float32, whatever the network ran in. Keys outlive their batch.
        return [
            FrameFeatures(own := each.keys.float().clone(), own)
            if each.queries is each.keys
            else FrameFeatures(each.queries.float(), each.keys.float().clone())
            for each in self.compare(self.encode(images, indices), indices)
        ]

    def encode(
        self, images: Sequence[UInt8[np.ndarray, "h w 3"]], indices: Sequence[int]
    ) -> Float[Tensor, "f c gh gw"]:
        """Returns the clean latents of frames; of the source "pixels", colours on the grid instead.

        Frames are given at their native size, with their numbers, by which the store knows them.
        """
        if self.store is None:
            return _ordered(self._encoded(images))
        names = list(map(_name, indices))
        new = [place for place, name in enumerate(names) if not self.store.holds(name)]
        if new:
            for place, latents in zip(new, self._encoded([images[place] for place in new]), strict=True):
                self.store.put(names[place], {"latents": latents.cpu().clone()})
        return self.encoded(indices)

    def encoded(self, indices: Sequence[int]) -> Float[Tensor, "f c gh gw"]:
        """Returns the latents of frames that the store has.

        Raises:
            KeyError: if it has not all of them.
        """
        kept = {} if self.store is None else {index: self.store.get(_name(index)) for index in indices}
        return _ordered(torch.stack([kept[index]["latents"] for index in indices]).to(self.backbone.device))

    def drop(self, indices: Sequence[int]) -> None:
        """Forgets the latents of frames."""
        if self.store is not None:
            for index in indices:
                self.store.drop(_name(index))

    def compare(self, prepared: Float[Tensor, "f c gh gw"], indices: Sequence[int]) -> list[FrameFeatures]:
        """Returns what `encode` gave as features of frames that are seen together, as the model has them."""
        if self.source == "pixels":
            return _same(patches(prepared)[:, None])
        if self.source == "latents":
            return _same(patches(functional.adaptive_avg_pool2d(prepared.float(), self.resolved.grid))[:, None])
        if self.backbone.card.chunk > 1:
            return self._noised(prepared, indices)
        parts = self.halving.parts(lambda some: self._noised(prepared[some], indices[some]), len(prepared))
        return [each for part in parts for each in part]

    def _noised(self, prepared: Float[Tensor, "f c gh gw"], indices: Sequence[int]) -> list[FrameFeatures]:
        """Returns the features of frames that go through the network together, after noise was put on."""
        level = self.resolved.noising
        if level.ensemble == 1:
            return self._compared(self.noise(prepared, indices))
        seeds = range(level.seed, level.seed + level.ensemble)
        drawn = [self.noise(prepared, indices, replace(level, seed=seed, ensemble=1)) for seed in seeds]
        return [_mean(draws) for draws in zip(*map(self._compared, drawn), strict=True)]

    def _compared(self, noisy: Float[Tensor, "f c gh gw"]) -> list[FrameFeatures]:
        """Returns the features of frames at the run's noise level."""
        hidden = self.source == "features"
        every = [self.observe(noisy, conditioning, features=hidden) for conditioning in self._conditionings]
        paths = [site.path for site in self.sites]
        if hidden:
            states = torch.stack([seen.features[path] for seen in every for path in paths], dim=1)
            return _same(states if self._projection is None else states.float() @ self._projection.to(states.device))
        # The heads of several sites stand side by side, as in DRIFT's three-layer variant.
        queries, keys = (
            torch.cat([heads[path] for heads in given for path in paths], dim=1)
            for given in ([seen.queries for seen in every], [seen.keys for seen in every])
        )
        return [FrameFeatures(q, k) for q, k in zip(queries, keys, strict=True)]

    def noise(
        self, latents: Float[Tensor, "f c h w"], indices: Sequence[int], level: Noising | None = None
    ) -> Float[Tensor, "f c h w"]:
        """Returns clean latents at the run's noise level, or another."""
        level = level or self.resolved.noising
        if self.cache is None or level.kind != "invert":
            return self.backbone.prepare(latents, level, indices)
        return self._recalled("inverted", [level, latents], lambda: self.backbone.invert(latents, level))

    def observe(
        self,
        noisy: Float[Tensor, "f c h w"],
        conditioning: Conditioning | None = None,
        *,
        sites: Sequence[Site] | None = None,
        features: bool = False,
        timestep: int | None = None,
    ) -> Observation:
        """Returns what one forward shows, which ends at the last of the sites.

        Without more it is the null text at the observer's sites and the run's timestep, and no hidden states.
        """
        level = self.resolved.noising.timestep if timestep is None else timestep
        at = self.sites if sites is None else sites
        return self.backbone.observe(noisy, level, at, conditioning, features=features)

    def condition(self, images: Sequence[UInt8[np.ndarray, "h w 3"]]) -> Conditioning:
        """Returns what frames that go together are conditioned on: null text, and in some models the first frame."""
        return self.backbone.condition(images=np.stack(images), size=self.resolved.input_size)

    def _encoded(self, images: Sequence[UInt8[np.ndarray, "h w 3"]]) -> Float[Tensor, "f c gh gw"]:
        return torch.cat([*self.halving.parts(lambda some: self._encoded_together(images[some]), len(images))])

    def _encoded_together(self, images: Sequence[UInt8[np.ndarray, "h w 3"]]) -> Float[Tensor, "f c gh gw"]:
        stacked = np.stack(images)
        if self.source == "pixels":
            return torch.from_numpy(resize(stacked, self.resolved.grid)).permute(0, 3, 1, 2).float() / 255
        size = self.resolved.input_size
        if self.cache is None:
            return self.backbone.encode(stacked, size)
        # Whatever else looks at these frames may take them in other batches, but encodes no more of them together.
        together = self.backbone.autoencoder.together(len(stacked), *size)
        parts = (stacked[start : start + together] for start in range(0, len(stacked), together))
        return torch.cat(
            [self._recalled("clean", [size, part], partial(self.backbone.encode, part, size)) for part in parts]
        )

    def _recalled(self, name: str, parts: Sequence[object], make: Callable[[], Tensor]) -> Tensor:
        """Returns latents from the cache.

        What goes through a network together is one entry: it decides latents to the last bit, and so does the order
        of their numbers in memory, which is kept. A run with a cache should be the run without.
        """
        assert self.cache is not None
        model = (name, self._fingerprint, str(self.backbone.dtype), self.backbone.device.type, torch.get_num_threads())

        def made() -> dict[str, Tensor]:
            latents = make()
            last = latents.is_contiguous(memory_format=torch.channels_last)
            return {"channels last": latents.movedim(1, -1)} if last else {"channels first": latents}

        ((order, latents),) = self.cache.recall([model, *parts], made).items()
        return (latents.movedim(-1, 1) if order == "channels last" else latents).to(self.backbone.device)

    @cached_property
    def _fingerprint(self) -> str:
        return self.backbone.fingerprint()


def patches(values: Float[Tensor, "f c h w"]) -> Float[Tensor, "f s nine_c"]:
    """Returns the 3 x 3 neighbourhood of every cell as one vector, edges repeated."""
    padded = functional.pad(values, (1, 1, 1, 1), mode="replicate")
    return functional.unfold(padded, 3).transpose(1, 2).contiguous()


def _ordered(latents: Float[Tensor, "f c h w"]) -> Float[Tensor, "f c h w"]:
    """Returns latents with their channels last in memory, wherever they were kept: a network's last bits follow it."""
    return latents.contiguous(memory_format=torch.channels_last)


def _name(index: int) -> str:
    return f"latents_{index}"


def _mean(draws: Sequence[FrameFeatures]) -> FrameFeatures:
    """Returns the mean of a frame's features over draws of its noise."""
    keys = torch.stack([each.keys.float() for each in draws]).mean(0)
    if all(each.queries is each.keys for each in draws):
        return FrameFeatures(keys, keys)
    return FrameFeatures(torch.stack([each.queries.float() for each in draws]).mean(0), keys)


def _same(values: Float[Tensor, "f a s d"]) -> list[FrameFeatures]:
    return [FrameFeatures(each, each) for each in values]
