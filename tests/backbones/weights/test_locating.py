"""Where weights are looked for, and what is said when they are not there."""

import hashlib
import json
import shutil
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from undertow.backbones import Located, get_card, locate, pins, resolve, weights_state
from undertow.backbones.cards import card_file
from undertow.backbones.weights.locating import find_problem, weight_variant
from undertow.base import SettingsError, WeightsUnavailable

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
    shutil.rmtree(mirror)
    with pytest.raises(WeightsUnavailable, match=r"\(someone/test-model: .*unet holds no weights"):
        resolve(card, cache=tmp_path, offline=True)


def test_the_cache_is_asked_before_the_network(card, saved, tmp_path):
    snapshot = cached(saved, tmp_path, card.hub_ids[0])
    assert resolve(card, cache=tmp_path, offline=False) == snapshot


def test_a_pinned_revision_is_the_one_found(card, saved, tmp_path):
    snapshot = cached(saved, tmp_path, card.hub_ids[0], revision="a" * 40)
    assert resolve(replace(card, revision="a" * 40), cache=tmp_path, offline=True) == snapshot
    with pytest.raises(WeightsUnavailable, match="not on this machine"):
        resolve(replace(card, revision="b" * 40), cache=tmp_path, offline=True)
    # A pin belongs to one repository, so that a mirror with other commits still serves.
    own = replace(card, hub_ids=(f"elsewhere/test-model@{'b' * 40}", f"{card.hub_ids[0]}@{'a' * 40}"))
    assert resolve(own, cache=tmp_path, offline=True) == snapshot
    assert own.sources == (("elsewhere/test-model", "b" * 40), (card.hub_ids[0], "a" * 40))


def test_without_a_pin_any_whole_snapshot_serves(card, saved, tmp_path):
    """A snapshot fetched by its commit has no branch that points to it; the main branch's, if whole, comes first."""
    other = cached(saved, tmp_path, card.hub_ids[0], revision="a" * 40)
    references = tmp_path / "models--someone--test-model" / "refs"
    (references / "main").write_text("b" * 40)
    assert resolve(card, cache=tmp_path, offline=True) == other
    main = shutil.copytree(saved, other.parent / ("b" * 40))
    assert resolve(card, cache=tmp_path, offline=True) == main
    (references / "v2").write_text("a" * 40)
    assert resolve(replace(card, revision="v2"), cache=tmp_path, offline=True) == other


def test_offline_without_weights_names_the_command(card, tmp_path):
    with pytest.raises(WeightsUnavailable, match="run `undertow models fetch test` where there is a network") as caught:
        resolve(card, cache=tmp_path, offline=True)
    assert "HF_HUB_OFFLINE" in str(caught.value) and caught.value.exit_code == 3
    assert str(tmp_path) in str(caught.value), "it says where to copy the cache to"
    assert "\n" not in str(caught.value)


def test_digests_are_checked(card, saved):
    digest = hashlib.sha256((saved / UNET).read_bytes()).hexdigest()
    assert resolve(replace(card, sha256={UNET: digest}), saved) == saved
    with pytest.raises(WeightsUnavailable, match=r"sha256 .* pins 000000000000"):
        resolve(replace(card, sha256={UNET: "0" * 64}), saved)
    with pytest.raises(WeightsUnavailable, match=r"has no unet/other\.safetensors"):
        resolve(replace(card, sha256={"unet/other.safetensors": digest}), saved)


def test_weights_beside_pinned_ones_are_refused(card, copied):
    """Shards would be loaded instead of the one file whose digest is right."""
    pinned = replace(card, sha256={UNET: hashlib.sha256((copied / UNET).read_bytes()).hexdigest()})
    assert resolve(pinned, copied) == copied
    shutil.copy(copied / UNET, copied / "unet" / "diffusion_pytorch_model-00001-of-00001.safetensors")
    with pytest.raises(WeightsUnavailable, match="which is not among the files that 'test' pins"):
        resolve(pinned, copied)


def test_pins_are_what_a_card_accepts(card, saved, tmp_path):
    snapshot = cached(saved, tmp_path, card.hub_ids[0], revision="a" * 40)
    text = pins(snapshot)
    made = eval(f"dict({text})")
    assert made["hub_ids"] == (f"someone/test-model@{'a' * 40}",) and len(made["sha256"]) == 3
    assert resolve(replace(card, **made), cache=tmp_path, offline=True) == snapshot
    (snapshot / UNET).write_bytes(b"other")
    with pytest.raises(WeightsUnavailable, match="sha256"):
        resolve(replace(card, **made), cache=tmp_path, offline=True)
    assert pins(saved).startswith("sha256={")


def test_a_path_may_be_given_with_the_name_of_its_model(card, saved, copied, monkeypatch):
    monkeypatch.setitem(card_file._CARDS, "test", card)
    assert locate(f"test={saved}") == Located(saved, card)
    assert locate(saved) == Located(saved, None)
    odd = copied.rename(copied.with_name("a=b"))
    assert locate(odd) == Located(odd, None)
    monkeypatch.setenv("HOME", str(saved.parent))
    assert locate("test=~/my-model") == Located(saved, card)
    with pytest.raises(SettingsError, match="no model is called 'toast'; known are tiny"):
        locate(f"toast={saved}")
    with pytest.raises(SettingsError, match="names no path; give test=FOLDER"):
        locate("test=")
    with pytest.raises(WeightsUnavailable, match="nowhere is not a folder"):
        locate(f"test={saved / 'nowhere'}")


def test_where_weights_are_at_a_glance(card, saved, tmp_path):
    assert weights_state(get_card("tiny")) == "embedded"
    assert weights_state(card, tmp_path) == "not here"
    snapshot = cached(saved, tmp_path, card.hub_ids[1])
    assert weights_state(card, tmp_path) == "cached"
    (snapshot / UNET).unlink()
    assert weights_state(card, tmp_path) == "not here"


@pytest.mark.parametrize("name", ["toast", "sd-2.2"])
def test_a_name_that_is_nearly_one_is_answered_with_those_that_are_known(name):
    with pytest.raises(SettingsError, match=f"no model is called '{name}'; give one of tiny, "):
        locate(name)


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
