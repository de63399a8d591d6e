"""What a tracker has learned so far, and how one more frame adds to it."""

from collections.abc import Collection
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from undertow.base import SettingsError
from undertow.observing.flow import Grey
from undertow.observing.observer import FrameFeatures
from undertow.tracking.appearance import colours_of, told_apart
from undertow.tracking.common_fate import moving_together
from undertow.tracking.kernels import Group
from undertow.tracking.lost import Verdict
from undertow.tracking.memory import Memory, Reference
from undertow.tracking.motion import Motion, picture_of
from undertow.tracking.origins import far, moved, with_followed_anchor, with_followed_frame
from undertow.tracking.settings import ResolvedSettings
from undertow.video import Frame


@dataclass(frozen=True)
class Learned:
    """All that a tracker has learned, replaced as a whole; see `MaskTracker` for the attributes it shows.

    Attributes:
        resolved: The numbers in use.
        size: Height and width of the frames, in pixels.
        memory: The references.
        ids: Object ids, in the order of the channels after the background.
        groups: Which kernel carries which objects.
        next: Number of the next frame of `step`.
        picture: The last frame as motion sees it; None if nothing is followed.
        motion: The motion to the last frame from the one before, if both were seen.
        soft: Soft masks of the last frame.
        verdict: What was thought of the objects of the last frame.
    """

    resolved: ResolvedSettings
    size: tuple[int, int]
    memory: Memory
    ids: tuple[int, ...] = ()
    groups: tuple[Group, ...] = ()
    next: int = 0
    picture: Grey | None = None
    motion: Motion | None = None
    soft: Float[Tensor, "m h w"] | None = None
    verdict: Verdict | None = None


def followed(state: Learned, frame: Frame) -> Learned:
    """Returns the state in which the tokens of earlier frames have been followed to a frame, if the preset does so."""
    if not state.resolved.preset.motion:
        return state
    grid = state.resolved.grid
    picture = picture_of(frame.image, grid)
    memory = state.memory
    if state.picture is None or not (memory.recent or memory.origins):
        return replace(state, picture=picture, motion=None)
    motion = Motion(state.picture, picture, grid)
    # Where several kernels carry the objects, no matches tell which frames are still needed.
    needed = {each.index: memory.origins[each.index] for each in far(memory)}
    memory = replace(memory.followed(motion), origins=moved(needed, motion))
    return replace(state, memory=memory, picture=picture, motion=motion)


def observed(
    frame: Frame, features: FrameFeatures, soft: Float[Tensor, "n s"], resolved: ResolvedSettings
) -> Reference:
    """Returns a frame as later ones can be compared with it, with its colours if the preset looks at them."""
    colours = colours_of(frame.image, resolved.grid) if resolved.preset.appearance else None
    return Reference(frame.index, features.keys, soft, torch.ones(len(soft)).bool(), colours=colours)


def comparable(memory: Memory, resolved: ResolvedSettings) -> Memory:
    """Returns a memory that was read again, if its frames can be compared as the preset does it.

    Raises:
        SettingsError: if they cannot.
    """
    held = (*memory.references(), *memory.distant)
    if resolved.preset.appearance and any(each.colours is None for each in held):
        raise SettingsError(
            f"this is the state of a tracker that kept no colours, which preset '{resolved.preset.name}' compares; "
            "start the run anew"
        )
    return memory


def distinguished(state: Learned, reference: Reference) -> Reference:
    """Returns a frame whose objects were told apart by what they look like and how they move, if the preset does so."""
    memory, resolved = state.memory, state.resolved
    if not resolved.preset.appearance:
        return reference
    # A frame of long ago may be a recent one still, and so may one whose mask was given.
    later = {each.index: each for each in (*memory.distant, *memory.recent)}
    given = {each.index: each for each in memory.anchors}
    teaching = [*memory.anchors, *(each for each in later.values() if each.index not in given)]
    soft = told_apart(reference, teaching, resolved.grid, resolved.kernel.radius)
    before = (later | given).get(state.next - 1)
    if before is not None and state.motion is not None:
        seen = replace(reference, labels=soft)
        soft = moving_together(seen, before, state.motion, resolved.grid, resolved.kernel.radius)
    return replace(reference, labels=soft)


def remembered(memory: Memory, reference: Reference, resolved: ResolvedSettings, lost: Collection[int] = ()) -> Memory:
    """Returns the memory with one more frame, whose tokens are followed from now on if the preset does so."""
    if not resolved.preset.motion:
        return memory.with_recent(reference)
    return with_followed_frame(memory, reference, resolved.grid, lost)


def anchored(memory: Memory, anchor: Reference, resolved: ResolvedSettings) -> Memory:
    """Returns the memory with a frame whose mask was given, to which tokens are followed back if the preset does so."""
    if not resolved.preset.motion:
        return memory.with_anchor(anchor)
    return with_followed_anchor(memory, anchor, resolved.grid)
