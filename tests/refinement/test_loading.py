"""From names and folders to segmenters; no card needs the network to be known."""

import json
import shutil

import pytest
import torch

from undertow.base import SettingsError, WeightsUnavailable
from undertow.refinement import Sam2Segmenter, SamSegmenter, get_segmenter_card, list_segmenter_cards, load_segmenter

PUBLISHED = {
    "sam-vit-b": "facebook/sam-vit-base",
    "sam-vit-l": "facebook/sam-vit-large",
    "sam-vit-h": "facebook/sam-vit-huge",
    "sam2.1-tiny": "facebook/sam2.1-hiera-tiny",
    "sam2.1-small": "facebook/sam2.1-hiera-small",
    "sam2.1-base-plus": "facebook/sam2.1-hiera-base-plus",
    "sam2.1-large": "facebook/sam2.1-hiera-large",
}


@pytest.fixture(scope="session")
def folders(sam_model, sam2_model, tmp_path_factory):
    root = tmp_path_factory.mktemp("segmenters")
    sam_model.save_pretrained(root / "sam")
    sam2_model.save_pretrained(root / "sam2")
    return root


def test_cards():
    cards = {card.name: card for card in list_segmenter_cards()}
    assert list(cards) == ["tiny-sam", *PUBLISHED]
    for name, repository in PUBLISHED.items():
        assert cards[name].sources == ((repository, None),) and cards[name].licence == "Apache-2.0"
    with pytest.raises(SettingsError, match="no segmenter is called 'nothing'; known are tiny-sam, sam-vit-b"):
        get_segmenter_card("nothing")


@pytest.mark.parametrize(("name", "kind"), [("sam", SamSegmenter), ("sam2", Sam2Segmenter)])
def test_a_folder_runs_as_it_was_saved(name, kind, folders, segmenters, frames):
    loaded = load_segmenter(folders / name, device="cpu")
    assert type(loaded) is kind and loaded.name == name
    boxes = torch.tensor([[10.0, 5.0, 60.0, 50.0]])
    one, other = (each.predict(each.embed(frames[:1])[0], boxes=boxes) for each in (loaded, segmenters[name]))
    torch.testing.assert_close(one.logits, other.logits, rtol=1e-4, atol=1e-6)
    assert not any(parameter.requires_grad for parameter in loaded.model.parameters())


def test_sam2_is_read_from_its_video_model(folders, tmp_path):
    """What is published is the video model; its image part is all that is wanted of it."""
    copy = shutil.copytree(folders / "sam2", tmp_path / "video")
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"model_type": "sam2_video"}))
    assert isinstance(load_segmenter(copy, device="cpu"), Sam2Segmenter)


def test_a_name_before_the_folder_is_checked(folders):
    assert load_segmenter(f"sam-vit-h={folders / 'sam'}", device="cpu").name == "sam-vit-h"
    with pytest.raises(SettingsError, match="type 'sam2', where 'sam-vit-h' is of type 'sam'"):
        load_segmenter(f"sam-vit-h={folders / 'sam2'}", device="cpu")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda folder: (folder / "model.safetensors").unlink(), "holds no weights"),
        (lambda folder: (folder / "config.json").unlink(), "has no config.json"),
        (lambda folder: (folder / "config.json").write_text("{"), "is not the config of a model"),
        (lambda folder: (folder / "config.json").write_text("[]"), "is not the config of a model"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"x" * 100), "download"),
    ],
    ids=["no weights", "no config", "half a config", "another config", "damaged weights"],
)
def test_damaged_folders(change, words, folders, tmp_path):
    copy = shutil.copytree(folders / "sam", tmp_path / "copy")
    change(copy)
    with pytest.raises(WeightsUnavailable, match=words) as caught:
        load_segmenter(copy, device="cpu")
    assert "\n" not in str(caught.value)


def test_what_is_no_segmenter(folders, tmp_path):
    with pytest.raises(SettingsError, match="no segmenter is called 'sam-h'; give one of tiny-sam, sam-vit-b"):
        load_segmenter("sam-h")
    with pytest.raises(WeightsUnavailable, match="is not a folder"):
        load_segmenter(tmp_path / "nowhere" / "at-all")
    with pytest.raises(WeightsUnavailable, match="give the folder that holds it"):
        load_segmenter(folders / "sam" / "model.safetensors")
    copy = shutil.copytree(folders / "sam", tmp_path / "copy")
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"model_type": "bert"}))
    with pytest.raises(SettingsError, match="holds a model of type 'bert'; give a SAM"):
        load_segmenter(copy)


def test_without_a_network(tmp_path):
    with pytest.raises(WeightsUnavailable, match="sam-vit-h") as caught:
        load_segmenter("sam-vit-h", cache=tmp_path, offline=True)
    assert caught.value.exit_code == 3
