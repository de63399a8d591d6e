"""What a transformer reads of a text, as its pipeline computes it; the empty text is computed once and kept.

Text encoders weigh many gigabytes, and tracking needs nothing but the empty text. Its states are a constant of the
model, so they are kept in a small file, and from then on the encoder is never loaded again, or need not even be there.
Encoders run on the CPU whatever the device, the large ones in bfloat16, so that a text means the same everywhere.
"""

import hashlib
import html
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import lru_cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as functional
from huggingface_hub import constants
from jaxtyping import Float, Int
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from transformers import (
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizerFast,
    LlamaModel,
    PreTrainedTokenizerFast,
    Qwen3Model,
    T5EncoderModel,
    T5TokenizerFast,
    UMT5EncoderModel,
)

from undertow.backbones.adapters.dit_kinds import Padding
from undertow.backbones.observation import Conditioning, Spans
from undertow.backbones.weights.layout import read_config
from undertow.backbones.weights.networks import read_network
from undertow.backbones.weights.tokenizers import read_tokenizer, tokenized
from undertow.base import SettingsError, WeightsUnavailable, write_tensors

ReadText = Callable[[str], Conditioning]

# HunyuanVideo asks a language model to describe the video and reads its states of the text. Those of the first tokens,
# which are the same for every text, are left away.
HUNYUAN_PREAMBLE, HUNYUAN_LAYER = 95, -3
# FLUX.2 klein reads three layers of Qwen3, to which the text is what a user says, and which is not to think aloud.
QWEN_LAYERS = (9, 18, 27)
QWEN_BEFORE = "<|im_start|>user\n"
QWEN_AFTER = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"


def text_reader(
    folder: Path,
    name: str,
    longest: int,
    components: Sequence[str] = ("text_encoder",),
    padding: Padding = "tokens",
) -> ReadText:
    """Returns what reads texts with the encoders of a model, loaded anew for every text and one after the other.

    At most `longest` tokens of a text are read; `tiny-video` goes by its tokenizer. The `components` must be there. For
    `padding` see `Kind`.
    """
    readers: dict[str, Callable[[Path, str, int], Conditioning]] = {
        "clip_text_model": _read_clip,
        "t5": partial(_read_t5, padding=padding),
        "umt5": _read_umt5,
        "llama": _read_hunyuan,
        "qwen3": _read_flux2,
        "clip_text_model + t5": _read_flux,
        "clip_text_model + clip_text_model": _read_sd3,
    }

    def read(text: str) -> Conditioning:
        configs = [folder / component / "config.json" for component in components]
        if absent := [config for config in configs if not config.is_file()]:
            raise WeightsUnavailable(
                f"{folder} has no {absent[0].parent.name.replace('_', ' ')} and the states of this text are not kept "
                f"here; fetch the whole model (`undertow models fetch {name}`) and use it once"
            )
        types = [str(read_config(config, text=True).get("model_type")) for config in configs]
        kind = types[0] if types[0] == "llama" else " + ".join(types)
        if kind not in readers:
            where = configs[0].parent if len(configs) == 1 else folder
            raise SettingsError(f"{where} holds a text encoder of type '{kind}', not {', '.join(readers)}")
        with torch.no_grad():
            return readers[kind](folder, text, longest)

    return read


def keeping_null_text(read: ReadText, null_text: str, file: Path) -> ReadText:
    """Returns a reader that computes the states of `null_text` once, and has them from `file` ever after."""

    def reading(text: str) -> Conditioning:
        if text != null_text:
            return read(text)
        with suppress(OSError, SafetensorError, KeyError):
            kept = load_file(file)
            return Conditioning(kept["states"], "null", text, kept.get("pooled"))
        states = read(text)
        tensors = {"states": states.tensor.contiguous()}
        tensors |= {} if states.pooled is None else {"pooled": states.pooled.contiguous()}
        # Where the cache cannot be written, the encoder is needed again next time, and nothing is wrong.
        with suppress(OSError):
            write_tensors(file, tensors)
        return states

    return reading


def null_text_file(reader: torch.nn.Module, null_text: str, cache: Path | str | None = None) -> Path:
    """Returns where the states of the null text are kept for models with the same text-reading weights.

    The `reader` is the module of the transformer that reads text states. Whoever trains another text encoder trains it
    too, so it tells encoders apart, also where the encoder is absent. A `cache` of `None` is the folder
    `undertow/null-text` beside the user's Hugging Face cache.
    """
    digest = hashlib.sha256(null_text.encode())
    for name, weight in reader.state_dict().items():
        # As bfloat16, so that the number type it was loaded in makes no difference.
        digest.update(f"{name} {tuple(weight.shape)}".encode())
        digest.update(weight.flatten()[:1000].to(torch.bfloat16).float().cpu().numpy().tobytes())
    folder = Path(constants.HF_HOME) / "undertow" / "null-text" if cache is None else Path(cache)
    return folder.expanduser() / f"{digest.hexdigest()[:16]}.safetensors"


