"""Texts are read as the stock pipelines read them, with the real encoders at a tiny size."""

import json
from types import SimpleNamespace

import pytest
import torch
from diffusers import (
    CogVideoXPipeline,
    Flux2KleinPipeline,
    HunyuanVideoPipeline,
    LTXPipeline,
    MochiPipeline,
    WanPipeline,
)
from diffusers import Cosmos2TextToImagePipeline as Cosmos
from transformers import (
    CLIPTextModel,
    CLIPTokenizerFast,
    LlamaModel,
    PreTrainedTokenizerFast,
    Qwen3ForCausalLM,
    T5EncoderModel,
    T5TokenizerFast,
    UMT5EncoderModel,
)

from families import write_clip, write_llama, write_qwen3, write_t5, write_umt5
from undertow.backbones.adapters.dit_text import text_reader
from undertow.base import SettingsError, WeightsUnavailable

TEXTS = ("", "a red kite &amp;  a   dog")


@pytest.mark.parametrize("text", TEXTS)
def test_cogvideox(tmp_path, text):
    write_t5(tmp_path, width=8)
    found = text_reader(tmp_path, "m", 12)(text)
    pipeline = CogVideoXPipeline(
        T5TokenizerFast.from_pretrained(tmp_path / "tokenizer"),
        T5EncoderModel.from_pretrained(tmp_path / "text_encoder", dtype=torch.bfloat16),
        None, None, None,
    )  # fmt: skip
    with torch.no_grad():
        expected = pipeline._get_t5_prompt_embeds(text, max_sequence_length=12, device="cpu")[0].float()
    assert found.tensor.shape == (12, 8) and found.pooled is None
    torch.testing.assert_close(found.tensor, expected)


@pytest.mark.parametrize("text", TEXTS)
def test_wan(tmp_path, text):
    write_umt5(tmp_path, width=8)
    found = text_reader(tmp_path, "m", 12)(text)
    pipeline = WanPipeline(
        T5TokenizerFast.from_pretrained(tmp_path / "tokenizer"),
        UMT5EncoderModel.from_pretrained(tmp_path / "text_encoder", dtype=torch.bfloat16),
        None, None, None,
    )  # fmt: skip
    with torch.no_grad():
        expected = pipeline._get_t5_prompt_embeds(text, max_sequence_length=12, device="cpu")[0].float()
    assert (found.tensor == 0).all(dim=1).any()
    torch.testing.assert_close(found.tensor, expected, rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize("text", TEXTS)
def test_hunyuan(tmp_path, text):
    write_llama(tmp_path, width=8)
    found = text_reader(tmp_path, "m", 256)(text)
    pipeline = HunyuanVideoPipeline(
        LlamaModel.from_pretrained(tmp_path / "text_encoder", dtype=torch.bfloat16),
        PreTrainedTokenizerFast.from_pretrained(tmp_path / "tokenizer"),
        None, None, None,
        CLIPTextModel.from_pretrained(tmp_path / "text_encoder_2"),
        CLIPTokenizerFast.from_pretrained(tmp_path / "tokenizer_2"),
    )  # fmt: skip
    with torch.no_grad():
        states, pooled, mask = pipeline.encode_prompt(text, device="cpu", dtype=torch.bfloat16)
    kept = states[0][mask[0].bool()].float()
    assert found.tensor.shape == kept.shape and len(kept) < 256
    torch.testing.assert_close(found.tensor, kept, rtol=2e-2, atol=2e-2)
    torch.testing.assert_close(found.pooled, pooled[0].float(), rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize(("kind", "padding"), [(LTXPipeline, "seen"), (MochiPipeline, "none"), (Cosmos, "zeros")])
def test_t5_with_each_padding(tmp_path, text, kind, padding):
    """States of padding that is masked are left out; Cosmos reads zeros in their place."""
    write_t5(tmp_path, width=8)
    found = text_reader(tmp_path, "m", 12, padding=padding)(text).tensor
    encoder = T5EncoderModel.from_pretrained(tmp_path / "text_encoder", dtype=torch.bfloat16)
    tokenizer = T5TokenizerFast.from_pretrained(tmp_path / "tokenizer")
    pipeline = SimpleNamespace(
        text_encoder=encoder, tokenizer=tokenizer, config=SimpleNamespace(force_zeros_for_empty_prompt=False)
    )
    with torch.no_grad():
        read = kind._get_t5_prompt_embeds(pipeline, text, max_sequence_length=12, device="cpu")
    if padding == "zeros":
        torch.testing.assert_close(found, read[0].float(), rtol=2e-2, atol=2e-2)
    else:
        states, mask = read
        torch.testing.assert_close(found, states[0][mask[0]].float(), rtol=2e-2, atol=2e-2)


@torch.no_grad()
def test_flux_2_reads_three_layers_of_what_a_user_says(tmp_path):
    write_qwen3(tmp_path)
    text = "a red kite"
    found = text_reader(tmp_path, "m", 512)(text)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(tmp_path / "tokenizer")
    # What of Qwen3's template is left for one thing said, without thinking.
    tokenizer.chat_template = (
        "{% for each in messages %}<|im_start|>{{ each.role }}\n{{ each.content }}<|im_end|>\n{% endfor %}"
        "{{ '<|im_start|>assistant\n<think>\n\n</think>\n\n' }}"
    )
    encoder = Qwen3ForCausalLM.from_pretrained(tmp_path / "text_encoder", dtype=torch.bfloat16)
    expected = Flux2KleinPipeline._get_qwen3_prompt_embeds(encoder, tokenizer, text, device="cpu")[0].float()
    assert found.tensor.shape[1] == 48
    torch.testing.assert_close(found.tensor, expected[: len(found.tensor)], rtol=2e-2, atol=2e-3)
    assert [text[start:end] for start, end in found.spans if end > start] == list(text)


def test_clip(tmp_path):
    write_clip(tmp_path, width=8)
    found = text_reader(tmp_path, "m", 10)("a kite")
    tokenizer = CLIPTokenizerFast.from_pretrained(tmp_path / "tokenizer")
    ids = tokenizer("a kite", padding="max_length", max_length=10, return_tensors="pt").input_ids
    with torch.no_grad():
        expected = CLIPTextModel.from_pretrained(tmp_path / "text_encoder")(ids).last_hidden_state[0]
    torch.testing.assert_close(found.tensor, expected)
    with pytest.raises(SettingsError, match="the text has 12 tokens and the model reads 10"):
        text_reader(tmp_path, "m", 10)("four score a")


def test_what_cannot_be_read_is_said(tmp_path):
    write_t5(tmp_path, width=8)
    with pytest.raises(SettingsError, match=r"the text has \d+ tokens and the model reads 12"):
        text_reader(tmp_path, "m", 12)("a red kite dog " * 5)
    (tmp_path / "tokenizer" / "tokenizer.json").unlink()
    text_reader(tmp_path, "m", 12)("")
    with pytest.raises(
        WeightsUnavailable, match=r"has no tokenizer\.json, so that only the empty text is known; .* sentencepiece"
    ):
        text_reader(tmp_path, "m", 12)("a kite")
    config = tmp_path / "text_encoder" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"model_type": "bert"}))
    with pytest.raises(SettingsError, match="text encoder of type 'bert', not clip_text_model, t5, umt5, llama, qwen3"):
        text_reader(tmp_path, "m", 12)("")
    with pytest.raises(WeightsUnavailable, match="`undertow models fetch mine`"):
        text_reader(tmp_path / "absent", "mine", 12)("")
