"""Masks that a heat map may mean: through a segmenter such as SAM, or with nothing but OpenCV."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as functional
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from undertow.base import CueError
from undertow.grounding.heat import Peak, Proposer
from undertow.refinement import ObjectCue, PointCue, load_segmenter, segment_grabcut
from undertow.refinement.segmenter import Segmenter

Proposals = list[tuple[Bool[np.ndarray, "h w"], float, str]]
# How wide a box around the hot part is grown, in shares of its sides.
MARGIN = 0.1


class HeatProposer:
    """Masks by the map itself: what is hotter than Otsu's threshold, the part of it around each peak, and GrabCut.

    The quality of each is 1: nothing here says how good a mask is.
    """

    def __call__(
        self, image: UInt8[np.ndarray, "h w 3"], heat: Float[Tensor, "gh gw"], peaks: Sequence[Peak]
    ) -> Proposals:
        """Returns the proposals; see `Proposer`."""
        hot = hot_part(heat, image.shape[:2])
        found: Proposals = [(hot, 1.0, "heat above threshold")]
        parts: list[Bool[np.ndarray, "h w"]] = [hot]
        for number, peak in enumerate(peaks, 1):
            part = part_around(hot, peak)
            if any(np.array_equal(part, each) for each in parts[1:]):
                continue
            parts.append(part)
            found.append((part, 1.0, f"heat around peak {number}"))
            cue = ObjectCue(1, box=box_of(part), points=(PointCue(peak.x, peak.y, True),))
            try:
                found.append((segment_grabcut(image, [cue]) == 1, 1.0, f"GrabCut in the box of peak {number}"))
            except CueError:  # nothing stands out there
                continue
        return found


class SegmenterProposer:
    """Masks of SAM or SAM 2: three for each peak as a point, and one for the box of the hot part around it.

    Args:
        segmenter: The model.
        paper: Whether to ask for one point only and take the best mask, as RefAM does.
    """

    def __init__(self, segmenter: Segmenter, paper: bool = False) -> None:
        self.segmenter, self.paper = segmenter, paper

    def __call__(
        self, image: UInt8[np.ndarray, "h w 3"], heat: Float[Tensor, "gh gw"], peaks: Sequence[Peak]
    ) -> Proposals:
        """Returns the proposals; see `Proposer`."""
        [embedding] = self.segmenter.embed(image[None])
        places = torch.tensor([[[peak.x, peak.y]] for peak in (peaks[:1] if self.paper else peaks)])
        pointed = self.segmenter.predict(embedding, points=places, multimask=True)
        if self.paper:
            pointed = pointed.best()
        found = [
            (logits > 0, float(score), f"point {number}, mask {place}")
            for number, (three, scores) in enumerate(zip(pointed.logits, pointed.scores, strict=True), 1)
            for place, (logits, score) in enumerate(zip(embedding.fit.to_frame(three), scores, strict=True), 1)
        ]
        if not self.paper:
            hot = hot_part(heat, image.shape[:2])
            boxes = torch.tensor([box_of(part_around(hot, peak)) for peak in peaks])
            boxed = self.segmenter.predict(embedding, points=places, boxes=boxes).best()
            for number, (logits, scores) in enumerate(zip(boxed.logits, boxed.scores, strict=True), 1):
                found.append((embedding.fit.to_frame(logits)[0] > 0, float(scores[0]), f"box of peak {number}"))
        return [(mask.cpu().numpy(), min(max(score, 0.0), 1.0), name) for mask, score, name in found]


def make_proposer(segmenter: str | None, device: torch.device, paper: bool = False) -> Proposer:
    """Returns what makes masks of a map: a segmenter by its name or folder, or the map itself and GrabCut.

    Args:
        segmenter: What `load_segmenter` takes; `None` for none.
        device: Where it runs.
        paper: Whether to ask a segmenter for one point only, as RefAM does.
    """
    if segmenter is None:
        return HeatProposer()
    return SegmenterProposer(load_segmenter(segmenter, device=device), paper)


def hot_part(heat: Float[Tensor, "gh gw"], size: tuple[int, int]) -> Bool[np.ndarray, "h w"]:
    """Returns where a map, brought to the picture's size, is above Otsu's threshold."""
    # The threshold is chosen on the grid, where every value is one of the model's.
    inside = (heat - otsu(heat))[None, None].float()
    found: np.ndarray = (functional.interpolate(inside, size, mode="bilinear", align_corners=False)[0, 0] > 0).numpy()
    return found


def part_around(hot: Bool[np.ndarray, "h w"], peak: Peak) -> Bool[np.ndarray, "h w"]:
    """Returns the connected part of a mask that holds a peak, or one pixel where the mask does not."""
    import cv2

    height, width = hot.shape
    row, column = min(int(peak.y), height - 1), min(int(peak.x), width - 1)
    if not hot[row, column]:
        part = np.zeros_like(hot)
        part[row, column] = True
        return part
    _, parts = cv2.connectedComponents(hot.astype(np.uint8), connectivity=8)
    found: np.ndarray = parts == parts[row, column]
    return found


def box_of(part: Bool[np.ndarray, "h w"]) -> tuple[float, float, float, float]:
    """Returns the box (x0, y0, x1, y1) around a part, grown a little and cut at the picture's border."""
    rows, columns = np.nonzero(part.any(1))[0], np.nonzero(part.any(0))[0]
    y0, y1, x0, x1 = int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1
    down, across = max(1.0, MARGIN * (y1 - y0)), max(1.0, MARGIN * (x1 - x0))
    return (
        max(0.0, x0 - across),
        max(0.0, y0 - down),
        min(float(part.shape[1]), x1 + across),
        min(float(part.shape[0]), y1 + down),
    )


def otsu(values: Float[Tensor, "gh gw"], bins: int = 256) -> float:
    """Returns the threshold that parts values best: the one with the largest variance between both sides (Otsu, 1979).

    Where a whole range of thresholds parts them alike, its middle.
    """
    low, high = float(values.min()), float(values.max())
    if high <= low:
        return low
    counts = torch.histc(values.float(), bins, low, high).double()
    centres = low + (torch.arange(bins, dtype=torch.float64) + 0.5) * (high - low) / bins
    below = counts.cumsum(0)
    above = below[-1] - below
    sums = (counts * centres).cumsum(0)
    means = sums / below.clamp(min=1), (sums[-1] - sums) / above.clamp(min=1)
    between = below * above * (means[0] - means[1]) ** 2
    best = (between >= between.max() * (1 - 1e-9)).nonzero()[:, 0].double().mean()
    return low + (float(best) + 1) * (high - low) / bins
