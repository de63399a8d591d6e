import pytest
import torch
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizerFast

from families import write_family
from undertow.backbones import get_card, load, random_backbone


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_family("sdxl", tmp_path_factory.mktemp("xl") / "small")


@pytest.fixture(scope="module")
def model(folder):
    return load(folder / "card.json", device="cpu", dtype="float32")


def test_predictions_and_queries_are_those_of_a_stock_forward(model):
    latents, text = torch.randn(2, 4, 8, 16, generator=torch.Generator().manual_seed(0)), model.condition("a red kite")
    told = {
        "text_embeds": text.pooled.expand(2, -1),
        "time_ids": torch.tensor([[64.0, 128, 0, 0, 64, 128]]).expand(2, -1),
    }
    (site,), kept = model.card.sites["track"], []
    attention = model.denoiser.get_submodule(site.path)
    hook = attention.to_q.register_forward_hook(lambda _, __, output: kept.append(output))
    with torch.no_grad():
        states = text.tensor.expand(2, -1, -1)
        expected = model.denoiser(latents, 41, states, added_cond_kwargs=told).sample
    hook.remove()
    torch.testing.assert_close(model.denoise(latents, 41, text), expected, rtol=1e-5, atol=1e-5)
    seen = model.observe(latents, 41, [site], text).queries[site.path]
    torch.testing.assert_close(seen.transpose(1, 2).flatten(2), kept[0], rtol=1e-5, atol=1e-5)
    assert not torch.allclose(model.denoise(latents, 41), expected, atol=1e-5), "the text is read"


def test_a_text_is_the_last_states_but_one_of_both_encoders(folder, model):
    parts = []
    for kind, number in ((CLIPTextModel, ""), (CLIPTextModelWithProjection, "_2")):
        tokenizer = CLIPTokenizerFast.from_pretrained(folder / f"tokenizer{number}")
        encoder = kind.from_pretrained(folder / f"text_encoder{number}").eval()
        ids = tokenizer("a red kite", padding="max_length", max_length=10, return_tensors="pt").input_ids
        with torch.no_grad():
            parts.append(encoder(ids, output_hidden_states=True))
    found = model.condition("a red kite")
    expected = torch.cat([each.hidden_states[-2][0] for each in parts], dim=-1)
    torch.testing.assert_close(found.tensor, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found.pooled, parts[1].text_embeds[0], rtol=1e-5, atol=1e-5)


def test_the_published_shape_has_the_sites_of_the_card():
    model = random_backbone(get_card("sdxl"), device="meta")
    assert round(sum(each.numel() for each in model.denoiser.parameters()) / 1e6) == 2567
    assert model.input_size(480, 854, fit="squash") == (1024, 1024)
