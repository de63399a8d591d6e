"""Frames of long ago, laid out as the present one: beside each of its tokens the one that it came from.

In a frame of long ago a window around a token's own place holds whatever was there then. So for given masks and for a
few later frames a map is kept: row and column there of every token of the present frame, its origin. From frame to
frame the map goes along optical flow, which drifts, and is then set right by the matches that the kernel has made.
"""

from collections.abc import Collection, Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from undertow.affinity import Affinity
from undertow.tracking.memory import Memory, Origins, Reference
from undertow.tracking.motion import Motion, places_on

# Every so many frames one is kept, and so many of them; chosen on validation clips (docs/kernel.md).
EVERY, KEPT = 8, 2
# Of the frames whose masks were given, so many are laid out.
GIVEN = 2
# Matches whose origins are within so many tokens of the best one's agree with it.
AGREE = 2


def far(memory: Memory) -> list[Reference]:
    """Returns the frames of long ago in which origins of the present frame's tokens are known."""
    return [each for each in (*memory.anchors[-GIVEN:], *memory.distant) if each.index in memory.origins]


def laid_out(memory: Memory, grid: tuple[int, int]) -> list[Reference]:
    """Returns frames of long ago with, in place of each token, the one that the present frame's token came from.

    Those that still are recent ones are left out.
    """
    recent, found = {each.index for each in memory.recent}, []
    for each in far(memory):
        if each.index not in recent:
            tokens = _nearest(memory.origins[each.index], grid)
            keys, labels = each.keys[:, tokens.to(each.keys.device)], each.labels[:, tokens]
            origins = {**memory.origins, **{index: known[:, tokens] for index, known in each.origins.items()}}
            found.append(replace(each, keys=keys, labels=labels, origins=origins))
    return found


def moved(origins: Origins, motion: Motion) -> Origins:
    """Returns the origins of the next frame's tokens, in tokens, as far as motion knows them."""
    if not origins:
        return origins
    # All maps are fetched at once.
    before = motion.fetched_back(torch.cat(list(origins.values())))
    return dict(zip(origins, before.view(len(origins), 2, -1), strict=True))


def settled(affinity: Affinity, references: Sequence[Reference], memory: Memory) -> Origins:
    """Returns the origins of a frame's tokens, from the matches that the kernel has made.

    A token takes over the origin of its best match, averaged with those of other matches that agree with it.

    Args:
        affinity: The kernel of the frame over its references.
        references: The references.
        memory: What was remembered before, with the origins that are expected.
    """
    indices, weights = affinity.indices.cpu(), affinity.weights.cpu()
    found = {}
    for each in far(memory):
        expected = memory.origins[each.index]
        tables = torch.stack([reference.origins.get(each.index, expected) for reference in references], dim=1)
        known = torch.tensor([each.index in reference.origins for reference in references])
        origins, trusted = tables.flatten(1)[:, indices], weights * known[indices // expected.shape[1]]
        best = origins.gather(2, trusted.argmax(1, keepdim=True).expand(2, -1, -1))
        trusted = trusted * ((origins - best).abs().amax(0) <= AGREE)
        total = trusted.sum(-1)
        found[each.index] = torch.where(total > 0, (origins * trusted).sum(-1) / total.clamp(min=1e-12), expected)
    return found


def with_followed_anchor(memory: Memory, anchor: Reference, grid: tuple[int, int]) -> Memory:
    """Returns the memory with a frame whose mask was given, in which later tokens will have origins."""
    origins = {**memory.origins, anchor.index: _itself(grid)}
    return replace(memory.with_anchor(replace(anchor, origins=origins)), origins=origins)


def with_followed_frame(
    memory: Memory, reference: Reference, grid: tuple[int, int], lost: Collection[int] = ()
) -> Memory:
    """Returns the memory with one more frame, whose tokens are followed from now on.

    Args:
        memory: What is remembered, with the origins of the frame's tokens.
        reference: The frame.
        grid: Rows and columns of tokens.
        lost: Channels of objects that were not found in it. For a few frames that teaches that they are not there; for
            many it would keep them from coming back.
    """
    origins, kept = dict(memory.origins), memory.seen % EVERY == EVERY - 1
    if kept:
        origins[reference.index] = _itself(grid)
    reference = replace(reference, origins=origins)
    memory = replace(memory.with_recent(replace(reference, places=places_on(grid))), origins=origins)
    if not kept:
        return memory
    known = reference.known.clone()
    known[list(lost)] = False
    return memory.with_distant(replace(reference, known=known), KEPT)


def _itself(grid: tuple[int, int]) -> Float[Tensor, "2 s"]:
    """Returns the origins of a frame's tokens in the frame itself."""
    return places_on(grid)[:2]


def _nearest(origins: Float[Tensor, "2 s"], grid: tuple[int, int]) -> Tensor:
    """Returns the numbers of the tokens that origins lie in."""
    rows, columns = (each.round().clamp(0, side - 1).long() for each, side in zip(origins, grid, strict=True))
    return rows * grid[1] + columns
