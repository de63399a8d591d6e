"""Folders of video transformers: what they are read as, the empty text, and what is wrong with them."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import T5EncoderModel

from families import small_backbone, write_family
from undertow.backbones import get_card, load
from undertow.base import SettingsError, WeightsUnavailable


@pytest.fixture
def joint(tmp_path):
    """A folder to damage, and the model that it holds."""
    return small_backbone("cogvideox-5b"), write_family("cogvideox-5b", tmp_path / "mine")


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    """The user's cache, so that no test meets what another left there."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "undertow" / "null-text"


def clip():
    return torch.randn(2, 4, 4, 6, generator=torch.Generator().manual_seed(0))


def test_half_precision(joint):
    _, folder = joint
    loaded = load(folder, device="cpu", dtype="bfloat16")
    assert {weight.dtype for weight in loaded.denoiser.parameters()} == {torch.bfloat16}
    assert loaded.encode(np.zeros((1, 16, 16, 3), np.uint8)).dtype == torch.float32
    wan = load(write_family("wan2.1-1.3b", folder.parent / "wan"), device="cpu", dtype="bfloat16")
    assert {weight.dtype for weight in wan.autoencoder.module.parameters()} == {torch.float32}
    assert wan.denoiser.blocks[0].scale_shift_table.dtype == torch.float32
    assert wan.denoiser.blocks[0].attn1.to_q.weight.dtype == torch.bfloat16
    assert wan.denoise(clip(), 19, small_backbone("wan2.1-1.3b").condition("")).isfinite().all()


def test_the_empty_text_is_computed_once(joint, cache, monkeypatch):
    _, folder = joint
    reads = []
    real = T5EncoderModel.from_pretrained.__func__
    monkeypatch.setattr(
        T5EncoderModel, "from_pretrained", classmethod(lambda cls, *a, **k: reads.append(a) or real(cls, *a, **k))
    )
    model = load(folder, device="cpu", dtype="float32")
    assert reads == [] and not cache.exists()
    first = model.condition("")
    assert model.condition("") is first and len(reads) == 1
    assert first.provenance == "null" and first.tensor.shape == (16, 32) and first.tensor.dtype == torch.float32
    encoder = real(T5EncoderModel, folder / "text_encoder", dtype=torch.bfloat16).eval()
    with torch.no_grad():
        expected = encoder(torch.tensor([[1] + [0] * 15])).last_hidden_state[0].float()
    torch.testing.assert_close(first.tensor, expected)
    (file,) = cache.iterdir()
    assert file.stat().st_size < 16 * 32 * 4 + 500
    # From now on the encoder need not be there, in whatever number type and however much of the model is loaded.
    shutil.rmtree(folder / "text_encoder")
    for again in (load(folder, device="cpu", sites="points"), load(folder, device="cpu", dtype="bfloat16")):
        assert torch.equal(again.condition("").tensor, first.tensor) and again.condition("").provenance == "null"
    assert len(reads) == 1
    with pytest.raises(WeightsUnavailable, match="has no text encoder and the states of this text are not kept"):
        again.condition("a kite")
    # A damaged file is no more than an absent one.
    file.write_bytes(b"nothing")
    with pytest.raises(WeightsUnavailable, match="has no text encoder"):
        load(folder, device="cpu").condition("")


def test_models_with_other_text_weights_have_other_null_texts(joint, cache, tmp_path):
    _, folder = joint
    other = shutil.copytree(folder, tmp_path / "other")
    file = next((other / "transformer").glob("*.safetensors"))
    weights = load_file(file)
    weights["patch_embed.text_proj.weight"] += 1
    save_file(weights, file, {"format": "pt"})
    for each in (folder, other):
        load(each, device="cpu").condition("")
    assert len(list(cache.iterdir())) == 2


def test_a_cache_that_cannot_be_written_is_no_obstacle(joint, monkeypatch, tmp_path):
    _, folder = joint
    (tmp_path / "home").write_text("a file where the folder should be")
    assert load(folder, device="cpu").condition("").tensor.isfinite().all()


def test_models_that_are_not_read(joint):
    _, folder = joint
    path = folder / "transformer" / "config.json"
    config = json.loads(path.read_text())
    for change, message in (
        ({"_class_name": "LatteTransformer3DModel"}, "holds a LatteTransformer3DModel; undertow reads CogVideoX, Hun"),
        ({"ofs_embed_dim": 8}, r"'mine' is told how far its first frame is from the others \(CogVideoX 1\.5"),
        ({"in_channels": 7}, "lacks|do not load|reads 7 channels and its latents have 4"),
    ):
        path.write_text(json.dumps(config | change))
        with pytest.raises((SettingsError, WeightsUnavailable), match=message):
            load(folder, device="cpu")
    path.write_text(json.dumps(config))
    with pytest.raises(SettingsError, match=r"latents of stride 4, where 'cogvideox-2b' has v_prediction and 8"):
        load(f"cogvideox-2b={write_family('tiny-video', folder.parent / 'other')}", device="cpu")
    (folder / "vae" / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(WeightsUnavailable, match=r"vae holds no weights"):
        load(folder, device="cpu")


def test_a_folder_is_read_like_the_card_it_fits(joint, monkeypatch):
    backbone, folder = joint
    mine = replace(
        get_card("cogvideox-2b"),
        name="known",
        positions="cells",
        sites={"points": (backbone.sites()[0],), "track": (backbone.sites()[0],)},
    )
    monkeypatch.setattr("undertow.backbones.cards.nearest.list_cards", lambda: [get_card("cogvideox-2b"), mine])
    loaded = load(folder, device="cpu", sites="points")
    assert loaded.card.positions == "cells" and loaded.card.notes == "read like known"
    assert loaded.parts() != load(folder, device="cpu").parts() and loaded.card.licence == "unknown"
