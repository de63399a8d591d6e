"""DRIFT's tracker (Kim et al., 2025): each frame's affinity to a few references carries their soft labels over."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from undertow import backbones
from undertow.backbones import Backbone
from undertow.base import CueError, MaskError, SettingsError
from undertow.masks import LabelMap, given_label_map, object_ids, soft_one_hot
from undertow.observing.cache import cache_at
from undertow.observing.observer import FrameFeatures, Observer
from undertow.observing.store import TensorStore
from undertow.tracking.kernels import Group, TunedKernels, group, head_weights_of
from undertow.tracking.learned import Learned, anchored, comparable, distinguished, followed, observed, remembered
from undertow.tracking.lost import Verdict, judge
from undertow.tracking.memory import Memory, Reference
from undertow.tracking.origins import laid_out, settled
from undertow.tracking.presence import AnchorTokens, PresenceModel
from undertow.tracking.propagation import carry, decide, object_scores, with_given
from undertow.tracking.results import TrackResult
from undertow.tracking.settings import ResolvedSettings, TrackSettings, observer_of, resolve
from undertow.tracking.state import Snapshot, pack, unpack
from undertow.video import Frame
from undertow.video.frames import as_rgb, check_same_size

F = TypeVar("F", bound=Callable[..., Any])


def _all_or_nothing(method: F) -> F:
    """Returns a method that, whatever stops it, leaves the tracker as it was."""

    @wraps(method)
    def guarded(self: "MaskTracker", *args: Any, **named: Any) -> Any:
        before = self._state
        try:
            return method(self, *args, **named)
        except BaseException:
            self._state = before
            raise

    return cast(F, guarded)


class MaskTracker:
    """Tracks masks through frames one at a time.

        tracker = MaskTracker("tiny")
        first = tracker.step(image, mask=labels)
        second = tracker.step(next_image)

    A step that fails or is interrupted at any point leaves the tracker unchanged.

    Args:
        model: A loaded backbone, or the name or folder of one.
        settings: Options; defaults come from the model's card.
        tuned: Kernels of objects; see `undertow.tracking.tuning`.
        store: Store of clean latents; whatever shares it does not encode a frame again. See `Observer`.

    Attributes:
        presence_model: Computes presence from its signals; may be replaced before the first frame.
    """

    def __init__(
        self,
        model: Backbone | str | Path = "tiny",
        settings: TrackSettings | None = None,
        tuned: TunedKernels | None = None,
        store: TensorStore | None = None,
    ):
        self.backbone = backbones.load(model, sites="track") if isinstance(model, str | Path) else model
        self.settings = (settings or TrackSettings()).of(self.backbone.card)
        self.tuned = tuned
        self.presence_model = PresenceModel()
        self._store = store
        self._cache = cache_at(self.settings.cache)
        self._state: Learned | None = None
        self._observer: Observer | None = None

    @property
    def ids(self) -> tuple[int, ...]:
        """Ids of the tracked objects, in the order of the channels after the background."""
        return self._state.ids if self._state else ()

    @property
    def soft(self) -> Float[Tensor, "m h w"] | None:
        """Soft masks of the last frame on the token grid, background first, then the objects in the order of `ids`."""
        return self._state.soft if self._state else None

    @property
    def verdict(self) -> Verdict | None:
        """The verdicts on the objects of the last frame, by their positions in `ids`, counted from 1."""
        return self._state.verdict if self._state else None

    @property
    def resolved(self) -> ResolvedSettings:
        """The resolved settings, known once a frame was seen."""
        if self._state is None:
            raise SettingsError("the settings are resolved when the first frame comes; call step first")
        return self._state.resolved

    @_all_or_nothing
    def step(self, image: UInt8[np.ndarray, "h w 3"], mask: LabelMap | None = None) -> TrackResult:
        """Returns the label map of the next frame.

        Args:
            image: RGB frame as uint8, or any picture that `Video` takes; all frames have the size of the first.
            mask: Label map of this frame, as an array, a tensor or a Pillow image; required for the first. Later, an
                object in it joins or is corrected: its pixels are kept exactly, the frame becomes an anchor, earlier
                frames are no longer references for the object, and objects that are not in the mask are tracked on.

        Raises:
            CueError: if no object is tracked yet and no mask is given.
            MaskError: if the mask does not fit the frame.
            VideoError: if the image is not a uint8 picture of the first frame's size.
        """
        index = self._state.next if self._state else 0
        if mask is None and not self.ids:
            raise CueError(f"frame {index} has no mask and no object is tracked yet; give one to say what to track")
        frame = Frame(index, Fraction(index), as_rgb(image, f"frame {index}"), f"{index:05d}")
        return self.advance(frame, self.observe([frame])[0], mask)

    @_all_or_nothing
    def observe(self, frames: Sequence[Frame]) -> list[FrameFeatures]:
        """Returns the features of frames, which depend on nothing but model, settings and the frames themselves."""
        for frame in frames:
            self._begun(frame)
        if self._observer is None or self._observer.resolved is not self.resolved:
            conditionings = self.tuned.conditionings if self.tuned else ()
            self._observer = observer_of(self.backbone, self.resolved, conditionings, self._store, self._cache)
        return self._observer.see([frame.image for frame in frames], [frame.index for frame in frames])

    @_all_or_nothing
    @torch.no_grad()
    def advance(self, frame: Frame, features: FrameFeatures, mask: LabelMap | None = None) -> TrackResult:
        """Returns the label map of `frame` from its features, and remembers it as a reference."""
        state = self._begun(frame)
        if mask is None and not state.memory.anchors:
            raise CueError(f"frame {frame.index} is the first but has no mask; give one to say what to track")
        if mask is not None:
            mask = given_label_map(mask, size=state.size, source=f"the mask of frame {frame.index}")
            state = self._state = self._joined(state, mask, frame.index)
        state = followed(state, frame)
        memory, ids, grid = state.memory, state.ids, state.resolved.grid
        references = [*memory.anchors, *laid_out(memory, grid), *memory.recent]
        soft, mass, affinity = carry(features, references, state.groups, state.resolved, self._cache)
        if affinity is not None:
            memory = replace(memory, origins=settled(affinity, references, memory))
        named = set() if mask is None else set(object_ids(mask))
        if mask is not None:
            soft = with_given(soft, mask, ids, named, state.resolved)
            memory = memory.without_knowledge([c for c, object_id in enumerate(ids, start=1) if object_id in named])
        soft, verdict = self._judged(soft, features, memory.anchors, named)
        reference = observed(frame, features, soft, state.resolved)
        if mask is None:
            # After the verdict, whose presence was calibrated on what is carried.
            reference = distinguished(replace(state, memory=memory), reference)
            soft = reference.labels
        decided = decide(soft.reshape(-1, *grid), ids, state.size, state.resolved.channel_norm, mask)
        if mask is not None:
            copies = state.resolved.recent if state.resolved.padded and not memory.references() else 0
            anchor = self._scored(reference, features, named, verdict)
            memory = anchored(memory, anchor, state.resolved)
            for _ in range(copies):
                memory = memory.with_recent(reference)
        else:
            lost = verdict.lost if state.resolved.lost == "empty" else ()
            memory = remembered(memory, reference, state.resolved, lost)
        scores = object_scores(decided, soft, mass, ids, named, verdict)
        self._state = replace(state, memory=memory, next=frame.index + 1, soft=soft.reshape(-1, *grid), verdict=verdict)
        return TrackResult(frame.index, frame.time, frame.name, decided.labels, scores)

    @_all_or_nothing
    @torch.no_grad()
    def remember(self, frame: Frame, features: FrameFeatures, labels: LabelMap) -> None:
        """Adds a frame with a known label map as a recent reference, as if it had just been tracked.

        Frames before it may have been left out, so where its tokens were in frames of long ago is not known any more.

        Args:
            frame: The frame.
            features: Its features from `observe`.
            labels: Its label map, of objects that are tracked; others count as background.

        Raises:
            CueError: if no mask was given before.
        """
        state = self._begun(frame)
        state = followed(replace(state, memory=replace(state.memory, origins={})), frame)
        if not state.ids:
            raise CueError(f"frame {frame.index} is the first but has no mask; give one to say what to track")
        soft = soft_one_hot(labels, state.ids, state.resolved.grid, mode=state.resolved.first_labels).flatten(1)
        reference = observed(frame, features, soft, state.resolved)
        seen = set(object_ids(labels)) if state.resolved.lost == "empty" else set(state.ids)
        lost = [channel for channel, object_id in enumerate(state.ids, start=1) if object_id not in seen]
        memory = remembered(state.memory, reference, state.resolved, lost)
        self._state = replace(state, memory=memory, next=frame.index + 1)

    def teach(self, labels: LabelMap) -> None:
        """Replaces the propagated labels of the last frame as a reference for later frames.

        A frame whose mask was given stays as it is.

        Args:
            labels: Label map of the last frame, of objects that are tracked; others count as background.

        Raises:
            MaskError: if it is not a label map of the frames' size.
            SettingsError: if no frame has been seen.
        """
        if (state := self._state) is None:
            raise SettingsError("a tracker cannot be taught before its first frame; call step first")
        labels = given_label_map(labels, size=state.size, source=f"the label map of frame {state.next - 1}")
        soft = soft_one_hot(labels, state.ids, state.resolved.grid, mode=state.resolved.first_labels).flatten(1)
        self._state = replace(state, memory=state.memory.relabelled(state.next - 1, soft))

    def remove_object(self, object_id: int) -> None:
        """Stops tracking an object; its pixels become background in all references.

        Raises:
            CueError: if it is not tracked.
        """
        if (state := self._state) is None or object_id not in state.ids:
            known = f"tracked are {', '.join(map(str, self.ids))}" if self.ids else "none is"
            raise CueError(f"object {object_id} is not tracked ({known}); name one that is")
        channel = state.ids.index(object_id) + 1
        ids = tuple(each for each in state.ids if each != object_id)
        groups = tuple(group(self.tuned, ids)) if ids else ()
        memory = state.memory.without_object(channel)
        self._state = replace(state, memory=memory, ids=ids, groups=groups, soft=None, verdict=None)

    def _begun(self, frame: Frame) -> Learned:
        """Settles sizes and settings with the first frame, and checks that later ones are like it."""
        if self._state is None:
            size = (int(frame.image.shape[0]), int(frame.image.shape[1]))
            resolved = resolve(self.settings, self.backbone, *size, tuned=self.tuned is not None)
            self._state = Learned(resolved, size, Memory(resolved.recent))
        check_same_size(frame.image, *self._state.size, f"frame {frame.index}")
        return self._state

    def _joined(self, state: Learned, mask: LabelMap, index: int) -> Learned:
        """Returns the state with the objects that `mask` names for the first time."""
        named = object_ids(mask)
        if not named:
            raise MaskError(f"the mask of frame {index} has no object; paint at least one with an id of 1 or more")
        new = [object_id for object_id in named if object_id not in state.ids]
        ids = (*state.ids, *new)
        return replace(state, ids=ids, groups=tuple(group(self.tuned, ids)), memory=state.memory.with_objects(len(new)))

    def _judged(
        self, soft: Float[Tensor, "n s"], features: FrameFeatures, anchors: Sequence[Reference], named: set[int]
    ) -> tuple[Float[Tensor, "n s"], Verdict]:
        """Returns the soft labels to go on with, and what is thought of the objects whose masks were not given."""
        empties = self.resolved.lost == "empty"
        channels = [channel for channel, object_id in enumerate(self.ids, start=1) if object_id not in named]
        verdict = judge(
            soft,
            features,
            anchors,
            channels,
            self.resolved.grid,
            self.resolved.kernel,
            self.presence_model,
            search=empties,
            head_weights=head_weights_of(self._groups),
            cache=self._cache,
        )
        return verdict.soft if empties else soft, verdict

    def _scored(self, anchor: Reference, features: FrameFeatures, named: set[int], verdict: Verdict) -> Reference:
        """Returns an anchor that also tells what its given objects score on itself, and does not know lost ones."""
        resolved = self.resolved
        anchor_tokens = AnchorTokens(features, resolved.kernel, head_weights=head_weights_of(self._groups))
        mirrored = carry(features, [anchor], self._groups, resolved, self._cache).soft
        own, known = torch.zeros(2, len(anchor.labels)), anchor.known.clone()
        for channel, object_id in enumerate(self.ids, start=1):
            if object_id in named:
                own[:, channel] = anchor_tokens.own(features.keys, anchor.labels, mirrored, channel)
            # An anchor stays: that an object was lost on it must not be held against the object for good.
            known[channel] = not (resolved.lost == "empty" and channel in verdict.lost)
        return replace(anchor, own=own, known=known)

    @property
    def _groups(self) -> tuple[Group, ...]:
        return self._state.groups if self._state else ()

    def state(self) -> dict[str, Tensor]:
        """Returns the state that the next result depends on, besides model and settings, as named tensors.

        A state between two batches of `track` is exact; see `undertow.tracking.state`.

        Raises:
            SettingsError: if no frame has been seen.
        """
        if (state := self._state) is None:
            raise SettingsError("a tracker has no state before its first frame; call step first")
        return pack(Snapshot(state.ids, state.size, state.next, state.memory, state.picture))

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Makes this tracker continue where the tracker that returned the state was.

        Raises:
            SettingsError: if the tensors are not a tracker's, or of one that looked at less of the frames.
        """
        ids, size, following, memory, picture = unpack(tensors, self.backbone.device)
        resolved = resolve(self.settings, self.backbone, *size, tuned=self.tuned is not None)
        memory = comparable(memory.limited(resolved.recent), resolved)
        self._state = Learned(resolved, size, memory, ids, tuple(group(self.tuned, ids)), following, picture)