def _read_clip(folder: Path, text: str, longest: int) -> Conditioning:
    """`tiny-video`: last hidden states, padded to the tokenizer's length."""
    encoder = _small_encoder(folder)
    ids, spans = _clip_ids(folder / "tokenizer", text, encoder, padding="max_length")
    return Conditioning(encoder(ids).last_hidden_state[0], "text", text, spans=spans)


@lru_cache(maxsize=1)
def _small_encoder(folder: Path) -> Any:
    """Returns a text encoder that is small enough to stay: training reads thousands of texts."""
    return read_network(CLIPTextModel, folder, "text_encoder", torch.float32).eval()


def _read_t5(folder: Path, text: str, longest: int, padding: Padding) -> Conditioning:
    """CogVideoX, LTX-Video, Mochi and Cosmos: the states of T5, padded each in its own way."""
    encoder = read_network(T5EncoderModel, folder, "text_encoder", torch.bfloat16).eval()
    ids, spans = _t5_ids(folder / "tokenizer", text, encoder.config, longest)
    count = ids.shape[1]
    if padding in ("tokens", "seen"):
        ids = functional.pad(ids, (0, longest - count), value=encoder.config.pad_token_id)
    states: Tensor = encoder(ids).last_hidden_state[0].float()
    if padding == "seen":
        states = states[:count]
    if padding == "zeros":
        states = functional.pad(states, (0, 0, 0, longest - count))
    return Conditioning(states, "text", text, spans=_padded(spans, len(states)))


def _read_umt5(folder: Path, text: str, longest: int) -> Conditioning:
    """Wan: the states of the text's own tokens, then zeros up to the length it reads."""
    cleaned = re.sub(r"\s+", " ", html.unescape(html.unescape(text))).strip()
    encoder = read_network(UMT5EncoderModel, folder, "text_encoder", torch.bfloat16).eval()
    ids, spans = _t5_ids(folder / "tokenizer", cleaned, encoder.config, longest)
    states: Tensor = encoder(ids).last_hidden_state[0].float()
    zeros = states.new_zeros(longest - len(states), states.shape[1])
    # Of a text that had to be cleaned, the places of its words are not those that were typed.
    known = _padded(spans, longest) if cleaned == text else ()
    return Conditioning(torch.cat([states, zeros]), "text", text, spans=known)


def _read_hunyuan(folder: Path, text: str, longest: int) -> Conditioning:
    """HunyuanVideo: a late layer of a language model, without padding, and CLIP's pooled state."""
    from diffusers.pipelines.hunyuan_video.pipeline_hunyuan_video import DEFAULT_PROMPT_TEMPLATE

    tokenizer = read_tokenizer(PreTrainedTokenizerFast, folder / "tokenizer")
    template = DEFAULT_PROMPT_TEMPLATE["template"]
    ids, spans = tokenized(tokenizer, template.format(text))
    _check_length(ids.shape[1] - HUNYUAN_PREAMBLE, longest)
    language = read_network(LlamaModel, folder, "text_encoder", torch.bfloat16).eval()
    states: Tensor = language(input_ids=ids, output_hidden_states=True).hidden_states[HUNYUAN_LAYER][0].float()
    pooled = _pooled(folder, "_2", text)
    own = _inside(spans[HUNYUAN_PREAMBLE:], template.index("{}"), len(text))
    return Conditioning(states[HUNYUAN_PREAMBLE:], "text", text, pooled, spans=own)


def _read_flux(folder: Path, text: str, longest: int) -> Conditioning:
    """FLUX.1: T5's states, without padding, which is not masked and would draw attention, and CLIP's pooled state."""
    states, spans = _t5_states(folder, "_2", text, longest)
    return Conditioning(states, "text", text, _pooled(folder, "", text), spans=spans)


def _read_flux2(folder: Path, text: str, longest: int) -> Conditioning:
    """FLUX.2 klein: three layers of a language model side by side, without padding, which is not masked."""
    tokenizer = read_tokenizer(PreTrainedTokenizerFast, folder / "tokenizer")
    ids, spans = tokenized(tokenizer, QWEN_BEFORE + text + QWEN_AFTER)
    _check_length(ids.shape[1], longest)
    language = read_network(Qwen3Model, folder, "text_encoder", torch.bfloat16).eval()
    seen = language(input_ids=ids, output_hidden_states=True).hidden_states
    states = torch.cat([seen[layer][0] for layer in QWEN_LAYERS], dim=-1).float()
    return Conditioning(states, "text", text, spans=_inside(spans, len(QWEN_BEFORE), len(text)))


