"""Configurations and tokenizers that anyone may have written are refused in one sentence, before anything is built."""

import json
import shutil

import pytest

from families import write_family
from undertow.backbones import load
from undertow.backbones.cards.card_file import read_card_file
from undertow.base import SettingsError, WeightsUnavailable


@pytest.fixture
def changed(family_folder, tmp_path, monkeypatch):
    """Returns a copy of a family's folder with other entries in one of its JSON files."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HOME", str(tmp_path / "home"))

    def change(family, file, **entries):
        folder = shutil.copytree(family_folder(family), tmp_path / "copy")
        path = folder / file
        path.write_text(json.dumps(json.loads(path.read_text()) | entries))
        return folder

    return change


@pytest.mark.parametrize(
    ("family", "file", "entries", "message"),
    [
        ("sd-1.5", "unet/config.json", {"layers_per_block": 10**6}, "has layers_per_block 1000000; give"),
        ("sd-1.5", "vae/config.json", {"layers_per_block": "many"}, "has layers_per_block 'many'; give"),
        ("sd-1.5", "unet/config.json", {"block_out_channels": [10**9] * 4}, "has block_out_channels 1000000000"),
        ("sd-1.5", "unet/config.json", {"down_block_types": ["DownBlock2D"] * 20}, "has 20 levels in down_block_types"),
        ("sd-1.5", "scheduler/scheduler_config.json", {"num_train_timesteps": -1}, "has num_train_timesteps -1"),
        ("sd-1.5", "scheduler/scheduler_config.json", {"beta_start": "x"}, "beta_start is 'x'"),
        ("sd-1.5", "vae/config.json", {"scaling_factor": 0}, "scaling_factor is 0"),
        ("sd-1.5", "text_encoder/config.json", {"num_hidden_layers": 10**7}, "has num_hidden_layers 10000000"),
        ("sd-1.5", "text_encoder/config.json", {"hidden_size": 10**9}, "has hidden_size 1000000000"),
        ("sd-1.5", "tokenizer/tokenizer_config.json", {"model_max_length": 10**30}, "and the model reads 10"),
        ("sd-1.5", "unet/config.json", {"quantization_config": {"bits": 4}}, "quantised weights"),
        ("svd", "unet/config.json", {"num_attention_heads": 0}, "describes no network that can be built"),
        ("cogvideox-5b", "transformer/config.json", {"num_layers": 10**6}, "has num_layers 1000000"),
        ("wan2.1-1.3b", "transformer/config.json", {"patch_size": [1, 0, 2]}, "has patch_size 0"),
    ],
)
def test_numbers_out_of_bounds_are_named(changed, family, file, entries, message):
    with pytest.raises((SettingsError, WeightsUnavailable), match=message):
        load(changed(family, file, **entries), device="cpu", sites="track").condition()


@pytest.mark.parametrize("name", ["attn_implementation", "_attn_implementation"])
def test_no_configuration_chooses_the_attention(changed, name):
    """It could name a kernel that is fetched from elsewhere."""
    folder = changed("sd-1.5", "text_encoder/config.json", **{name: "someone/kernel"})
    assert load(folder, device="cpu", sites="track").condition().tensor.isfinite().all()


@pytest.mark.parametrize("file", ["unet/config.json", "scheduler/scheduler_config.json", "tokenizer/tokenizer.json"])
def test_what_is_not_json_is_named(tmp_path, file):
    folder = write_family("sd-1.5", tmp_path / "mine")
    (folder / file).write_text('{"a" 1')
    with pytest.raises(WeightsUnavailable, match=file.partition("/")[0]):
        load(folder, device="cpu", sites="track").condition("a kite")


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"recent": -1}, "has recent -1"),
        ({"window_grid": [0, 80]}, "has window_grid 0"),
        ({"temperatures": {"drift": 0}}, "temperature"),
    ],
)
def test_numbers_of_cards_are_checked(tmp_path, entries, message):
    path = tmp_path / "card.json"
    path.write_text(json.dumps({"name": "x", "like": "tiny", **entries}))
    with pytest.raises(SettingsError, match=message):
        read_card_file(path)
