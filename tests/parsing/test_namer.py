import json

import numpy as np
import pytest
import torch
from transformers import CLIPConfig, CLIPModel, CLIPTokenizerFast

from undertow.backbones import locate
from undertow.base import SettingsError, WeightsUnavailable
from undertow.parsing.namer import ANYTHING, TEMPLATES, ClipNamer, crop_of
from undertow.parsing.naming import read_vocabulary


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A random CLIP, small and real, with the tokenizer of the embedded model."""
    path = tmp_path_factory.mktemp("clip")
    tokenizer = CLIPTokenizerFast.from_pretrained(locate("tiny").path / "tokenizer", local_files_only=True)
    tokenizer.save_pretrained(path)
    layers = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    torch.manual_seed(0)
    config = CLIPConfig(
        text_config=layers | {"vocab_size": len(tokenizer), "max_position_embeddings": 32,
                              "eos_token_id": tokenizer.eos_token_id, "bos_token_id": tokenizer.bos_token_id},
        vision_config=layers | {"image_size": 32, "patch_size": 8},
        projection_dim=12,
    )  # fmt: skip
    CLIPModel(config).save_pretrained(path)
    if not (path / "vocab.json").exists():
        tokens = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
        (path / "vocab.json").write_text(json.dumps(dict(tokens)))
        (path / "merges.txt").write_text("#version: 0.2\n")
    return path


WORDS = ["red ball", "grass", "sky"]


def pictures():
    random = np.random.default_rng(0)
    return [random.integers(0, 256, size, np.uint8) for size in ((40, 40, 3), (20, 50, 3))]


def test_scores_are_those_of_the_model_itself(folder):
    namer = ClipNamer.load(folder, WORDS, device="cpu", threshold=0.0)
    found = namer.name(pictures())
    model = CLIPModel.from_pretrained(folder).eval()
    tokenizer = CLIPTokenizerFast.from_pretrained(folder, local_files_only=True)
    pixels = torch.stack([namer.prepared(picture) for picture in pictures()])
    sentences = [[each.format(word) for each in TEMPLATES] for word in WORDS] + [list(ANYTHING)]
    shares = []
    with torch.no_grad():
        for group in sentences:
            tokens = tokenizer(group, padding=True, return_tensors="pt")
            answer = model(pixel_values=pixels, **tokens)
            text = torch.nn.functional.normalize(answer.text_embeds.mean(0), dim=0)
            image = torch.nn.functional.normalize(answer.image_embeds.mean(0), dim=0)
            shares.append(float(model.logit_scale.exp() * text @ image))
    probabilities = torch.tensor(shares).softmax(0)
    assert found.score == pytest.approx(float(probabilities[:-1].max()), abs=1e-5)
    if int(probabilities.argmax()) < len(WORDS):
        assert found.name == WORDS[int(probabilities.argmax())]


def test_what_is_like_nothing_is_unknown(folder):
    assert ClipNamer.load(folder, WORDS, device="cpu", threshold=1.0).name(pictures()).name == "unknown"
    with pytest.raises(SettingsError, match="without pictures"):
        ClipNamer.load(folder, WORDS, device="cpu").name([])


def test_pictures_are_squared_resized_and_normalised(folder):
    (folder / "preprocessor_config.json").write_text(json.dumps({"image_mean": [0.5] * 3, "image_std": [0.25] * 3}))
    namer = ClipNamer.load(folder, WORDS, device="cpu")
    (folder / "preprocessor_config.json").unlink()
    flat = np.full((10, 20, 3), 51, np.uint8)
    np.testing.assert_allclose(namer.prepared(flat).numpy(), (0.2 - 0.5) / 0.25, atol=1e-6)
    assert namer.prepared(flat).shape == (3, 32, 32)


def test_a_cluster_is_cut_out_and_what_is_around_it_is_dimmed():
    image = np.full((30, 40, 3), 200, np.uint8)
    inside = np.zeros((30, 40), bool)
    inside[10:20, 15:30] = True
    crop = crop_of(image, inside)
    assert crop.shape == (10 + 4, 15 + 4, 3)
    assert (crop[2:-2, 2:-2] == 200).all() and (crop[0] == round(0.25 * 200 + 0.75 * 127)).all()
    inside[:] = True
    np.testing.assert_array_equal(crop_of(image, inside), image)


def test_folders_that_hold_no_clip_are_refused(folder, tmp_path):
    with pytest.raises(WeightsUnavailable, match=r"config\.json is missing"):
        ClipNamer.load(tmp_path, WORDS)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(SettingsError, match="of type 'bert'; give a CLIP"):
        ClipNamer.load(tmp_path, WORDS)
    with pytest.raises(SettingsError, match="vocabulary is empty"):
        ClipNamer.load(folder, [])


def test_a_vocabulary_has_a_word_a_line(tmp_path):
    path = tmp_path / "words.txt"
    path.write_text("# colours\nred ball\n\n  grass \n")
    assert read_vocabulary(path) == ["red ball", "grass"]
    for text, words in (("", "has no words"), ("a\nb\na\n", "has 'a' twice")):
        path.write_text(text)
        with pytest.raises(SettingsError, match=words):
            read_vocabulary(path)
    with pytest.raises(SettingsError, match="cannot be read"):
        read_vocabulary(tmp_path / "no.txt")
