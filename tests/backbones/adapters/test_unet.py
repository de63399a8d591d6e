"""Images in and out, sizes, texts."""

import numpy as np
import pytest
import torch

from undertow.backbones import fit_size
from undertow.backbones.adapters import autoencoder
from undertow.base import SettingsError


def test_encoding_is_the_scaled_posterior_mode(model, images):
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2) / 127.5 - 1
    with torch.no_grad():
        expected = model.autoencoder.module.encode(pixels).latent_dist.mean * 0.18215
    found = model.encode(images)
    assert found.shape == (3, 4, 8, 12) and found.dtype == torch.float32
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(model.encode(images[1:2])[0], found[1], rtol=1e-4, atol=1e-6)


def test_large_frames_are_encoded_one_by_one_and_come_out_the_same(model, images, monkeypatch):
    together = model.encode(images)
    height, width = images.shape[1:3]
    assert [model.autoencoder.together(3, *size) for size in ((height, width), (360, 640), (480, 864))] == [3, 1, 1]
    monkeypatch.setattr(autoencoder, "CPU_PIXELS", 2 * height * width)
    assert model.autoencoder.together(3, height, width) == 2
    torch.testing.assert_close(model.encode(images), together, rtol=1e-4, atol=1e-6)


def test_encoding_resizes(model):
    flat = np.full((1, 40, 50, 3), 200, np.uint8)
    expected = model.encode(np.full((1, 16, 24, 3), 200, np.uint8))
    torch.testing.assert_close(model.encode(flat, (16, 24)), expected, rtol=1e-4, atol=1e-5)


def test_decoding_undoes_the_scale_of_encoding(model, images):
    latents = model.encode(images)
    decoded = model.decode(latents)
    assert decoded.shape == images.shape and decoded.dtype == np.uint8
    with torch.no_grad():
        expected = (
            ((model.autoencoder.module.decode(latents / 0.18215).sample + 1) * 127.5)
            .clamp(0, 255)
            .permute(0, 2, 3, 1)
            .numpy()
        )
    assert np.abs(decoded - expected).max() <= 0.5


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((1, 16, 16, 3), np.float32), "float32"),
        (np.zeros((16, 16, 3), np.uint8), r"\(16, 16, 3\)"),
        (np.zeros((0, 16, 16, 3), np.uint8), r"\(0, 16, 16, 3\)"),
        (np.zeros((1, 17, 18, 3), np.uint8), "size 18x17 is not divisible by 2 .* nearest is 18x18"),
    ],
)
def test_unusable_images_are_refused(model, array, message):
    with pytest.raises(SettingsError, match=message):
        model.encode(array)


def test_strides(model):
    assert (model.stride, model.multiple) == (2, 4)


def test_input_size_keeps_the_aspect_and_the_budget(model):
    assert model.input_size(480, 854) == (12, 20)  # 60 of the card's 64 tokens of stride 2
    assert model.input_size(480, 854, tokens=9216) == (144, 256)  # exactly 9216
    assert model.input_size(480, 854, fit="squash") == (16, 16)
    assert model.input_size(480, 854, size=(20, 40)) == (20, 40)
    with pytest.raises(SettingsError, match="not divisible by 4"):
        model.input_size(480, 854, size=(20, 42))


def test_sizes_of_stable_diffusion():
    facts = {"tokens": 96 * 96, "stride": 8, "multiple": 64}
    assert fit_size(480, 854, **facts) == (576, 1024)
    assert fit_size(854, 480, **facts) == (1024, 576)
    assert fit_size(480, 854, fit="squash", **facts) == (768, 768)
    assert fit_size(10, 100000, **facts) == (64, 9216)
    with pytest.raises(SettingsError, match="0x480"):
        fit_size(480, 0, **facts)


def test_texts_follow_stable_diffusion(model):
    tokenizer, encoder = model._load_text()
    ids = tokenizer("a dog", padding="max_length", max_length=9, return_tensors="pt").input_ids
    with torch.no_grad():
        expected = encoder(ids)[0][0]
    found = model.condition("a dog")
    assert found.tensor.shape == (9, 32) and found.text == "a dog" and found.provenance == "text"
    torch.testing.assert_close(found.tensor, expected)
    assert model.condition("a dog") is found
    assert model.condition("").provenance == "null"
    assert model.condition("").tensor.isfinite().all()


def test_long_texts_are_refused(model):
    with pytest.raises(SettingsError, match="12 tokens and the model reads 9"):
        model.condition("four score a")


def test_no_gradients_and_no_training_mode(model, latents):
    assert not model.denoiser.training and not model.autoencoder.module.training
    assert not any(
        weight.requires_grad for weight in [*model.denoiser.parameters(), *model.autoencoder.module.parameters()]
    )
    assert not model.denoise(latents, 41).requires_grad
