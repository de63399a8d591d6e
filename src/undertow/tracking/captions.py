"""What an object is called in a sentence: BLIP-2 on the object alone (DRIFT's row "Caption" of table 1).

The object is cut out with a margin and what is around it is masked, so that the sentence is of nothing else. The
processors of transformers are not used: they need torchvision, for what takes four lines.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from PIL import Image
from torch import Tensor
from transformers import Blip2ForConditionalGeneration, PreTrainedTokenizerFast

from undertow.backbones import Backbone, Conditioning
from undertow.backbones.adapters.unet_video import CLIP_MEAN, CLIP_STD
from undertow.backbones.weights.layout import find_problem
from undertow.backbones.weights.networks import quiet, read_network
from undertow.base import CueError, SettingsError, WeightsUnavailable, resolve_device, resolve_dtype

# Of the box's longer side, on each side.
MARGIN = 0.1


def object_alone(
    image: UInt8[np.ndarray, "h w 3"], mask: Bool[np.ndarray, "h w"], margin: float = MARGIN
) -> UInt8[np.ndarray, "ch cw 3"]:
    """Returns an object cut out of its frame with a margin, black around it.

    Args:
        image: The frame.
        mask: Where the object is.
        margin: Of the longer side of its box, on each side; less where the frame ends.

    Raises:
        CueError: if the mask is empty.
    """
    if not mask.any():
        raise CueError("the mask is empty, so there is nothing to caption; give another mask")
    ends = [(int(each.min()), int(each.max()) + 1) for each in np.nonzero(mask)]
    room = round(margin * max(end - start for start, end in ends))
    rows, columns = (slice(max(0, start - room), end + room) for start, end in ends)
    return np.where(mask[..., None], image, 0).astype(np.uint8)[rows, columns]


class Captioner:
    """A BLIP-2 that says in a sentence what an object is.

    Args:
        model: The network.
        tokenizer: Of its language model.
    """

    def __init__(self, model: Blip2ForConditionalGeneration, tokenizer: PreTrainedTokenizerFast):
        self.model: Any = model.eval().requires_grad_(False)
        self._tokenizer: Any = tokenizer

    @torch.no_grad()
    def __call__(
        self, image: UInt8[np.ndarray, "h w 3"], mask: Bool[np.ndarray, "h w"], *, most_tokens: int = 30
    ) -> str:
        """Returns the likeliest sentence, chosen greedily, for the object under `mask`.

        Raises:
            CueError: if the mask is empty, or the model has nothing to say.
        """
        pixels = self._pixels(object_alone(image, mask))
        with quiet():
            tokens = self.model.generate(pixel_values=pixels, max_new_tokens=most_tokens, do_sample=False)
        sentence = str(self._tokenizer.decode(tokens[0], skip_special_tokens=True)).strip()
        if not sentence:
            raise CueError("the captioner says nothing of the object; give --caption or --class-name")
        return sentence

    def _pixels(self, image: UInt8[np.ndarray, "h w 3"]) -> Float[Tensor, "1 3 s s"]:
        side = self.model.config.vision_config.image_size
        square = np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC), dtype=np.float32)
        pixels = (torch.from_numpy(square) / 255 - torch.tensor(CLIP_MEAN)) / torch.tensor(CLIP_STD)
        pixels = pixels.permute(2, 0, 1)[None]
        return pixels.to(self.model.device, self.model.vision_model.dtype)


def embed_caption(backbone: Backbone, sentence: str) -> Conditioning:
    """Returns the conditioning of a caption, without its last words where the model does not read as many.

    Raises:
        SettingsError: if not even its first word can be read.
    """
    words = sentence.split()
    while True:
        try:
            return backbone.condition(" ".join(words))
        except SettingsError:
            if len(words) < 2:
                raise
            words.pop()


def load_captioner(
    folder: Path | str, *, device: str | torch.device | None = None, dtype: str | None = None
) -> Captioner:
    """Returns a captioner from a folder with the files of a BLIP-2 model, as transformers writes them.

    Args:
        folder: With config.json, model.safetensors (or its shards) and tokenizer.json; for example a download of
            Salesforce/blip2-opt-2.7b. Nothing is downloaded.
        device: Where to run; `None` or "auto" for the best there is.
        dtype: Number type of the weights; `None` or "auto" for bfloat16 if the device has it, else float32.

    Raises:
        WeightsUnavailable: if a file is missing or damaged, or the model is no BLIP-2.
    """
    path = Path(folder).expanduser()
    problem = find_problem(path, "transformers")
    if problem is None and not (path / "tokenizer.json").is_file():
        problem = f"{path} has no tokenizer.json"
    if problem is not None:
        raise WeightsUnavailable(
            f"there is no captioner: {problem}; give a folder with a BLIP-2 model such as Salesforce/blip2-opt-2.7b, "
            "or write the caption yourself (--caption)"
        )
    try:
        facts = json.loads((path / "config.json").read_text(encoding="utf-8"))
        kind, image_token = facts.get("model_type"), facts.get("image_token_index", facts.get("image_token_id"))
        tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(path / "tokenizer.json"))
    except Exception as error:  # tokenizers raises bare Exception
        raise WeightsUnavailable(f"the captioner in {path} does not load ({error}); download it again") from error
    if kind != "blip-2":
        raise WeightsUnavailable(f"{path} holds a model of type '{kind}'; give a BLIP-2 model")
    if image_token is None:
        raise WeightsUnavailable(f"{path}/config.json names no image token (image_token_index); download newer files")
    where = device if isinstance(device, torch.device) else resolve_device(device)
    network = read_network(Blip2ForConditionalGeneration, path, "", resolve_dtype(dtype, where))
    return Captioner(network.to(where), tokenizer)
