"""Generators that were fine-tuned to answer with masks: what their answer means, and their weights on disk (REM).

A folder holds `fine_tuning.json`, which names the model that was fine-tuned, and `fine_tuning.safetensors`: weights
that take the place of that model's own, or pairs `NAME.lora_A` and `NAME.lora_B` whose product is added to the weight
NAME. Everything that was part of training and would be silently wrong otherwise is in the first of them.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from torch import Tensor

from undertow.backbones.weights.networks import StoredWeights
from undertow.base import SettingsError, WeightsUnavailable, remove_leftovers, write_json, write_tensors

ABOUT, WEIGHTS = "fine_tuning.json", "fine_tuning.safetensors"
Target = Literal["direct", "residual"]
MaskRange = Literal["0..1", "-1..1"]
MOST_SIDE, MOST_WINDOW = 4096, 1000


@dataclass(frozen=True)
class FineTuning:
    """How a generator was fine-tuned to segment what a text names.

    Attributes:
        backbone: The model that was fine-tuned, as `load` takes it.
        target: What the denoiser's prediction is: the latent of the masks (`direct`, as in REM), or the latent of the
            video less it (`residual`, as in FlowRVS, whose one Euler step leads from the video to the masks).
        mask_range: What pixels outside and inside a mask were when it was encoded; images lie in -1..1.
        pad_tokens: Number of text states, cut or padded with zeros; `None` for as many as the model is given.
        t0_noise: Whether the video's latents have the noise of timestep 0 (`ddpm`).
        timestep: What the network is given.
        size: (height, width) of the input in pixels; `None` for the usual one of the frames.
        window: Frames that are seen together.
        spacing: How far apart, at most, neighbours of a window are in the video: `window * spacing` frames are covered
            by windows that lie between one another's frames.
        sheet: Whether the frames of a window are one picture, below one another; how an image model sees motion.
        threshold: Score above which a pixel belongs to a mask. 0.5 is the middle between outside and inside; a small
            model is unsure, and its scores stay below.
        trained: Which weights were trained, for people to read.
        scale: Factor of the products of pairs, if there are any.
    """

    backbone: str
    target: Target = "direct"
    mask_range: MaskRange = "0..1"
    pad_tokens: int | None = None
    t0_noise: Literal["ddpm", "none"] = "none"
    timestep: int = 0
    size: tuple[int, int] | None = None
    window: int = 73
    spacing: int = 1
    sheet: bool = False
    threshold: float = 0.5
    trained: str = "full"
    scale: float = 1.0

    def __post_init__(self) -> None:
        for name, kind in (("target", Target), ("mask_range", MaskRange), ("t0_noise", Literal["ddpm", "none"])):
            if (value := getattr(self, name)) not in get_args(kind):
                raise SettingsError(f"{name} is {value!r}; give one of {', '.join(get_args(kind))}")
        frames = (1, MOST_WINDOW)
        numbers = {"pad_tokens": (1, 4096), "timestep": (0, 1000), "window": frames, "spacing": frames}
        for name, (least, most) in numbers.items():
            value = getattr(self, name)
            if not (value is None and name == "pad_tokens") and not (type(value) is int and least <= value <= most):
                raise SettingsError(f"{name} is {value!r}; give a whole number from {least} to {most}")
        if not isinstance(self.sheet, bool):
            raise SettingsError(f"sheet is {self.sheet!r}; give true or false")
        if not isinstance(self.threshold, float) or not 0 < self.threshold < 1:
            raise SettingsError(f"threshold is {self.threshold!r}; give a number between 0 and 1")
        if not isinstance(self.scale, int | float) or not 0 < self.scale < 1e6:
            raise SettingsError(f"scale is {self.scale!r}; give a number above 0")
        sides = (1, 1) if self.size is None else self.size
        if len(sides) != 2 or not all(type(side) is int and 0 < side <= MOST_SIDE for side in sides):
            raise SettingsError(f"size is {self.size!r}; give height and width in pixels, at most {MOST_SIDE}")

    @property
    def ends(self) -> tuple[float, float]:
        """The values of pixels outside and inside a mask."""
        low, high = self.mask_range.split("..")
        return float(low), float(high)

    def target_of(self, video: Tensor, masks: Tensor) -> Tensor:
        """Returns what the denoiser is to predict for latents of a video and of its masks."""
        return masks if self.target == "direct" else video - masks

    def masks_of(self, prediction: Tensor, video: Tensor) -> Tensor:
        """Returns the latents of the masks that a prediction for latents of a video stands for."""
        return prediction if self.target == "direct" else video - prediction

    def paint(self, masks: Tensor) -> Float[Tensor, "t 3 h w"]:
        """Returns masks (t, h, w) as the RGB frames that are encoded."""
        low, high = self.ends
        return (low + (high - low) * masks.float())[:, None].expand(-1, 3, -1, -1)

    def scores_of(self, pixels: Float[Tensor, "t 3 h w"]) -> Float[Tensor, "t h w"]:
        """Returns how far decoded frames are from outside (0) to inside (1); see `threshold`."""
        low, high = self.ends
        return (pixels.mean(1) - low) / (high - low)

    def fitted(self, states: Float[Tensor, "n d"]) -> tuple[Float[Tensor, "m d"], bool]:
        """Returns the states of a text as they were in training, and whether some that say something were cut off."""
        if self.pad_tokens is None:
            return states, False
        cut, rest = states[: self.pad_tokens], states[self.pad_tokens :]
        missing = states.new_zeros(self.pad_tokens - len(cut), states.shape[1])
        return torch.cat([cut, missing]), bool(rest.any())


def is_fine_tuning(folder: Path) -> bool:
    """Returns whether a folder holds what was learned by fine-tuning another model."""
    return (folder / ABOUT).is_file()


def read_fine_tuning(folder: Path) -> FineTuning:
    """Returns the description in a folder.

    Raises:
        SettingsError: naming the file, if it is damaged, lacks something, or has a value that is not known.
    """
    path = folder / ABOUT
    try:
        known = json.loads(path.read_text("utf-8"))
        if not isinstance(known, dict) or not isinstance(known.get("backbone"), str):
            raise SettingsError("it names no backbone")
        if strange := sorted(known.keys() - {each.name for each in fields(FineTuning)}):
            raise SettingsError(f"it has '{strange[0]}', which is not known")
        size = known.get("size")
        return FineTuning(**known | {"size": tuple(size) if isinstance(size, list) else None})
    except (OSError, ValueError, RecursionError, SettingsError) as error:
        raise SettingsError(f"'{path}' does not say how a model was fine-tuned ({error}); correct it") from error


def write_fine_tuning(folder: Path, about: FineTuning, weights: Mapping[str, Tensor]) -> None:
    """Writes a folder that `load` takes as a model."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in (ABOUT, WEIGHTS):
        remove_leftovers(folder / name)
    write_tensors(folder / WEIGHTS, {name: each.detach().cpu().contiguous() for name, each in weights.items()})
    write_json(folder / ABOUT, asdict(about))


