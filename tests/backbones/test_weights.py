"""Where weights are looked for, and what is said when they are not there."""

import hashlib
import json
import shutil
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from undertow.backbones import resolve
from undertow.backbones.weights import find_problem, weight_variant
from undertow.base import WeightsUnavailable

UNET = "unet/diffusion_pytorch_model.safetensors"


def cached(saved, cache, hub_id, revision="0" * 40):
    """Puts a copy of the saved model into `cache` the way the hub's client lays it out."""
    repository = cache / f"models--{hub_id.replace('/', '--')}"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(revision)
    return shutil.copytree(saved, repository / "snapshots" / revision)


def test_a_given_folder_wins(card, saved):
    assert resolve(card, saved) == saved


def test_the_cache_is_found_without_a_network(card, saved, tmp_path):
    snapshot = cached(saved, tmp_path, card.hub_ids[0])
    assert resolve(card, cache=tmp_path, offline=True) == snapshot


def test_hub_ids_are_tried_in_order(card, saved, tmp_path):
    mirror = cached(saved, tmp_path, card.hub_ids[1])
    assert resolve(card, cache=tmp_path, offline=True) == mirror
    first = cached(saved, tmp_path, card.hub_ids[0])
    assert resolve(card, cache=tmp_path, offline=True) == first
    # An interrupted download does not hide a whole copy.
    (first / UNET).unlink()
    assert resolve(card, cache=tmp_path, offline=True) == mirror


def test_the_cache_is_asked_before_the_network(card, saved, tmp_path):
    snapshot = cached(saved, tmp_path, card.hub_ids[0])
    assert resolve(card, cache=tmp_path, offline=False) == snapshot


def test_a_pinned_revision_is_the_one_found(card, saved, tmp_path):
    snapshot = cached(saved, tmp_path, card.hub_ids[0], revision="a" * 40)
    assert resolve(replace(card, revision="a" * 40), cache=tmp_path, offline=True) == snapshot
    with pytest.raises(WeightsUnavailable, match=f"hf download someone/test-model --revision {'b' * 40}"):
        resolve(replace(card, revision="b" * 40), cache=tmp_path, offline=True)


def test_offline_without_weights_names_the_command(card, tmp_path):
    with pytest.raises(WeightsUnavailable, match="run `hf download someone/test-model`") as caught:
        resolve(card, cache=tmp_path, offline=True)
    assert "HF_HUB_OFFLINE" in str(caught.value) and caught.value.exit_code == 3
    assert "\n" not in str(caught.value)


def test_digests_are_checked(card, saved):
    digest = hashlib.sha256((saved / UNET).read_bytes()).hexdigest()
    assert resolve(replace(card, sha256={UNET: digest}), saved) == saved
    with pytest.raises(WeightsUnavailable, match=r"sha256 .* pins 000000000000"):
        resolve(replace(card, sha256={UNET: "0" * 64}), saved)
    with pytest.raises(WeightsUnavailable, match=r"has no unet/other\.safetensors"):
        resolve(replace(card, sha256={"unet/other.safetensors": digest}), saved)


def test_missing_parts_are_named(card, copied, tmp_path):
    with pytest.raises(WeightsUnavailable, match="nowhere is not a folder"):
        resolve(card, tmp_path / "nowhere")
    (copied / UNET).rename(copied / "unet" / "diffusion_pytorch_model.bin")
    with pytest.raises(WeightsUnavailable, match=r"only the pickle diffusion_pytorch_model\.bin"):
        resolve(card, copied)
    shutil.rmtree(copied / "unet")
    with pytest.raises(WeightsUnavailable, match=r"has no unet/config\.json"):
        resolve(card, copied)


def test_a_tokenizer_without_a_vocabulary_is_named(card, copied):
    (copied / "tokenizer" / "tokenizer.json").unlink()
    with pytest.raises(WeightsUnavailable, match=r"tokenizer has neither tokenizer\.json nor vocab\.json"):
        resolve(card, copied)


def test_an_embedded_model_without_its_folder_says_to_reinstall(card):
    with pytest.raises(WeightsUnavailable, match="pip install"):
        resolve(replace(card, embedded="no-such-folder"))


def test_half_precision_and_sharded_copies_are_found(copied):
    assert weight_variant(copied, "unet") == ""
    weights = load_file(copied / UNET)
    (copied / UNET).unlink()
    half = copied / "unet" / "diffusion_pytorch_model.fp16.safetensors"
    save_file({name: weight.to(torch.float16) for name, weight in weights.items()}, half)
    assert weight_variant(copied, "unet") == "fp16"
    half.unlink()
    index = {"metadata": {}, "weight_map": dict.fromkeys(weights, "diffusion_pytorch_model-00001-of-00001.safetensors")}
    (copied / "unet" / "diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps(index))
    assert weight_variant(copied, "unet") == ""
    assert find_problem(copied) is None
