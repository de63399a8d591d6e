"""A BLIP-2 of transformers, tiny and random, from a folder to a sentence; and what is refused."""

import json

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import Blip2Config, Blip2ForConditionalGeneration, OPTConfig, PreTrainedTokenizerFast

from undertow import cli
from undertow.base import CueError, WeightsUnavailable
from undertow.masks import write_label_map
from undertow.tracking.captions import load_captioner, object_alone
from undertow.video import write_video
from undertow.world import crossing_scene

WORDS = ["<s>", "<pad>", "</s>", "<image>", *(f"word{number}" for number in range(40))]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The files of a small random model, as transformers writes them."""
    path = tmp_path_factory.mktemp("blip2")
    torch.manual_seed(0)
    small = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    text = OPTConfig(
        vocab_size=len(WORDS), hidden_size=32, word_embed_proj_dim=32, num_hidden_layers=1, num_attention_heads=2,
        ffn_dim=32, max_position_embeddings=64, bos_token_id=0, pad_token_id=1, eos_token_id=2,
        init_std=1.0, tie_word_embeddings=False,
    )  # fmt: skip
    config = Blip2Config(
        vision_config={**small, "image_size": 28, "patch_size": 14},
        qformer_config={**small, "encoder_hidden_size": 32, "vocab_size": 32},
        text_config=text.to_dict(), num_query_tokens=4, image_token_index=3, tie_word_embeddings=False,
    )  # fmt: skip
    Blip2ForConditionalGeneration(config).save_pretrained(path)
    tokenizer = Tokenizer(models.WordLevel(dict(zip(WORDS, range(len(WORDS)), strict=True)), unk_token="<pad>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    whole = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", pad_token="<pad>", eos_token="</s>",
        additional_special_tokens=["<image>"],
    )  # fmt: skip
    whole.save_pretrained(path)
    return path


@pytest.fixture
def picture():
    """A frame with one object, and its mask."""
    image = np.random.default_rng(0).integers(1, 256, (60, 80, 3)).astype(np.uint8)
    mask = np.zeros((60, 80), bool)
    mask[20:30, 40:60] = True
    return image, mask


def test_the_object_is_cut_out_with_a_margin_on_black(picture):
    image, mask = picture
    alone = object_alone(image, mask)
    assert alone.shape == (14, 24, 3)
    assert (alone[2:12, 2:22] == image[20:30, 40:60]).all()
    assert not alone[:2].any() and not alone[:, 22:].any()
    mask[:3, :] = True
    assert object_alone(image, mask).shape == (38, 80, 3), "there is no room beyond the frame"


def test_it_is_captioned_from_a_folder_and_what_surrounds_it_does_not_matter(folder, picture):
    image, mask = picture
    captioner = load_captioner(folder, device="cpu", dtype="float32")
    sentence = captioner(image, mask, most_tokens=6)
    assert sentence and all(word in WORDS[4:] for word in sentence.split())
    assert captioner(np.where(mask[..., None], image, 255 - image), mask, most_tokens=6) == sentence
    pixels = captioner._pixels(object_alone(image, mask))
    assert pixels.shape == (1, 3, 28, 28)
    torch.testing.assert_close(pixels[0, :, 0, 0], -torch.tensor([0.48145466 / 0.26862954, 0.4578275 / 0.26130258,
                                                                  0.40821073 / 0.27577711]))  # fmt: skip


def test_an_empty_mask_is_refused(picture):
    image, mask = picture
    with pytest.raises(CueError, match="nothing to caption"):
        object_alone(image, np.zeros_like(mask))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda path: (path / "model.safetensors").unlink(), "holds no weights.*--caption"),
        (lambda path: (path / "tokenizer.json").unlink(), "no tokenizer.json"),
        (lambda path: (path / "tokenizer.json").write_text("{"), "does not load"),
        (lambda path: (path / "config.json").write_text('{"model_type": "sam"}'), "type 'sam'"),
    ],
)
def test_what_is_no_captioner_is_refused_in_a_sentence(folder, tmp_path, change, said):
    copied = tmp_path / "copy"
    copied.mkdir()
    for file in folder.iterdir():
        (copied / file.name).write_bytes(file.read_bytes())
    change(copied)
    with pytest.raises(WeightsUnavailable, match=said):
        load_captioner(copied)


def test_without_weights_the_sentence_says_what_to_do(tmp_path):
    with pytest.raises(WeightsUnavailable, match="is not a folder; give a folder with a BLIP-2 model"):
        load_captioner(tmp_path / "none")


def test_a_config_without_image_token_is_refused(folder, tmp_path):
    copied = tmp_path / "copy"
    copied.mkdir()
    for file in folder.iterdir():
        (copied / file.name).write_bytes(file.read_bytes())
    facts = json.loads((copied / "config.json").read_text())
    facts.pop("image_token_index", None)
    facts.pop("image_token_id", None)
    (copied / "config.json").write_text(json.dumps(facts))
    with pytest.raises(WeightsUnavailable, match="image token"):
        load_captioner(copied)


def test_each_object_is_tracked_under_its_own_caption(folder, tmp_path, monkeypatch, capsys):
    scene = crossing_scene(height=96, width=160, frames=24)
    pictures = [scene.picture(float(t)) for t in range(2)]
    write_video(tmp_path / "clip.mp4", [p.image for p in pictures], fps=24)
    write_label_map(tmp_path / "first.png", pictures[0].labels)
    arguments = ("track", tmp_path / "clip.mp4", "--mask", tmp_path / "first.png", "--out", tmp_path / "out",
                 "--captioner", folder, "--size", "tokens=60", "--threads", "1", "--no-overlay")  # fmt: skip
    monkeypatch.setattr("sys.argv", ["undertow", *map(str, arguments)])
    try:
        cli.main()
    except SystemExit as stop:
        assert not stop.code
    said = capsys.readouterr()
    assert all(f"object {number}: word" in said.out + said.err for number in (1, 2))
    assert "reads no more than 'word" in said.out + said.err, "tiny reads 32 letters or so"
    monkeypatch.setattr("sys.argv", ["undertow", *map(str, arguments), "--caption", "a dog"])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code and "not both" in capsys.readouterr().err
