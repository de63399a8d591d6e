"""Words for clusters: pictures of a cluster are compared with a vocabulary by a CLIP model that lies in a folder.

Preprocessing is written out, as the libraries' own would need torchvision: crop, bicubic to the model's size, CLIP's
mean and deviation, or those in preprocessor_config.json.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from PIL import Image
from torch import Tensor
from transformers import CLIPModel, CLIPTokenizerFast

from undertow.backbones.adapters.unet_video import CLIP_MEAN, CLIP_STD
from undertow.backbones.weights.networks import read_network
from undertow.base import SettingsError, WeightsUnavailable, resolve_device
from undertow.parsing.naming import UNKNOWN

# Radford et al., "Learning transferable visual models from natural language supervision" (2021).
TEMPLATES = ("a photo of a {}.", "a photo of the {}.", "a picture of {} in a scene.")
# What a cluster must be more like than, to have a name at all.
ANYTHING = ("a photo.", "a photo of something.", "a blurred picture of a part of something.")
# How much of the picture around a cluster stays: context helps, but must not be what is named.
DIM, MARGIN = 0.25, 0.1


@dataclass(frozen=True)
class Named:
    """What a cluster is taken for.

    Attributes:
        name: A word of the vocabulary, or "unknown".
        score: Probability of the best word among all of them and what stands for anything.
    """

    name: str
    score: float


@dataclass(frozen=True)
class ClipNamer:
    """Names clusters by a CLIP model and a vocabulary.

    Attributes:
        model: The network.
        words: The vocabulary.
        texts: Unit vectors: of each word, then of what stands for anything.
        mean: Of the pixels, by channel.
        deviation: Likewise.
        threshold: Least probability of a name.
    """

    model: Any
    words: tuple[str, ...]
    texts: Float[Tensor, "v d"]
    mean: tuple[float, float, float] = CLIP_MEAN
    deviation: tuple[float, float, float] = CLIP_STD
    threshold: float = 0.3

    @classmethod
    def load(
        cls, folder: Path | str, words: Sequence[str], *, device: str | None = None, threshold: float = 0.3
    ) -> "ClipNamer":
        """Returns a namer from a local folder, as transformers writes CLIP models: weights, vocab.json, merges.txt.

        Raises:
            SettingsError: if there are no words, or the folder is of another kind of model.
            WeightsUnavailable: if files are missing or damaged.
        """
        folder = Path(folder).expanduser()
        if not words:
            raise SettingsError("the vocabulary is empty; give a file with one word a line")
        try:
            kind = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("model_type")
        except (OSError, ValueError, AttributeError, RecursionError) as error:
            raise WeightsUnavailable(
                f"'{folder}' holds no model: config.json is missing or damaged; check the path"
            ) from error
        if kind != "clip":
            raise SettingsError(f"'{folder}' holds a model of type '{kind}'; give a CLIP model of transformers")
        model = read_network(CLIPModel, folder, "", torch.float32).to(resolve_device(device)).eval()
        missing = [name for name in ("vocab.json", "merges.txt") if not (folder / name).is_file()]
        if missing:
            raise WeightsUnavailable(f"'{folder}' has no {missing[0]}; download the model again")
        tokenizer = CLIPTokenizerFast.from_pretrained(folder, local_files_only=True)
        mean, deviation = _statistics(folder)
        rows = [_text(model, tokenizer, [each.format(word) for each in TEMPLATES]) for word in words]
        rows.append(_text(model, tokenizer, ANYTHING))
        return cls(model, tuple(words), torch.stack(rows), mean, deviation, threshold)

    @torch.no_grad()
    def name(self, pictures: Sequence[UInt8[np.ndarray, "_ _ 3"]]) -> Named:
        """Returns what some pictures of one cluster show together, by the mean of their vectors.

        Raises:
            SettingsError: if there is no picture.
        """
        if not pictures:
            raise SettingsError("a cluster without pictures cannot be named; give at least one")
        pixels = torch.stack([self.prepared(picture) for picture in pictures]).to(self.texts.device)
        image = _unit(_vectors(self.model.get_image_features(pixel_values=pixels)).float()).mean(0)
        logits = self.model.logit_scale.exp().float() * self.texts @ _unit(image)
        shares = logits.softmax(0)
        best = int(shares[:-1].argmax())
        score = float(shares[best])
        sure = score >= self.threshold and best == int(shares.argmax())
        return Named(self.words[best] if sure else UNKNOWN, score)

    def prepared(self, picture: UInt8[np.ndarray, "_ _ 3"]) -> Float[Tensor, "3 s s"]:
        """Returns a picture as the model reads it: squared with its mean colour, resized, normalised."""
        side = int(self.model.config.vision_config.image_size)
        height, width = picture.shape[:2]
        longest = max(height, width)
        square = np.empty((longest, longest, 3), np.uint8)
        square[:] = picture.mean((0, 1)).round()
        top, left = (longest - height) // 2, (longest - width) // 2
        square[top : top + height, left : left + width] = picture
        resized = Image.fromarray(square).resize((side, side), Image.Resampling.BICUBIC)
        pixels = torch.from_numpy(np.asarray(resized, np.float32).copy() / 255).movedim(-1, 0)
        mean, deviation = (torch.tensor(each)[:, None, None] for each in (self.mean, self.deviation))
        return (pixels - mean) / deviation


def crop_of(image: UInt8[np.ndarray, "h w 3"], inside: Bool[np.ndarray, "h w"]) -> UInt8[np.ndarray, "_ _ 3"]:
    """Returns the part of a frame around a cluster, with what is not of the cluster dimmed towards grey."""
    rows, columns = (np.flatnonzero(inside.any(axis)) for axis in (1, 0))
    pad = int(MARGIN * max(np.ptp(rows), np.ptp(columns))) + 1
    top, bottom = max(0, rows[0] - pad), rows[-1] + pad + 1
    left, right = max(0, columns[0] - pad), columns[-1] + pad + 1
    part = image[top:bottom, left:right].astype(np.float32)
    mask = inside[top:bottom, left:right, None]
    return np.where(mask, part, DIM * part + (1 - DIM) * 127).round().astype(np.uint8)


def _text(model: Any, tokenizer: CLIPTokenizerFast, sentences: Sequence[str]) -> Float[Tensor, "d"]:
    """Returns the unit vector that some sentences have on average."""
    longest = int(model.config.text_config.max_position_embeddings)
    tokens: Mapping[str, Tensor] = tokenizer(
        list(sentences), padding=True, truncation=True, max_length=longest, return_tensors="pt"
    ).to(model.device)
    with torch.no_grad():
        features = _vectors(model.get_text_features(**tokens)).float()
    return _unit(_unit(features).mean(0))


def _vectors(output: Any) -> Tensor:
    """Returns projected features, which some versions of transformers wrap."""
    found: Tensor = output if isinstance(output, Tensor) else output.pooler_output
    return found


def _unit(vectors: Float[Tensor, "*n d"]) -> Float[Tensor, "*n d"]:
    return vectors / vectors.norm(dim=-1, keepdim=True).clamp(min=1e-8)


def _statistics(folder: Path) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Returns mean and deviation of the pixels that a model was trained with, CLIP's if its folder does not say."""
    path = folder / "preprocessor_config.json"
    if not path.is_file():
        return CLIP_MEAN, CLIP_STD
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        mean, deviation = ([float(each) for each in value[name]] for name in ("image_mean", "image_std"))
        return (mean[0], mean[1], mean[2]), (deviation[0], deviation[1], deviation[2])
    except (OSError, ValueError, KeyError, TypeError, IndexError, RecursionError) as error:
        raise WeightsUnavailable(f"'{path}' is damaged; download the model again") from error
