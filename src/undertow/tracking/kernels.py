"""Kernels of their own for objects: what the model is conditioned on for each, and how its heads are weighed."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from undertow.backbones import Conditioning
from undertow.base import CueError


@dataclass(frozen=True)
class ObjectKernel:
    """What carries one object, or several.

    Attributes:
        conditioning: What the model is conditioned on.
        head_weights: Weight of each head of the run's sites, side by side; they sum to one.
    """

    conditioning: Conditioning
    head_weights: Float[Tensor, "a"]


@dataclass(frozen=True)
class TunedKernels:
    """The kernel of every object, by its id, and one for all others.

    Attributes:
        objects: Kernels of objects by id.
        others: Kernel of objects that have none of their own; without it, there may be no such objects.
    """

    objects: Mapping[int, ObjectKernel] = field(default_factory=dict)
    others: ObjectKernel | None = None

    @property
    def kernels(self) -> list[ObjectKernel]:
        """The different kernels, in order of the object ids; that of the others last."""
        every = [self.objects[object_id] for object_id in sorted(self.objects)]
        every += [] if self.others is None else [self.others]
        return list({id(kernel): kernel for kernel in every}.values())

    @property
    def conditionings(self) -> list[Conditioning]:
        """The different conditionings, each of which costs a forward per frame."""
        return list({_same(kernel.conditioning): kernel.conditioning for kernel in self.kernels}.values())

    def of(self, object_id: int) -> ObjectKernel:
        """Returns the kernel that carries an object.

        Raises:
            CueError: if it has none.
        """
        kernel = self.objects.get(object_id, self.others)
        if kernel is None:
            tuned = ", ".join(map(str, sorted(self.objects)))
            raise CueError(f"object {object_id} was not tuned, only {tuned}; tune it too, or give a kernel for others")
        return kernel

    def fingerprint(self) -> str:
        """Returns a digest of all kernels, by which a run knows them again."""
        digest = hashlib.sha256()
        for name, kernel in [*sorted(self.objects.items()), (0, self.others)]:
            if kernel is not None:
                digest.update(str(name).encode())
                for tensor in (kernel.conditioning.tensor, kernel.head_weights):
                    digest.update(tensor.detach().float().cpu().numpy().tobytes())
        return digest.hexdigest()

    def head_weights(self, kernel: ObjectKernel) -> Float[Tensor, "all_a"]:
        """Returns a kernel's weights over the heads of all conditionings side by side, zero for those of others."""
        own = kernel.head_weights.float().cpu()
        mine = _same(kernel.conditioning)
        return torch.cat([own if _same(each) == mine else own * 0 for each in self.conditionings])


def _same(conditioning: Conditioning) -> str | int:
    """Returns what conditionings have in common that are one: their text, or that they are one object."""
    return id(conditioning) if conditioning.text is None else conditioning.text


@dataclass(frozen=True)
class Group:
    """Objects that one kernel carries.

    Attributes:
        head_weights: Weights of the heads as features hold them; None for equal ones.
        channels: Channels of the objects in the soft labels.
    """

    head_weights: Float[Tensor, "a"] | None
    channels: tuple[int, ...]


def group(tuned: TunedKernels | None, ids: Sequence[int]) -> list[Group]:
    """Returns which kernel carries which objects; one group of equal heads if nothing was tuned.

    Args:
        tuned: The kernels.
        ids: Object ids, in the order of the channels after the background.

    Raises:
        CueError: if an object has no kernel.
    """
    if tuned is None:
        return [Group(None, tuple(range(1, len(ids) + 1)))]
    channels: dict[int, list[int]] = {}
    kernels = {id(kernel): kernel for kernel in tuned.kernels}
    for channel, object_id in enumerate(ids, start=1):
        channels.setdefault(id(tuned.of(object_id)), []).append(channel)
    return [Group(tuned.head_weights(kernels[key]), tuple(own)) for key, own in channels.items()]


def head_weights_of(groups: Sequence[Group]) -> Mapping[int, Float[Tensor, "a"] | None]:
    """Returns the weights of the heads for each channel of the soft labels."""
    return {channel: own.head_weights for own in groups for channel in own.channels}


def with_background(objects: Float[Tensor, "m s"]) -> Float[Tensor, "n s"]:
    """Returns soft labels, background first, of objects that were carried each by a kernel of its own.

    An object's kernel carries it and everything else as m and 1 − m, so background is what no kernel claims:
    max(0, 1 − Σ m). Where all kernels are equal, this is what one kernel for all objects carries. Where kernels
    disagree and claim more than there is, nothing is divided: an object would lose to its neighbours, frame after
    frame, what its own kernel gives it.
    """
    background = (1 - objects.sum(0, keepdim=True)).clamp(min=0)
    return torch.cat([background, objects])
