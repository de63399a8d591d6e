"""DRIFT's tracker (Kim et al., 2025): each frame's affinity to a few references carries their soft labels over."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from undertow.affinity import compute_affinity
from undertow.backbones import Backbone, load
from undertow.base import CueError, MaskError, SettingsError, VideoError
from undertow.masks import LabelMap, check_label_map, object_ids, soft_one_hot, upsample_argmax
from undertow.tracking.features import FrameFeatures, extract
from undertow.tracking.kernels import Group, TunedKernels, group, head_weights_of, with_background
from undertow.tracking.lost import Verdict, judge
from undertow.tracking.memory import Memory, Reference
from undertow.tracking.presence import PresenceModel, Witnesses
from undertow.tracking.settings import ResolvedSettings, TrackSettings, resolve
from undertow.tracking.state import Snapshot, pack, unpack
from undertow.video import Frame


@dataclass(frozen=True)
class ObjectScore:
    """How sure one object is on one frame.

    Attributes:
        area: Pixels at native size.
        margin: Mean over the object's pixels of best minus second soft label; 1 on a frame whose mask was given.
        mass: Kernel mass kept before renormalising, averaged over the object; 1 on a frame whose mask was given.
        presence: Probability that the object is where its mask says, or was to say (see `PresenceModel`); 0 if it is
            nowhere, 1 on a frame whose mask was given.
        lost: Whether the object is not believed to be there, because its presence is low or it has no pixels.
    """

    area: int
    margin: float
    mass: float
    presence: float = 1.0
    lost: bool = False


@dataclass(frozen=True)
class TrackResult:
    """One frame's answer: label map at native size, scores per object id, and which frame it is."""

    index: int
    time: Fraction
    name: str
    labels: LabelMap
    scores: Mapping[int, ObjectScore]


