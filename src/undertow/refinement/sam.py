"""SAM refinement: points drawn from each soft mask prompt a segmenter, and the answer that fits it best replaces it.

Follows DRIFT (Kim et al. 2025, arXiv 2511.19936): p prompts of n positive points per object and frame, one embedding
per frame, one decoder call per object, the candidate with the highest soft overlap wins. Objects are merged as SAM-PT
does (Rajič et al. 2023), by their logits against a background of zero. Refined masks are not fed back into
propagation unless asked for, so frames may be refined in any order and in batches after it.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from undertow.base import MaskError
from undertow.masks import LabelMap
from undertow.refinement.segmenter import Embedding, Fit, Segmenter
from undertow.refinement.settings import SamSettings

# The logit of a mask where it certainly is not, and the largest that a propagated mask is given.
_NOWHERE = -32.0
# The largest logit of a mask prompt.
_PROMPT = 8.0


@dataclass(frozen=True)
class SoftFrame:
    """A frame with what propagation made of it.

    Attributes:
        index: Absolute number of the frame, by which points are drawn.
        image: RGB.
        soft: Soft masks in [0, 1], background first, then the objects, at any resolution.
    """

    index: int
    image: UInt8[np.ndarray, "h w 3"]
    soft: Float[Tensor, "m grid_h grid_w"]


@dataclass(frozen=True)
class Refined:
    """A refined frame.

    Attributes:
        index: Number of the frame.
        labels: Label map at the size of the frame.
        logits: Per object, on the segmenter's mask cells; positive inside.
        scores: Per object id, the soft overlap of the mask that won; 0 for an object that is nowhere.
        kept: Ids of objects whose propagated mask was kept.
    """

    index: int
    labels: LabelMap
    logits: Float[Tensor, "n grid_h grid_w"]
    scores: dict[int, float]
    kept: tuple[int, ...]


class SamRefiner:
    """Refines soft masks with a segmenter.

    Args:
        segmenter: Such as `load_segmenter("sam-vit-b")` returns.
        settings: Options.
    """

    def __init__(self, segmenter: Segmenter, settings: SamSettings | None = None):
        self.segmenter = segmenter
        self.settings = settings or SamSettings()

    def refine(self, frames: Iterable[SoftFrame], ids: Sequence[int]) -> Iterator[Refined]:
        """Yields the refined frames in order.

        A frame's answer depends on the frame, its soft masks and the settings alone; batches only save time.

        Args:
            frames: Of one size, in any order.
            ids: Object id of each soft mask after the background.

        Raises:
            MaskError: if a frame does not have a soft mask for the background and for each object.
        """
        rest = iter(frames)
        while group := list(islice(rest, self.settings.batch)):
            embeddings = self.segmenter.embed(np.stack([frame.image for frame in group]))
            for frame, embedding in zip(group, embeddings, strict=True):
                yield self._refine(frame, embedding, ids)

    def _refine(self, frame: SoftFrame, embedding: Embedding, ids: Sequence[int]) -> Refined:
        if len(frame.soft) != len(ids) + 1:
            raise MaskError(
                f"frame {frame.index} has {len(frame.soft)} soft masks; give one for the background and one for each "
                f"of {len(ids)} objects"
            )
        soft = embedding.fit.to_grid(frame.soft.float().cpu())
        logits, scores, kept = propagated_logits(soft), dict.fromkeys(ids, 0.0), []
        for row, object_id in enumerate(ids):
            own = soft[row + 1]
            if not own.any():
                continue
            random = np.random.default_rng((self.settings.seed, frame.index, object_id))
            points = draw_points(own, embedding.fit, self.settings.prompts, self.settings.points, random)
            masks = None
            if self.settings.mask_prompt:
                masks = logits[row].clamp(-_PROMPT, _PROMPT).expand(len(points), -1, -1)
            answer = self.segmenter.predict(embedding, points=points, masks=masks, multimask=self.settings.multimask)
            candidates = answer.logits.flatten(0, 1).cpu()
            overlaps = soft_overlaps(own, candidates > 0)
            winner = int(overlaps.argmax())
            scores[object_id] = float(overlaps[winner])
            propagated = float(soft_overlaps(own, logits[row, None] > 0))
            if scores[object_id] >= self.settings.minimum_score * propagated:
                logits[row] = candidates[winner]
            else:
                kept.append(object_id)
        labels = merge(embedding.fit.to_frame(logits), ids)
        return Refined(frame.index, labels, logits, scores, tuple(kept))


def draw_points(
    soft: Float[Tensor, "grid_h grid_w"], fit: Fit, prompts: int, points: int, random: np.random.Generator
) -> Float[Tensor, "p n 2"]:
    """Returns places (x, y) in the frame's pixels, drawn independently from a soft mask scaled to sum to 1.

    A cell of the mask is drawn by its value, and a place in it uniformly.

    Args:
        soft: Mask of one object on the frame's cells, somewhere positive.
        fit: Of the frame.
        prompts: Number of prompts.
        points: Number of points of each.
        random: Where the draws come from.
    """
    chances = soft.double().clamp(min=0).flatten().numpy()
    cells = random.choice(len(chances), size=(prompts, points), p=chances / chances.sum())
    rows, columns = np.divmod(cells, soft.shape[1])
    inside = random.random((2, prompts, points))
    x = (columns + inside[0]) * fit.size[1] / soft.shape[1]
    y = (rows + inside[1]) * fit.size[0] / soft.shape[0]
    return torch.from_numpy(np.stack([x, y], -1)).float()


def soft_overlaps(soft: Float[Tensor, "h w"], masks: Bool[Tensor, "p h w"]) -> Float[Tensor, " p"]:
    """Returns how well each mask fits a soft mask in [0, 1]: sum of minima over sum of maxima.

    The soft mask must not be scaled to sum to 1 here, as the paper's formula can be read: then the smallest mask
    always wins.
    """
    # With a mask of zeros and ones the minimum is the soft value inside; the maximum is 1 inside, the value outside.
    inside = (soft * masks).sum((1, 2))
    return inside / (masks.sum((1, 2)) + soft.sum() - inside).clamp(min=1e-9)


def propagated_logits(soft: Float[Tensor, "m h w"]) -> Float[Tensor, "n h w"]:
    """Returns logits that say what soft masks say: positive exactly where an object beats background and all others.

    Args:
        soft: Masks in [0, 1], background first.
    """
    logs = soft.clamp(min=0).log().clamp(min=_NOWHERE)
    logits = torch.empty_like(logs[1:])
    for row in range(len(logits)):
        others = torch.cat([logs[: row + 1], logs[row + 2 :]]).amax(0)
        logits[row] = logs[row + 1] - others
    return torch.where(soft[1:] > 0, logits, _NOWHERE)


def merge(logits: Float[Tensor, "n h w"], ids: Sequence[int]) -> LabelMap:
    """Returns the label map in which each pixel belongs to the largest logit, or to the background if none is positive.

    Ties go to the background and then to the earlier id.
    """
    names = np.array([0, *ids], np.uint16)
    stacked = torch.cat([logits.new_zeros(1, *logits.shape[1:]), logits])
    return names[stacked.argmax(0).cpu().numpy()]
