"""What is learned from: clips with expressions and masks, and the latents of both, computed once and kept on disk."""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from undertow.backbones import Backbone
from undertow.backbones.fine_tuning import FineTuning
from undertow.base import SettingsError, write_tensors


@dataclass(frozen=True)
class Item:
    """A clip, or an image, and what is said of it.

    Attributes:
        images: RGB frames, of the size that is trained at.
        texts: Expressions.
        masks: What each of them names in each frame; nothing where it is not there.
        still: Whether each can be answered from the first frame alone.
    """

    images: UInt8[np.ndarray, "t h w 3"]
    texts: tuple[str, ...]
    masks: Bool[np.ndarray, "n t h w"]
    still: tuple[bool, ...]


class Source(Protocol):
    """Where items come from."""

    @property
    def name(self) -> str:
        """What it is called in the names of files."""

    @property
    def clips(self) -> bool:
        """Whether it has clips, and not only images."""

    @property
    def draws(self) -> int:
        """How many draws of the frames of an item there are."""

    def __len__(self) -> int:
        """Returns how many items there are."""

    def item(self, number: int, draw: int) -> Item:
        """Returns an item, of which every draw has other frames; the same for the same numbers."""

    def problems(self) -> Iterator[str]:
        """Yields what is wrong with the data, in sentences; reads all of it."""


@dataclass(frozen=True)
class Encoded:
    """An item as latents, float16, and its texts.

    Attributes:
        video: Of the frames.
        masks: Of the masks of each expression.
        texts: The expressions.
        still: Whether each can be answered from the first frame alone.
    """

    video: Float[Tensor, "f c h w"]
    masks: Float[Tensor, "n f c h w"]
    texts: tuple[str, ...]
    still: tuple[bool, ...]


class Latents:
    """Items as latents; each is computed when it is first asked for and kept in a folder.

    Args:
        folder: Where; it belongs to one backbone and one size.
        backbone: What encodes.
        about: How masks are painted.
        bfloat16: Whether to encode in bfloat16.
    """

    def __init__(self, folder: Path, backbone: Backbone, about: FineTuning, *, bfloat16: bool = False) -> None:
        self._folder, self._backbone, self._about, self._bfloat16 = folder, backbone, about, bfloat16

    def get(self, source: Source, number: int, draw: int) -> Encoded:
        """Returns an item of a source."""
        path = self._folder / source.name / f"{number:07d}-{draw}.safetensors"
        try:
            tensors = load_file(path)
            with safe_open(path, "pt") as opened:
                said = json.loads(opened.metadata()["said"])
            return Encoded(tensors["video"], tensors["masks"], tuple(said["texts"]), tuple(said["still"]))
        except (OSError, SafetensorError, KeyError, ValueError, TypeError):
            pass  # not there, or a write that was cut off
        made = self._encode(source.item(number, draw))
        path.parent.mkdir(parents=True, exist_ok=True)
        said = json.dumps({"texts": made.texts, "still": made.still})
        write_tensors(path, {"video": made.video, "masks": made.masks}, {"said": said})
        return made

    @torch.no_grad()
    def _encode(self, item: Item) -> Encoded:
        encode = self._backbone.autoencoder.encode_clip
        device = self._backbone.device
        pixels = torch.tensor(item.images, device=device).movedim(-1, 1).float() / 127.5 - 1
        with torch.autocast(device.type, torch.bfloat16, enabled=self._bfloat16):
            video = encode(pixels)
            # Expressions often name the same thing.
            same: dict[bytes, Tensor] = {}
            for mask in item.masks:
                key = mask.tobytes()
                if key not in same:
                    same[key] = encode(self._about.paint(torch.from_numpy(mask).to(device)))
        masks = torch.stack([same[mask.tobytes()] for mask in item.masks])
        video, masks = (each.half().cpu().contiguous() for each in (video, masks))
        return Encoded(video, masks, item.texts, item.still)


class Texts:
    """States of texts, as the fine-tuned model reads them; each is computed once and kept in a folder.

    Args:
        folder: Where; it belongs to one text encoder.
        read: Returns the states of a text.
    """

    def __init__(self, folder: Path, read: Callable[[str], Float[Tensor, "n d"]]) -> None:
        self._folder, self._read = folder, read
        self._known: dict[str, Tensor] = {}

    def get(self, texts: Sequence[str]) -> Float[Tensor, "b n d"]:
        """Returns the states of some texts, float32.

        Raises:
            SettingsError: if they are not of one length.
        """
        states = [self._one(text) for text in texts]
        if len(lengths := {len(each) for each in states}) > 1:
            raise SettingsError(f"texts have {min(lengths)} to {max(lengths)} states; give --set pad_tokens=N")
        return torch.stack(states)

    def _one(self, text: str) -> Float[Tensor, "n d"]:
        if text not in self._known:
            path = self._folder / f"{hashlib.sha256(text.encode()).hexdigest()[:24]}.safetensors"
            try:
                states = load_file(path)["states"]
            except (OSError, SafetensorError, KeyError):
                states = self._read(text).detach().cpu().contiguous()
                path.parent.mkdir(parents=True, exist_ok=True)
                write_tensors(path, {"states": states})
            self._known[text] = states
        return self._known[text]