class MaskTracker:
    """Tracks masks through frames that come one at a time.

        tracker = MaskTracker("tiny")
        first = tracker.step(image, mask=labels)
        second = tracker.step(next_image)

    Args:
        model: A loaded backbone, or the name or folder of one.
        settings: Options; defaults come from the model's card.
        tuned: Kernels of objects; see `undertow.tracking.tuning`.

    Attributes:
        presence_model: What makes a presence of signals; may be replaced before the first frame.
        verdict: What was thought of the objects of the last frame, by their places in `ids`, counted from 1.
        soft: Soft masks of the last frame on the token grid, background first, then the objects in the order of `ids`.
    """

    def __init__(
        self,
        model: Backbone | str | Path = "tiny",
        settings: TrackSettings | None = None,
        tuned: TunedKernels | None = None,
    ):
        self.backbone = load(model) if isinstance(model, str | Path) else model
        self.settings = settings or TrackSettings()
        self.tuned = tuned
        self.presence_model = PresenceModel()
        self.verdict: Verdict | None = None
        self.ids: list[int] = []
        self._resolved: ResolvedSettings | None = None
        self._size: tuple[int, int] | None = None
        self._memory: Memory | None = None
        self.soft: Float[Tensor, "m h w"] | None = None
        self._groups: list[Group] = []
        self._next = 0

    @property
    def resolved(self) -> ResolvedSettings:
        """The numbers in use, known once a frame has been seen."""
        if self._resolved is None:
            raise SettingsError("the settings are resolved when the first frame comes; call step first")
        return self._resolved

    def step(self, image: UInt8[np.ndarray, "h w 3"], mask: LabelMap | None = None) -> TrackResult:
        """Returns the label map of the next frame.

        Args:
            image: RGB frame; all frames have the size of the first.
            mask: Label map of this frame, needed on the first. Later, an object it names joins or is corrected:
                its pixels are kept exactly, the frame becomes an anchor, earlier frames have no more say in the
                object, and objects the mask does not name go on.

        Raises:
            CueError: if the first frame comes without a mask.
            MaskError: if the mask does not fit the frame.
        """
        frame = Frame(self._next, Fraction(self._next), image, f"{self._next:05d}")
        return self.advance(frame, self.observe([frame])[0], mask)

    def observe(self, frames: Sequence[Frame]) -> list[FrameFeatures]:
        """Returns the features of frames, which depend on nothing but model, settings and the frames themselves."""
        for frame in frames:
            self._begin(frame)
        images = [frame.image for frame in frames]
        conditionings = self.tuned.conditionings if self.tuned else ()
        return extract(self.backbone, images, [frame.index for frame in frames], self.resolved, conditionings)

    @torch.no_grad()
    def advance(self, frame: Frame, features: FrameFeatures, mask: LabelMap | None = None) -> TrackResult:
        """Returns the label map of `frame` from its features, and remembers it as a reference."""
        self._begin(frame)
        assert self._memory is not None and self._size is not None
        if mask is None and not self._memory.anchors:
            raise CueError(f"frame {frame.index} is the first but has no mask; give one to say what to track")
        if mask is not None:
            mask = check_label_map(mask, size=self._size, source=f"the mask of frame {frame.index}")
            self._join(mask, frame.index)
        soft, mass = self._propagate(features)
        given = np.zeros(self._size, np.uint16) if mask is None else mask
        named = set(object_ids(given))
        if mask is not None:
            soft = self._anchored(soft, mask, named)
            self._memory.forget([channel for channel, object_id in enumerate(self.ids, start=1) if object_id in named])
        soft, verdict = self._judged(soft, features, named)
        self.soft = soft.reshape(-1, *self.resolved.grid)
        decided = upsample_argmax(
            soft.reshape(-1, *self.resolved.grid), self.ids, self._size, channel_norm=self.resolved.channel_norm
        )
        labels = decided.labels
        if mask is not None:
            labels = np.where((given > 0) | np.isin(labels, list(named)), given, labels).astype(np.uint16)
        reference = Reference(frame.index, features.keys, soft, torch.ones(len(soft)).bool())
        if mask is not None:
            self._memory.add_anchor(self._witnessed(reference, features, named, verdict))
        else:
            self._memory.push(reference)
        self._next = frame.index + 1
        scores = {}
        for channel, object_id in enumerate(self.ids, start=1):
            if object_id in named:
                scores[object_id] = ObjectScore(int((labels == object_id).sum()), 1.0, 1.0)
            else:
                weight = soft[channel]
                kept = float((weight * mass[channel]).sum() / weight.sum().clamp(min=1e-9))
                area = int((labels == object_id).sum()) if mask is not None else decided.area[object_id]
                scores[object_id] = ObjectScore(
                    area,
                    decided.margin[object_id],
                    kept,
                    verdict.presence[channel] if area or channel in verdict.lost else 0.0,
                    channel in verdict.lost or area == 0,
                )
        return TrackResult(frame.index, frame.time, frame.name, labels, scores)

    @torch.no_grad()
    def remember(self, frame: Frame, features: FrameFeatures, labels: LabelMap) -> None:
        """Takes a frame whose label map is known as a recent reference, as if it had just been tracked.

        Args:
            frame: The frame.
            features: What `observe` gave for it.
            labels: Its label map, of objects that are tracked; others count as background.

        Raises:
            CueError: if no mask was given yet.
        """
        self._begin(frame)
        assert self._memory is not None
        if not self.ids:
            raise CueError(f"frame {frame.index} is the first but has no mask; give one to say what to track")
        resolved = self.resolved
        soft = soft_one_hot(labels, self.ids, resolved.grid, mode=resolved.first_labels).flatten(1)
        self._memory.push(Reference(frame.index, features.keys, soft, torch.ones(len(soft)).bool()))
        self._next = frame.index + 1

    def teach(self, labels: LabelMap) -> None:
        """Lets later frames learn from a label map of the last frame instead of what was propagated to it.

        A frame whose mask was given stays as it is.

        Args:
            labels: Label map of the last frame, of objects that are tracked; others count as background.

        Raises:
            SettingsError: if no frame has been seen.
        """
        if self._memory is None:
            raise SettingsError("a tracker cannot be taught before its first frame; call step first")
        soft = soft_one_hot(labels, self.ids, self.resolved.grid, mode=self.resolved.first_labels).flatten(1)
        self._memory.relabel(self._next - 1, soft)

    def _begin(self, frame: Frame) -> None:
        """Settles sizes and settings with the first frame, and checks that later ones are like it."""
        size = (int(frame.image.shape[0]), int(frame.image.shape[1]))
        if self._size is None:
            self._size = size
            self._resolved = resolve(self.settings, self.backbone, *size, tuned=self.tuned is not None)
            self._memory = Memory(self._resolved.recent)
        if size != self._size:
            raise VideoError(
                f"frame {frame.index} is {size[1]}x{size[0]} but the first was "
                f"{self._size[1]}x{self._size[0]}; all frames of a video need one size"
            )

    def _join(self, mask: LabelMap, index: int) -> None:
        """Makes room for the objects that `mask` names for the first time."""
        assert self._memory is not None
        named = object_ids(mask)
        if not named:
            raise MaskError(f"the mask of frame {index} has no object; paint at least one with an id of 1 or more")
        new = [object_id for object_id in named if object_id not in self.ids]
        self._groups = group(self.tuned, [*self.ids, *new])
        self.ids.extend(new)
        self._memory.add_objects(len(new))

    def _propagate(self, features: FrameFeatures) -> tuple[Float[Tensor, "n s"], Float[Tensor, "n s"]]:
        """Returns the soft labels that the references give a frame, and the mass of each channel's kernel per token."""
        assert self._memory is not None
        return self._carried(features, self._memory.references())

    def _carried(
        self, features: FrameFeatures, references: Sequence[Reference]
    ) -> tuple[Float[Tensor, "n s"], Float[Tensor, "n s"]]:
        """Returns what references give a frame: each object by its own kernel, or all at once by one."""
        channels, tokens = len(self.ids) + 1, features.queries.shape[1]
        if not references:
            blank = torch.zeros(channels, tokens)
            blank[0] = 1.0
            return blank, torch.ones(channels, tokens)
        if len(self._groups) == 1:
            carried, mass = self._carried_together(features, references, self._groups[0].head_weights)
            return carried, mass.expand(channels, -1)
        objects, masses = torch.zeros(2, channels, tokens)
        for own in self._groups:
            carried, mass = self._carried_together(features, references, own.head_weights)
            objects[list(own.channels)], masses[list(own.channels)] = carried[list(own.channels)], mass
        return with_background(objects[1:]), masses

    def _carried_together(
        self, features: FrameFeatures, references: Sequence[Reference], head_weights: Float[Tensor, "a"] | None
    ) -> tuple[Float[Tensor, "n s"], Float[Tensor, "s"]]:
        """Returns the soft labels that references give a frame by one kernel, and the kernel's mass of each token."""
        affinity = compute_affinity(
            features.queries, [r.keys for r in references], self.resolved.grid, self.resolved.kernel, head_weights
        )
        labels = torch.stack([r.labels for r in references])
        known = torch.stack([r.known for r in references])
        carried = affinity.apply(labels)
        if not known.all():
            # An object is asked for only where it can be known: its weights are renormalised over those references.
            # What no object claims is background.
            support = affinity.apply(known[:, :, None].float().expand_as(labels))
            objects = (carried / support.clamp(min=1e-6))[1:]
            background = (1 - objects.sum(0, keepdim=True)).clamp(min=0)
            carried = torch.cat([background, objects])
            carried = carried / carried.sum(0)
        return carried, affinity.mass.to(carried.device)

    def _judged(
        self, soft: Float[Tensor, "n s"], features: FrameFeatures, named: set[int]
    ) -> tuple[Float[Tensor, "n s"], Verdict]:
        """Returns the soft labels to go on with, and what is thought of the objects whose masks were not given."""
        assert self._memory is not None
        empties = self.resolved.lost == "empty"
        channels = [channel for channel, object_id in enumerate(self.ids, start=1) if object_id not in named]
        verdict = self.verdict = judge(
            soft,
            features,
            self._memory.anchors,
            channels,
            self.resolved.grid,
            self.resolved.kernel,
            self.presence_model,
            search=empties,
            head_weights=head_weights_of(self._groups),
        )
        return verdict.soft if empties else soft, verdict

    def _witnessed(self, anchor: Reference, features: FrameFeatures, named: set[int], verdict: Verdict) -> Reference:
        """Returns an anchor that also tells what its given objects score on itself, and does not know lost ones."""
        resolved = self.resolved
        witnesses = Witnesses(features, resolved.kernel, head_weights=head_weights_of(self._groups))
        mirrored, _ = self._carried(features, [anchor])
        own, known = torch.zeros(2, len(anchor.labels)), anchor.known.clone()
        for channel, object_id in enumerate(self.ids, start=1):
            if object_id in named:
                own[:, channel] = witnesses.own(features.keys, anchor.labels, mirrored, channel)
            # An anchor stays: that an object was lost on it must not be held against the object for good.
            known[channel] = not (resolved.lost == "empty" and channel in verdict.lost)
        return replace(anchor, own=own, known=known)

    def _anchored(self, soft: Float[Tensor, "n s"], mask: LabelMap, named: set[int]) -> Float[Tensor, "n s"]:
        """Returns soft labels in which the objects a mask names are as given and the others share what is left."""
        resolved = self.resolved
        given = soft_one_hot(mask, self.ids, resolved.grid, mode=resolved.first_labels).flatten(1)
        free = torch.tensor([True] + [object_id not in named for object_id in self.ids])
        others = soft * free[:, None]
        # What a named object was propagated to outside its given mask is background after all.
        others[0] += (soft * ~free[:, None]).sum(0)
        claimed = (given * ~free[:, None]).sum(0)
        return given * ~free[:, None] + others * (1 - claimed) / others.sum(0).clamp(min=1e-9)

    def state(self) -> dict[str, Tensor]:
        """Returns everything the next frame's answer depends on besides model and settings, as named tensors.

        Between two batches of `track` they let `restore` go on exactly; see `undertow.tracking.state`.

        Raises:
            SettingsError: if no frame has been seen.
        """
        if self._memory is None or self._size is None:
            raise SettingsError("a tracker has no state before its first frame; call step first")
        return pack(Snapshot(self.ids, self._size, self._next, self._memory))

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Makes this tracker go on where the one that `state` was asked of had come to.

        Raises:
            SettingsError: if the tensors are not a tracker's.
        """
        recent = self.backbone.card.recent if self.settings.recent is None else self.settings.recent
        snapshot = unpack(tensors, recent, self.backbone.device)
        resolved = resolve(self.settings, self.backbone, *snapshot.size, tuned=self.tuned is not None)
        self.ids, self._size, self._next, self._memory = snapshot
        self._groups = group(self.tuned, self.ids)
        self._resolved = resolved
