import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file

from families import FEATURES, write_features
from undertow.backbones import Noising, Site, load
from undertow.backbones.adapters.vit import KINDS, PROJECTIONS
from undertow.backbones.reading.edits import Restrict
from undertow.base import SettingsError

ROWS, COLUMNS = 5, 8
TOKENS = ROWS * COLUMNS
PARITY = {"rtol": 1e-5, "atol": 1e-5}


@pytest.fixture(scope="module", params=FEATURES)
def model(request, tmp_path_factory):
    """A backbone, the plain model of transformers from the same folder, and its output for the backbone's latents."""
    folder = write_features(request.param, tmp_path_factory.mktemp("vit") / request.param)
    backbone = load(folder, device="cpu", dtype="float32")
    stock = getattr(transformers, f"{KINDS[request.param]}Model").from_pretrained(folder).eval()
    pictures = np.random.default_rng(0).integers(0, 256, (2, 8 * ROWS, 8 * COLUMNS, 3), dtype=np.uint8)
    return backbone, stock, backbone.encode(pictures), pictures


def run(stock, latents):
    options = {"interpolate_pos_encoding": True} if stock.config.model_type == "vit" else {}
    with torch.no_grad():
        return stock(latents, **options).last_hidden_state


def blocks(stock):
    return next(each for each in stock.modules() if isinstance(each, torch.nn.ModuleList))


def hooked(module, forward):
    """Returns what a module returned in a forward."""
    seen = []
    hook = module.register_forward_hook(lambda _, args, output: seen.append(output))
    forward()
    hook.remove()
    return seen[0]


def test_hidden_states_equal_those_of_plain_hooks(model):
    backbone, stock, latents, _ = model
    found = [site for site in backbone.sites("block")]
    seen = backbone.observe(latents, 0, found).features
    assert seen.keys() == {site.path for site in found} and not any(each.requires_grad for each in seen.values())
    for number, block in enumerate(blocks(stock)):
        named = {path.rpartition(".")[2]: module for path, module in block.attention.named_modules()}
        parts = {
            f".{name}": next(named[each] for each in names if each in named) for name, names in PROJECTIONS.items()
        }
        for part, module in {"": block, **parts}.items():
            expected = hooked(module, lambda: run(stock, latents))[:, -TOKENS:]
            torch.testing.assert_close(seen[f"blocks.{number}{part}"], expected, **PARITY)
    if "norm" in seen:
        torch.testing.assert_close(seen["norm"], run(stock, latents)[:, -TOKENS:], **PARITY)


def test_queries_and_keys_are_those_that_the_attention_compares(model, monkeypatch):
    """Of every block; with positions rotated, and class and register tokens left out."""
    backbone, stock, latents, _ = model
    compared = []
    functions = transformers.modeling_utils.ALL_ATTENTION_FUNCTIONS

    def attend(module, query, key, value, mask, **options):
        compared.append((query, key))
        return torch.nn.functional.scaled_dot_product_attention(query, key, value).transpose(1, 2), None

    monkeypatch.setitem(functions, "sdpa", attend)
    run(stock, latents)
    monkeypatch.undo()
    seen = backbone.observe(latents, 0, backbone.sites(), features=True)
    assert len(compared) == len(backbone.sites()) == 3
    for site, (query, key) in zip(backbone.sites(), compared, strict=True):
        torch.testing.assert_close(seen.queries[site.path], query[:, :, -TOKENS:], **PARITY)
        torch.testing.assert_close(seen.keys[site.path], key[:, :, -TOKENS:], **PARITY)
    last = hooked(blocks(stock)[1], lambda: run(stock, latents))[:, -TOKENS:]
    torch.testing.assert_close(seen.features["blocks.2.attn"], last, **PARITY)


def test_blocks_behind_the_site_are_neither_read_nor_run(model, monkeypatch):
    backbone, stock, latents, _ = model
    first = load(stock.name_or_path, device="cpu", dtype="float32", sites=backbone.sites()[:1])
    expected = backbone.observe(latents, 0, backbone.sites()[:1]).keys
    for block in list(first._blocks)[1:]:
        assert all(weight.is_meta for name, weight in block.named_parameters() if "layer_scale" not in name)
        monkeypatch.setattr(block, "forward", lambda *_, **__: pytest.fail("it was run"))
    assert torch.equal(first.observe(latents, 0, backbone.sites()[:1]).keys["blocks.0.attn"], expected["blocks.0.attn"])
    assert first.fingerprint() == backbone.fingerprint()


def test_pixels_are_normalised_and_come_back(model):
    backbone, stock, latents, pictures = model
    assert np.array_equal(backbone.decode(latents), pictures)
    if stock.config.model_type == "radio":
        assert latents.min() >= 0 and latents.max() <= 1
    else:
        white = backbone.encode(np.full((1, 8, 8, 3), 255, np.uint8))[0, :, 0, 0]
        torch.testing.assert_close(
            white, (1 - torch.tensor([0.485, 0.456, 0.406])) / torch.tensor([0.229, 0.224, 0.225])
        )


def test_what_it_cannot_do_is_said_in_a_sentence(model):
    backbone, _, latents, _ = model
    level = Noising(kind="noise", timestep=1)
    for attempt in (
        lambda: backbone.denoise(latents, 1),
        lambda: backbone.noise(latents, level, [0, 1]),
        lambda: backbone.prepare(latents, Noising(), [0, 1]),
    ):
        with pytest.raises(SettingsError, match="was trained without noise"):
            attempt()
    with pytest.raises(SettingsError, match="sees images and no text"):
        backbone.condition("a kite")
    with pytest.raises(SettingsError, match="cannot be changed"):
        backbone.observe(latents, 0, backbone.sites(), edits=[Restrict("blocks.0.attn", torch.zeros(1, 1, 1))])
    for path, kind in (("blocks.3.attn", "self"), ("blocks.0", "self"), ("blocks.0.attn", "block"), ("head", "block")):
        with pytest.raises(SettingsError, match="has no site"):
            backbone.observe(latents, 0, [Site(path, kind, 1, 32, 8)])
    with pytest.raises(SettingsError, match="has 2 heads of 16 in this model"):
        backbone.observe(latents, 0, [Site("blocks.0.attn", "self", 4, 8, 8)])


def test_files_with_the_names_they_were_published_with_are_read(tmp_path):
    """Files keep the names that transformers gave the weights once; what was one matrix is taken apart."""
    folder = write_features("radio", tmp_path / "radio")
    expected = load(folder, device="cpu", dtype="float32")
    weights = load_file(folder / "model.safetensors")
    names = [name for name in weights if "qkv" in name]
    assert names, "transformers writes what it was published with"
    block = expected._blocks[0].attention
    stored = weights[next(name for name in names if "0.attn.qkv.weight" in name)]
    assert torch.equal(torch.cat([block.q_proj.weight, block.k_proj.weight, block.v_proj.weight]), stored)
