"""Promptable segmenters behind one protocol: SAM and SAM 2 in transformers' classes, with our own preprocessing.

Frames are laid out in the square that a segmenter sees and embedded in batches, once each; prompts are answered from
the embedding of one frame, as many as there are.
"""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor
from torch.nn.functional import interpolate, pad

from undertow.base import SettingsError

if TYPE_CHECKING:
    from transformers import Sam2Model, SamModel


# The ImageNet statistics that every published SAM and SAM 2 was trained with.
_MEAN = (0.485, 0.456, 0.406)
_DEVIATION = (0.229, 0.224, 0.225)


def normalise(images: Float[Tensor, "t 3 h w"]) -> Float[Tensor, "t 3 h w"]:
    """Returns images with values of 0 to 255 as SAM reads them: minus the mean, divided by the deviation."""
    mean, deviation = (torch.tensor(each, device=images.device)[:, None, None] for each in (_MEAN, _DEVIATION))
    return (images / 255 - mean) / deviation


@dataclass(frozen=True)
class Fit:
    """Where a frame lies in a segmenter's square input.

    Attributes:
        size: (height, width) of the frame in pixels.
        inner: (height, width) that it has in the input, at the input's top left.
        side: Of the input in pixels; the rest is padding.
        cells: Of the mask grid along each side of the input.
    """

    size: tuple[int, int]
    inner: tuple[int, int]
    side: int
    cells: int

    @classmethod
    def padded(cls, size: tuple[int, int], side: int, cells: int) -> "Fit":
        """Returns the layout of SAM: the longer side fills the input, the aspect ratio is kept."""
        scale = side / max(size)
        height, width = (max(1, int(each * scale + 0.5)) for each in size)
        return cls(size, (height, width), side, cells)

    @classmethod
    def squashed(cls, size: tuple[int, int], side: int, cells: int) -> "Fit":
        """Returns the layout of SAM 2: both sides fill the input."""
        return cls(size, (side, side), side, cells)

    @property
    def grid(self) -> tuple[int, int]:
        """(height, width) in mask cells that belong to the frame; a cell that it only grazes is left out."""
        height, width = (max(1, round(each * self.cells / self.side)) for each in self.inner)
        return height, width

    def places(self, xy: Float[Tensor, "*n 2"]) -> Float[Tensor, "*n 2"]:
        """Returns places (x, y) of the frame as places of the input; both count pixel centres from 0.5."""
        factors = [inner / size for inner, size in zip(self.inner, self.size, strict=True)]
        return xy * torch.tensor(factors[::-1], device=xy.device)

    def pixels(self, images: Float[Tensor, "t 3 h w"]) -> Float[Tensor, "t 3 side side"]:
        """Returns images of 0 to 255 resized (bilinear, antialiased), normalised, and padded with zeros."""
        small = interpolate(images, size=self.inner, mode="bilinear", antialias=True, align_corners=False)
        down, across = (self.side - each for each in self.inner)
        return pad(normalise(small), (0, across, 0, down))

    def to_grid(self, soft: Float[Tensor, "n h w"]) -> Float[Tensor, "n grid_h grid_w"]:
        """Returns soft masks of the frame, at any resolution, on the frame's mask cells (bilinear, antialiased)."""
        return _resized(soft, self.grid)

    def to_frame(self, logits: Float[Tensor, "n grid_h grid_w"]) -> Float[Tensor, "n h w"]:
        """Returns mask values of the frame's cells at the size of the frame (bilinear)."""
        return _resized(logits, self.size)

    def whole(self, masks: Float[Tensor, "n grid_h grid_w"], outside: float) -> Float[Tensor, "n cells cells"]:
        """Returns masks of the frame's cells as masks of the whole input, with the value `outside` in the padding."""
        down, across = (self.cells - each for each in self.grid)
        return pad(masks, (0, across, 0, down), value=outside)


