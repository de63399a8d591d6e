"""Things that are named by what they do: what may be meant is tracked, and the track that does it is taken.

The frames that are tracked through are few and spread over the clip, and what a track already holds is not tracked
again, so that a sentence costs about as many short tracks as there are things.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool

from undertow.grounding import Asker, Part, does, said_of
from undertow.grounding.asking import alike
from undertow.grounding.heat import score_masks
from undertow.observing.observer import FrameFeatures
from undertow.referring.finding import Finding, spread
from undertow.tracking.tracker import MaskTracker
from undertow.video import Clip, Frame

log = logging.getLogger(__name__)

# Frames that are tracked through, and tracks.
FRAMES, TRACKS = 16, 8
# Two masks that overlap (J) by more than this are of one thing.
SAME = 0.5


@dataclass(frozen=True)
class Track:
    """What may be meant.

    Attributes:
        part: Where it was seen.
        masks: Of it, by number of the frames in which things are looked for; those of all would take much room.
        value: How well it fits all that is said.
    """

    part: Part
    masks: Mapping[int, Bool[np.ndarray, "h w"]]
    value: float


def followed(finding: Finding, clip: Clip, asker: Asker, tracker: MaskTracker, pivots: int) -> Finding:
    """Returns what a sentence names by what it does; the finding itself if the sentence says nothing of the kind.

    Args:
        finding: What was found of the sentence.
        clip: A video that can be read again.
        asker: For frames of its size.
        tracker: Before its first frame.
        pivots: Frames in which things are looked for.
    """
    text = finding.sight.expression.text
    numbers = clip.numbers
    if (said := said_of(text)) is None or not numbers or len(numbers) < 2:
        return finding
    frames = list(clip.video.frames(numbers[:: -(-len(numbers) // FRAMES)]))
    places = {frame.index: place for place, frame in enumerate(frames)}
    images = {number: frames[places[number]].image for number in spread(list(places), pivots)}
    features = [each for frame in frames for each in tracker.observe([frame])]
    tracks: list[Track] = []
    for part in asker.parts(images, text, said.phrase):
        if any(alike(track.masks[part.frame], part.mask, SAME) for track in tracks):
            continue
        masks = carried(tracker, frames, features, places[part.frame], part.mask)
        seen = {number: masks[places[number]] for number in images}
        tracks.append(Track(part, seen, part.value + does(said.deed, masks)))
        if len(tracks) == TRACKS:
            break
    if not tracks:
        return finding
    best = max(tracks, key=lambda track: track.value)
    log.info("'%s': tracks of what may be meant: %d; that of frame %d fits best", text, len(tracks), best.part.frame)
    candidates = score_masks(best.part.heat, [(best.part.mask, 1.0, f"what does it, of {len(tracks)} tracked")])
    heat = best.part.heat
    sight = replace(finding.sight, heat=heat, contrast=float(heat.max()), peaks=(), candidates=tuple(candidates))
    looked: dict[int, float] = {}
    for track in sorted(tracks, key=lambda track: (track.part.frame, track.value)):
        looked[track.part.frame] = track.value
    return replace(finding, frame=best.part.frame, sight=sight, looked=looked)


def carried(
    tracker: MaskTracker,
    frames: Sequence[Frame],
    features: Sequence[FrameFeatures],
    place: int,
    mask: Bool[np.ndarray, "h w"],
) -> list[Bool[np.ndarray, "h w"]]:
    """Returns the masks of one thing in all of some frames, carried both ways from the one it is given in.

    Args:
        tracker: Whose model and settings are used; itself it stays as it is.
        frames: In order.
        features: Of each, see `MaskTracker.observe`.
        place: Which of them the mask is given in.
        mask: The mask.
    """
    masks: list[Bool[np.ndarray, "h w"]] = [mask] * len(frames)
    for order in (range(place + 1, len(frames)), range(place - 1, -1, -1)):
        way = MaskTracker(tracker.backbone, tracker.settings)
        way.advance(frames[place], features[place], mask.astype(np.uint16))
        for each in order:
            masks[each] = way.advance(frames[each], features[each]).labels == 1
    return masks
