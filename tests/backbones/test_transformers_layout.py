"""One network with its config at the top, as transformers keeps it: found, fetched and checked like any other model."""

from dataclasses import replace

import pytest
import torch
from transformers import CLIPTextConfig, CLIPTextModel

from undertow.backbones import weights_state
from undertow.backbones.weights.digests import digests_of
from undertow.backbones.weights.layout import find_problem, weight_files
from undertow.backbones.weights.locating import pins, resolve
from undertow.base import WeightsUnavailable

LAYOUT = "transformers"
NAME = "model.safetensors"


@pytest.fixture
def network(tmp_path):
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 16, "projection_dim": 16, "num_attention_heads": 2}
    folder = tmp_path / "network"
    CLIPTextModel(CLIPTextConfig(vocab_size=99, num_hidden_layers=1, **sizes)).save_pretrained(folder)
    return folder


def test_which_files_are_needed(network):
    assert find_problem(network, LAYOUT) is None and weight_files(network, LAYOUT) == [NAME]
    assert "unet/config.json" in str(find_problem(network))
    (network / NAME).rename(network / "pytorch_model.bin")
    assert "only the pickle pytorch_model.bin" in str(find_problem(network, LAYOUT))


def test_fetched_once_and_then_found(hub, network, card, tmp_path):
    """Only config and weights are taken; a second time nothing is asked."""
    (network / "README.md").write_text("words")
    (network / "model.pt").write_bytes(b"pickle")
    hub.repositories["someone/test-model"] = hub.Repository(network)
    cache = tmp_path / "cache"
    found = resolve(card, layout=LAYOUT, cache=cache, offline=False, endpoint=hub.endpoint)
    assert sorted(path.name for path in found.iterdir()) == ["config.json", NAME]
    assert weights_state(card, cache, LAYOUT) == "cached" and weights_state(card, cache) == "not here"
    assert resolve(card, layout=LAYOUT, cache=cache, offline=True) == found


@pytest.mark.parametrize("where", ["given", "fetched"])
def test_a_wrong_digest_is_never_loaded(where, hub, network, card, tmp_path):
    right = replace(card, sha256=digests_of(network, [NAME]))
    wrong = replace(card, sha256={NAME: "0" * 64})
    hub.repositories["someone/test-model"] = hub.Repository(network)
    path = network if where == "given" else None
    options = {"layout": LAYOUT, "cache": tmp_path / "cache", "offline": False, "endpoint": hub.endpoint}
    with pytest.raises(WeightsUnavailable, match="sha256"):
        resolve(wrong, path, **options)
    assert (resolve(right, path, **options) / NAME).read_bytes() == (network / NAME).read_bytes()
    assert f'"{NAME}": "{right.sha256[NAME]}"' in pins(network, LAYOUT)
    # Weights beside those that are pinned are weights that nobody vouched for.
    (network / "model-00001-of-00002.safetensors").write_bytes((network / NAME).read_bytes())
    with pytest.raises(WeightsUnavailable, match="not among the files"):
        resolve(right, network, **options)