def _resized(maps: Float[Tensor, "n a b"], size: Sequence[int]) -> Float[Tensor, "n h w"]:
    if not len(maps):  # which interpolate refuses
        return maps.new_zeros(0, *size)
    return interpolate(maps[None], size=tuple(size), mode="bilinear", antialias=True, align_corners=False)[0]


# What a mask prompt says of the padding: certainly not the object.
_OUTSIDE = -8.0


@dataclass(frozen=True)
class Embedding:
    """What a segmenter keeps of one frame: its features, finest first and the frame's own embedding last."""

    features: tuple[Float[Tensor, "1 c h w"], ...]
    fit: Fit


@dataclass(frozen=True)
class Prediction:
    """The masks that answer some prompts.

    Attributes:
        logits: Per prompt one mask, or three where several were asked for, on the frame's mask cells; positive inside.
        scores: The overlap with the true mask that the model expects of each.
    """

    logits: Float[Tensor, "p m grid_h grid_w"]
    scores: Float[Tensor, "p m"]

    def best(self) -> "Prediction":
        """Returns, of each prompt's masks, only the one with the highest score."""
        rows = torch.arange(len(self.scores), device=self.scores.device)
        winner = self.scores.argmax(1)
        return Prediction(self.logits[rows, winner, None], self.scores[rows, winner, None])


class Segmenter(Protocol):
    """A model that turns prompts into masks."""

    def embed(self, images: UInt8[np.ndarray, "t h w 3"]) -> list[Embedding]:
        """Returns the embedding of each RGB frame; frames of one call go through the network together."""

    def predict(
        self,
        embedding: Embedding,
        *,
        points: Float[Tensor, "p k 2"] | None = None,
        labels: Int[Tensor, "p k"] | None = None,
        boxes: Float[Tensor, "p 4"] | None = None,
        masks: Float[Tensor, "p grid_h grid_w"] | None = None,
        multimask: bool = False,
    ) -> Prediction:
        """Returns the answers to `p` prompts about one frame, in one batch.

        Args:
            embedding: Of the frame.
            points: Places (x, y) in the frame's pixels.
            labels: Of the points: 1 for inside the object, 0 for outside; all inside if left out.
            boxes: (x0, y0, x1, y1) in the frame's pixels.
            masks: Logits on the frame's mask cells, such as those of an earlier answer.
            multimask: Whether to answer with three masks, for prompts that may mean several things.
        """


class OneFrame:
    """A segmenter that keeps the embedding of what it embedded last: prompts about a frame may come one by one."""

    def __init__(self, segmenter: Segmenter) -> None:
        """Takes the segmenter, which has embedded nothing yet."""
        self._segmenter, self.predict = segmenter, segmenter.predict
        self._key, self._kept = b"", list[Embedding]()

    def embed(self, images: UInt8[np.ndarray, "t h w 3"]) -> list[Embedding]:
        """Returns the embedding of each frame; see `Segmenter`."""
        key = sha256(np.ascontiguousarray(images).data).digest() + repr(images.shape).encode()
        if key != self._key:
            self._kept, self._key = self._segmenter.embed(images), key
        return self._kept