def _inside(spans: Spans, before: int, length: int) -> Spans:
    """Returns the places of tokens in a text of some `length` that stands in a template, `before` its characters.

    A token may reach beyond the text, into the template.
    """
    after = before + length
    return tuple(
        (max(start, before) - before, min(end, after) - before) if start < after and end > before else (0, 0)
        for start, end in spans
    )


def _read_sd3(folder: Path, text: str, longest: int) -> Conditioning:
    """Stable Diffusion 3: the states of two CLIPs side by side, then T5's where it is there, none with padding.

    Every word stands there twice, once for CLIP and once for T5.
    """
    (first, one, spans), (second, other, _) = (_projected(folder, number, text) for number in ("", "_2"))
    if len(first) != len(second):
        raise WeightsUnavailable(f"the tokenizers in {folder} differ; download the model again")
    states, pooled = torch.cat([first, second], dim=1), torch.cat([one, other])
    if (folder / "text_encoder_3" / "config.json").is_file():
        more, places = _t5_states(folder, "_3", text, longest)
        states = functional.pad(states, (0, max(0, more.shape[1] - states.shape[1])))
        if states.shape[1] != more.shape[1]:
            raise WeightsUnavailable(f"the text encoders in {folder} do not go together; download the model again")
        states, spans = torch.cat([states, more]), (*spans, *places)
    return Conditioning(states, "text", text, pooled, spans=spans)


def _projected(folder: Path, number: str, text: str) -> tuple[Float[Tensor, "tokens dim"], Float[Tensor, "dim"], Spans]:
    """Returns the states of CLIP's last layer but one, its projection of the whole text, and the tokens' places."""
    encoder = read_network(CLIPTextModelWithProjection, folder, f"text_encoder{number}", torch.float32).eval()
    ids, spans = _clip_ids(folder / f"tokenizer{number}", text, encoder)
    read = encoder(ids, output_hidden_states=True)
    return read.hidden_states[-2][0], read.text_embeds[0], spans


def _pooled(folder: Path, number: str, text: str) -> Float[Tensor, "dim"]:
    """Returns CLIP's state for the whole text."""
    encoder = read_network(CLIPTextModel, folder, f"text_encoder{number}", torch.float32).eval()
    ids, _ = _clip_ids(folder / f"tokenizer{number}", text, encoder, padding="max_length")
    pooled: Tensor = encoder(ids).pooler_output[0]
    return pooled


def _t5_states(folder: Path, number: str, text: str, longest: int) -> tuple[Float[Tensor, "tokens dim"], Spans]:
    """Returns T5's states of the text's own tokens, and their places."""
    encoder = read_network(T5EncoderModel, folder, f"text_encoder{number}", torch.bfloat16).eval()
    ids, spans = _t5_ids(folder / f"tokenizer{number}", text, encoder.config, longest)
    states: Tensor = encoder(ids).last_hidden_state[0].float()
    return states, spans


def _padded(spans: Spans, count: int) -> Spans:
    return (*spans, *[(0, 0)] * (count - len(spans)))


def _clip_ids(folder: Path, text: str, encoder: Any, **options: Any) -> tuple[Int[Tensor, "1 tokens"], Spans]:
    tokenizer = read_tokenizer(CLIPTokenizerFast, folder, most=encoder.config.max_position_embeddings)
    longest = tokenizer.model_max_length
    ids, spans = tokenized(tokenizer, text, max_length=longest, **options)
    _check_length(ids.shape[1], longest)
    return ids, spans


def _t5_ids(where: Path, text: str, config: Any, longest: int) -> tuple[Int[Tensor, "1 tokens"], Spans]:
    """Returns the text's tokens without padding; those of the empty text are known without a tokenizer."""
    if text == "":
        return torch.tensor([[config.eos_token_id]]), ((0, 0),)
    if not (where / "tokenizer.json").is_file() and not (
        (where / "spiece.model").is_file() and find_spec("sentencepiece")
    ):
        raise WeightsUnavailable(
            f"{where} has no tokenizer.json, so that only the empty text is known; if it has a spiece.model, run "
            "`pip install sentencepiece protobuf`"
        )
    tokenizer = read_tokenizer(T5TokenizerFast, where)
    ids, spans = tokenized(tokenizer, text)
    _check_length(ids.shape[1], longest)
    return ids, spans


def _check_length(tokens: int, longest: int) -> None:
    if tokens > longest:
        raise SettingsError(f"the text has {tokens} tokens and the model reads {longest}; shorten it")
