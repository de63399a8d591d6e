"""Tokenizers of transformers: reading, making and using them."""

import json
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from jaxtyping import Int
from torch import Tensor
from transformers import CLIPTokenizerFast

from undertow.backbones.weights.networks import quiet
from undertow.base import WeightsUnavailable


def read_tokenizer(kind: Any, folder: Path, *, most: int | None = None) -> Any:
    """Returns a tokenizer of transformers, for a model that reads `most` tokens; `None` leaves its own number.

    Raises:
        WeightsUnavailable: if it is absent or damaged, or makes more tokens than the model reads.
    """
    try:
        with quiet():
            tokenizer = kind.from_pretrained(folder, local_files_only=True)
    except Exception as error:
        reason = textwrap.shorten(str(error) or type(error).__name__, 160)
        raise WeightsUnavailable(
            f"the tokenizer in {folder} does not load ({reason}); download the model again"
        ) from error
    if most is not None and not 2 <= tokenizer.model_max_length <= most:
        raise WeightsUnavailable(
            f"the tokenizer in {folder} makes {tokenizer.model_max_length} tokens and the model reads {most}; "
            "download the model again"
        )
    return tokenizer


def make_tokenizer(vocabulary: Mapping[str, int], merges: Sequence[tuple[str, str]], length: int) -> CLIPTokenizerFast:
    """Returns CLIP's tokenizer with other pieces, made of files since transformers 4 knows no other way."""
    with TemporaryDirectory() as folder:
        (Path(folder) / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
        lines = ["#version: 0.2", *(" ".join(pair) for pair in merges)]
        (Path(folder) / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
        tokenizer: CLIPTokenizerFast = CLIPTokenizerFast.from_pretrained(folder, model_max_length=length)
    return tokenizer


def tokenized(tokenizer: Any, text: str, **options: Any) -> tuple[Int[Tensor, "1 tokens"], tuple[tuple[int, int], ...]]:
    """Returns the numbers of a text's tokens, and the characters (start, end) that each stands for."""
    read = tokenizer(text, return_tensors="pt", return_offsets_mapping=True, **options)
    return read.input_ids, tuple((int(start), int(end)) for start, end in read.offset_mapping[0])