class TransformersSegmenter:
    """What SAM and SAM 2 have in common; each says how frames lie in its input and where its features are.

    Args:
        model: The network, frozen and run as it is.
        name: What users call it.
    """

    def __init__(self, model: "SamModel | Sam2Model", name: str = ""):
        self.model: Any = model.eval().requires_grad_(False)
        self.name = name

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return self.model.device

    @torch.no_grad()
    def embed(self, images: UInt8[np.ndarray, "t h w 3"]) -> list[Embedding]:
        """Returns the embedding of each frame; see `Segmenter`."""
        fit = self.fit((images.shape[1], images.shape[2]))
        # Some frames arrive read-only or with turned strides; torch takes neither.
        frames = torch.from_numpy(np.array(images)).to(self.device).permute(0, 3, 1, 2).float()
        levels = self._features(fit.pixels(frames).to(self.model.dtype))
        return [Embedding(tuple(level[i : i + 1] for level in levels), fit) for i in range(len(images))]

    @torch.no_grad()
    def predict(
        self,
        embedding: Embedding,
        *,
        points: Float[Tensor, "p k 2"] | None = None,
        labels: Int[Tensor, "p k"] | None = None,
        boxes: Float[Tensor, "p 4"] | None = None,
        masks: Float[Tensor, "p grid_h grid_w"] | None = None,
        multimask: bool = False,
    ) -> Prediction:
        """Returns the answers to `p` prompts; see `Segmenter`.

        Raises:
            SettingsError: if there is no prompt, or kinds of prompts differ in number.
        """
        given = [each for each in (points, boxes, masks) if each is not None]
        if not given or len({len(each) for each in given}) != 1:
            raise SettingsError("give points, boxes or masks, and as many of each kind as there are prompts")
        fit, count = embedding.fit, len(given[0])
        asked: dict[str, Tensor] = {}
        if points is not None:
            inside = torch.ones(points.shape[:2], dtype=torch.int64) if labels is None else labels
            # transformers counts pixel centres from 0 and adds the half itself.
            asked["input_points"] = (fit.places(points.float()) - 0.5)[:, None]
            asked["input_labels"] = inside[:, None]
        if boxes is not None:
            asked["input_boxes"] = fit.places(boxes.float().reshape(count, 2, 2)).reshape(count, 1, 4) - 0.5
        if masks is not None:
            asked["input_masks"] = fit.whole(masks.float(), _OUTSIDE)[:, None].to(self.model.dtype)
        # Prompts take the place of the batch, since masks can only be given per picture of a batch.
        features = [level.expand(count, -1, -1, -1) for level in embedding.features]
        answer = self.model(
            image_embeddings=self._joined(features),
            multimask_output=multimask,
            **{name: value.to(self.device) for name, value in asked.items()},
        )
        rows, columns = fit.grid
        return Prediction(answer.pred_masks[:, 0, :, :rows, :columns].float(), answer.iou_scores[:, 0].float())

    def fit(self, size: tuple[int, int]) -> Fit:
        """Returns how a frame of (height, width) lies in the input."""
        side = int(self.model.config.prompt_encoder_config.image_size)
        return self._fit(size, side, 4 * side // int(self.model.config.prompt_encoder_config.patch_size))

    @abstractmethod
    def _fit(self, size: tuple[int, int], side: int, cells: int) -> Fit: ...

    @abstractmethod
    def _features(self, pixels: Float[Tensor, "t 3 side side"]) -> Sequence[Tensor]: ...

    @abstractmethod
    def _joined(self, features: list[Tensor]) -> Tensor | list[Tensor]: ...


class SamSegmenter(TransformersSegmenter):
    """SAM (Kirillov et al. 2023, arXiv 2304.02643): frames keep their aspect ratio and are padded."""

    def _fit(self, size: tuple[int, int], side: int, cells: int) -> Fit:
        return Fit.padded(size, side, cells)

    def _features(self, pixels: Float[Tensor, "t 3 side side"]) -> Sequence[Tensor]:
        return [self.model.get_image_embeddings(pixels)]

    def _joined(self, features: list[Tensor]) -> Tensor:
        return features[-1]


class Sam2Segmenter(TransformersSegmenter):
    """SAM 2 on single frames (Ravi et al. 2024, arXiv 2408.00714): frames are squashed to a square."""

    def _fit(self, size: tuple[int, int], side: int, cells: int) -> Fit:
        return Fit.squashed(size, side, cells)

    def _features(self, pixels: Float[Tensor, "t 3 side side"]) -> Sequence[Tensor]:
        return self.model.get_image_embeddings(pixels)

    def _joined(self, features: list[Tensor]) -> list[Tensor]:
        return features
