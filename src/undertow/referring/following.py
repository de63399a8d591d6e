"""Things that are named by what they do: what may be meant is tracked, and the track that does it is taken.

The frames that are tracked through are few and spread over the clip, and what a track already holds is not tracked
again, so that a sentence costs about as many short tracks as there are things. Large frames are shrunk for it.
"""

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, UInt8

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
# What the best track does less than this is not done.
DONE = 0.25
# Frames of more pixels are shrunk to so many.
PIXELS = 2**19


@dataclass(frozen=True)
class Track:
    """What may be meant.

    Attributes:
        part: Where it was seen.
        masks: Of it, by number of the frames in which things are looked for; those of all would take much room.
        done: How far it does what is said.
    """

    part: Part
    masks: Mapping[int, Bool[np.ndarray, "h w"]]
    done: float

    @property
    def value(self) -> float:
        """How well it fits all that is said."""
        return self.part.value + self.done


def followed(finding: Finding, clip: Clip, asker: Asker, tracker: MaskTracker, pivots: int) -> Finding:
    """Returns what a sentence names by what it does; the finding itself if the sentence says nothing of the kind.

    Whether it is there is decided by the tracks, too: the answer to the whole sentence hardly knows deeds.

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
    frames = [
        replace(each, image=shrunk(each.image)) for each in clip.video.frames(numbers[:: -(-len(numbers) // FRAMES)])
    ]
    places = {frame.index: place for place, frame in enumerate(frames)}
    images = {number: frames[places[number]].image for number in spread(list(places), pivots)}
    features = [each for frame in frames for each in tracker.observe([frame])]
    size = frames[0].image.shape[:2]
    small = asker if size == asker.size else Asker(asker.backbone, size, asker.words, asker.propose)
    tracks: list[Track] = []
    for part in small.parts(images, text, said.phrase):
        if any(alike(track.masks[part.frame], part.mask, SAME) for track in tracks):
            continue
        place = places[part.frame]
        masks = carried(tracker, frames, features, place, part.mask)
        seen = {number: masks[places[number]] for number in images}
        tracks.append(Track(part, seen, does(said.deed, masks, place)))
        if len(tracks) == TRACKS:
            break
    if not tracks:
        return finding
    best = max(tracks, key=lambda track: track.value)
    log.info("'%s': of %d tracks, that of frame %d fits best", text, len(tracks), best.part.frame)
    if not (found := asker.words.least == 0 or best.done >= DONE):
        log.info("'%s': it hardly does what is said (%.2f; at least %.2f of 1 are needed)", text, best.done, DONE)
    mask, heat = enlarged(best.part.mask, asker.size), best.part.heat
    sight = replace(
        finding.sight,
        heat=heat,
        contrast=float(heat.max()),
        peaks=(),
        found=found,
        candidates=tuple(score_masks(heat, [(mask, 1.0, f"what does it, of {len(tracks)} tracked")])),
    )
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


def shrunk(image: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "a b 3"]:
    """Returns a frame of at most about `PIXELS` pixels."""
    import cv2

    height, width = image.shape[:2]
    share = math.sqrt(PIXELS / (height * width))
    if share >= 1:
        return image
    size = max(1, round(share * width)), max(1, round(share * height))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA))


def enlarged(mask: Bool[np.ndarray, "a b"], size: tuple[int, int]) -> Bool[np.ndarray, "h w"]:
    """Returns a mask at the (height, width) of the video."""
    import cv2

    if mask.shape == size:
        return mask
    return np.asarray(cv2.resize(mask.astype(np.float32), size[::-1]) > 0.5)
