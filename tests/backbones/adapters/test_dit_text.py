"""Texts are read as the stock pipelines read them, with the real encoders at a tiny size."""

import json

import pytest
import torch
from diffusers import CogVideoXPipeline, HunyuanVideoPipeline, WanPipeline
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTokenizer,
    LlamaConfig,
    LlamaModel,
    PreTrainedTokenizerFast,
    T5Config,
    T5EncoderModel,
    T5TokenizerFast,
    UMT5Config,
    UMT5EncoderModel,
)

from undertow.backbones.adapters.dit_text import text_reader
from undertow.base import SettingsError, WeightsUnavailable

TEXTS = ("", "a red kite &amp;  a   dog")


def save_clip(folder, number="", length=10):
    letters = [chr(code) for code in range(33, 127)]
    entries = ["<|startoftext|>", "<|endoftext|>", *letters, *(letter + "</w>" for letter in letters)]
    tokenizer = CLIPTokenizer(vocab={entry: i for i, entry in enumerate(entries)}, merges=[], model_max_length=length)
    config = CLIPTextConfig(
        vocab_size=len(tokenizer), hidden_size=8, intermediate_size=8, projection_dim=8, num_hidden_layers=1,
        num_attention_heads=2, max_position_embeddings=length, bos_token_id=0, eos_token_id=1, pad_token_id=1,
    )  # fmt: skip
    CLIPTextModel(config).save_pretrained(folder / f"text_encoder{number}")
    tokenizer.save_pretrained(folder / f"tokenizer{number}")


def save_t5(folder, kind, config):
    words = ["<pad>", "</s>", "<unk>", "▁", *(f"▁{word}" for word in ("a", "red", "kite", "dog", "&")), *"&amp;kitedog"]
    T5TokenizerFast(vocab=[(word, -float(i)) for i, word in enumerate(dict.fromkeys(words))]).save_pretrained(
        folder / "tokenizer"
    )
    kind(config(vocab_size=40, d_model=8, d_kv=4, d_ff=8, num_layers=2, num_heads=2, dropout_rate=0.0)).save_pretrained(
        folder / "text_encoder"
    )


def save_llama(folder):
    words = Tokenizer(models.WordLevel({"<unk>": 0, "<pad>": 1, "a": 2, "red": 3, "kite": 4, "dog": 5}, "<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<unk>", pad_token="<pad>").save_pretrained(
        folder / "tokenizer"
    )
    config = LlamaConfig(
        vocab_size=6, hidden_size=8, intermediate_size=8, num_hidden_layers=4, num_attention_heads=2,
        num_key_value_heads=2, max_position_embeddings=512,
    )  # fmt: skip
    LlamaModel(config).save_pretrained(folder / "text_encoder")
    save_clip(folder, "_2", length=77)


@pytest.mark.parametrize("text", TEXTS)
def test_cogvideox(tmp_path, text):
    save_t5(tmp_path, T5EncoderModel, T5Config)
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
    save_t5(tmp_path, UMT5EncoderModel, UMT5Config)
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
    save_llama(tmp_path)
    found = text_reader(tmp_path, "m", 256)(text)
    pipeline = HunyuanVideoPipeline(
        LlamaModel.from_pretrained(tmp_path / "text_encoder", dtype=torch.bfloat16),
        PreTrainedTokenizerFast.from_pretrained(tmp_path / "tokenizer"),
        None, None, None,
        CLIPTextModel.from_pretrained(tmp_path / "text_encoder_2"),
        CLIPTokenizer.from_pretrained(tmp_path / "tokenizer_2"),
    )  # fmt: skip
    with torch.no_grad():
        states, pooled, mask = pipeline.encode_prompt(text, device="cpu", dtype=torch.bfloat16)
    kept = states[0][mask[0].bool()].float()
    assert found.tensor.shape == kept.shape and len(kept) < 256
    torch.testing.assert_close(found.tensor, kept, rtol=2e-2, atol=2e-2)
    torch.testing.assert_close(found.pooled, pooled[0].float(), rtol=2e-2, atol=2e-2)


def test_clip(tmp_path):
    save_clip(tmp_path)
    found = text_reader(tmp_path, "m", 10)("a kite")
    tokenizer = CLIPTokenizer.from_pretrained(tmp_path / "tokenizer")
    ids = tokenizer("a kite", padding="max_length", max_length=10, return_tensors="pt").input_ids
    with torch.no_grad():
        expected = CLIPTextModel.from_pretrained(tmp_path / "text_encoder")(ids).last_hidden_state[0]
    torch.testing.assert_close(found.tensor, expected)
    with pytest.raises(SettingsError, match="the text has 12 tokens and the model reads 10"):
        text_reader(tmp_path, "m", 10)("four score a")


def test_what_cannot_be_read_is_said(tmp_path):
    save_t5(tmp_path, T5EncoderModel, T5Config)
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
    with pytest.raises(SettingsError, match="text encoder of type 'bert', not clip_text_model, t5, umt5, llama"):
        text_reader(tmp_path, "m", 12)("")
    with pytest.raises(WeightsUnavailable, match="`undertow models fetch mine`"):
        text_reader(tmp_path / "absent", "mine", 12)("")