class FineTunedWeights(StoredWeights):
    """The weights of a denoiser, with those learned by fine-tuning in the place of its own or added to them."""

    def __init__(self, base: StoredWeights, folder: Path, scale: float) -> None:
        """Looks at what a folder holds.

        Raises:
            WeightsUnavailable: if its file is absent or damaged, or a pair is not whole.
        """
        path = folder / WEIGHTS
        try:
            with safe_open(path, "pt") as opened:
                names = set(opened.keys())
        except (OSError, SafetensorError) as error:
            raise WeightsUnavailable(f"'{path}' cannot be read ({error}); fetch the model again") from error
        self.pairs = {name.removesuffix(".lora_A") for name in names if name.endswith(".lora_A")}
        own = {name for name in names if not name.endswith((".lora_A", ".lora_B"))}
        broken = [name for name in sorted(self.pairs) if f"{name}.lora_B" not in names]
        if broken or len(names) != len(own) + 2 * len(self.pairs):
            raise WeightsUnavailable(f"'{path}' has half of a pair (of {(broken or ['?'])[0]}); fetch the model again")
        super().__init__(base.files | dict.fromkeys(own, path), base.stored, base.parts)
        self.own, self._path, self._scale = own, path, scale

    def tensors(self, names: Iterable[str]) -> Iterator[tuple[str, Tensor]]:
        """Yields some weights with their names, products added."""
        for name, weight in super().tensors(names):
            if name not in self.pairs:
                yield name, weight
                continue
            with safe_open(self._path, "pt") as opened:
                low, high = (opened.get_tensor(f"{name}.lora_{which}").float() for which in "AB")
            yield name, (weight.float() + self._scale * high @ low).to(weight.dtype)

    def digest(self) -> str:
        """Returns 16 hexadecimal digits of the pairs, which weights alone do not tell."""
        digest = hashlib.sha256(str(self._scale).encode())
        with safe_open(self._path, "pt") as opened:
            for name in sorted(opened.keys()) if self.pairs else ():
                digest.update(name.encode() + opened.get_tensor(name).float().numpy().tobytes())
        return digest.hexdigest()[:16]


def fine_tuned(backbone: Any, folder: Path, about: FineTuning) -> Any:
    """Returns a backbone of which nothing was read yet, with the weights that a folder holds.

    Raises:
        WeightsUnavailable: if the folder's file is damaged.
        SettingsError: if it is of another model.
    """
    network = backbone._network
    if network.stored is None:
        raise SettingsError(f"'{about.backbone}' is not read from files, so that nothing can take their place")
    weights = FineTunedWeights(network.stored, folder, about.scale)
    known = set(network.module.state_dict())
    if strange := sorted((weights.own | weights.pairs) - known):
        raise SettingsError(
            f"'{folder}' has a weight '{strange[0]}' that '{about.backbone}' does not have; it is of another model"
        )
    network.stored = weights
    # Some may have been read to tell text encoders apart; they are read again, from the folder.
    empty = {n: each.to("meta") for n, each in network.module.state_dict().items() if n in weights.own | weights.pairs}
    network.module.load_state_dict(empty, strict=False, assign=True)
    backbone.fine_tuning = about
    backbone.fine_tuned_digest = weights.digest()
    return backbone
