"""Every family loads from a folder, of which no more is read than what is asked of the model."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from families import FAMILIES, small_backbone, write_family
from undertow.backbones import load
from undertow.backbones.weights.networks import StoredWeights
from undertow.base import SettingsError, WeightsUnavailable


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path):
    """The user's cache, so that no test meets what another left there."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HOME", str(tmp_path / "home"))


@pytest.fixture(scope="module", params=FAMILIES)
def family(request):
    return request.param


@pytest.fixture
def read(monkeypatch):
    """The names of the weights that are read."""
    names = []
    real = StoredWeights.tensors

    def listed(stored, wanted):
        names.extend(wanted)
        return real(stored, wanted)

    monkeypatch.setattr(StoredWeights, "tensors", listed)
    return names


def images_for(backbone, count=2):
    height, width = backbone.fixed_size or (64, 64)
    return np.random.default_rng(0).integers(0, 256, (count, height, width, 3), dtype=np.uint8)


def spoil(folder, component, unwanted):
    """Makes the weights of a component whose names are unwanted not finite, and returns these names."""
    (file,) = (folder / component).glob("*.safetensors")
    weights = load_file(file)
    spoiled = [name for name in weights if unwanted(name)]
    save_file(
        {name: torch.full_like(each, torch.nan) if name in spoiled else each for name, each in weights.items()},
        file,
        {"format": "pt"},
    )
    return spoiled


@pytest.mark.parametrize("given", ["", "card.json"])
def test_a_folder_is_the_model_it_was_made_from(family_folder, family, given):
    loaded = load(family_folder(family) / given, device="cpu", dtype="float32")
    made = small_backbone(family)
    # The text encoder is another one.
    text = made.condition("a red kite" if made.card.family == "dit" else None)
    images = images_for(made)
    latents = loaded.encode(images)
    torch.testing.assert_close(latents, made.encode(images), rtol=0, atol=0)
    if loaded.card.positions == made.card.positions:
        assert torch.equal(loaded.denoise(latents, 1, text), made.denoise(latents, 1, text))
        assert loaded.fingerprint() == made.fingerprint()
    assert loaded.decode(latents).shape == images.shape
    assert np.array_equal(loaded.decode(latents), made.decode(latents))
    assert loaded.sites() == made.sites() and loaded.parts() == made.parts()
    own = loaded.condition()
    assert own.tensor.shape[-1] == text.tensor.shape[-1] and own.provenance == "null"


@pytest.mark.parametrize("purpose", ["track", "parse"])
def test_weights_behind_the_last_site_are_not_read(family, purpose, tmp_path, read):
    folder = write_family(family, tmp_path / "mine")
    whole = load(folder / "card.json", device="cpu", dtype="float32")
    images, component = images_for(whole), "transformer" if whole.card.family == "dit" else "unet"
    sites, latents, text = whole.card.places(purpose), whole.encode(images), whole.condition()
    expected, printed = whole.observe(latents, 1, sites, text, features=True), whole.fingerprint()
    last = max(whole._place(site.path) for site in sites)
    later = spoil(folder, component, lambda name: whole._place(name) > last)
    decoder = spoil(folder, "vae", lambda name: name.startswith("decoder."))
    assert later and decoder
    with pytest.raises(WeightsUnavailable, match="NaN or infinite numbers"):
        load(folder, device="cpu", dtype="float32")

    read.clear()
    loaded = load(folder / "card.json", device="cpu", dtype="float32", sites=purpose)
    seen = loaded.observe(loaded.encode(images), 1, sites, text, features=True)
    assert not {*later, *decoder} & {*read} and len(read) == len({*read})
    for mine, theirs in (
        (seen.queries, expected.queries),
        (seen.keys, expected.keys),
        (seen.features, expected.features),
    ):
        assert mine.keys() == theirs.keys() and all(torch.equal(mine[path], theirs[path]) for path in theirs)
    weights = loaded._network.module.state_dict()
    assert {name for name, weight in weights.items() if weight.is_meta} == {*later}
    assert sum(loaded.parts().values()) < sum(whole.parts().values())
    assert loaded.parts(sites)["denoiser"] == whole.parts(sites)["denoiser"] == loaded.parts()["denoiser"]
    with pytest.raises(WeightsUnavailable, match="NaN or infinite numbers in decoder"):
        loaded.decode(latents)
    with pytest.raises(WeightsUnavailable, match="NaN or infinite numbers"):
        loaded.denoise(latents, 1, text)
    assert loaded.fingerprint() != printed, "it is not the model that it was"


def test_what_was_not_read_is_read_when_it_is_needed(family_folder, family, read):
    folder = family_folder(family) / "card.json"
    whole, loaded = (load(folder, device="cpu", dtype="float32", sites=sites) for sites in (None, "track"))
    printed = loaded.fingerprint()
    assert printed == whole.fingerprint()
    latents = loaded.encode(images_for(loaded))
    read.clear()
    assert torch.equal(loaded.denoise(latents, 1), whole.denoise(latents, 1))
    first = len(read)
    assert first and loaded.parts() == {**whole.parts(), "autoencoder": loaded.parts()["autoencoder"]}
    loaded.denoise(latents, 1)
    assert len(read) == first and loaded.fingerprint() == printed
    assert np.array_equal(loaded.decode(latents), whole.decode(latents))
    assert loaded.parts() == whole.parts() and loaded.fingerprint() == printed


def test_parts_of_a_model_are_files_of_it(family_folder, family):
    folder = family_folder(family)
    whole = load(folder, device="cpu", dtype="float32")
    component = "transformer" if whole.card.family == "dit" else "unet"
    (file,) = (folder / component).glob("*.safetensors")
    assert whole.parts()["denoiser"] == sum(weight.nbytes for weight in load_file(file).values())
    wide, thin = family in ("svd", "mochi-1"), family.startswith(("wan", "cosmos"))
    assert whole.encoder_width == (32 if wide else 4 if thin else 8)


def test_a_file_that_is_not_needed_may_be_absent(tmp_path):
    folder = write_family("wan2.1-1.3b", tmp_path / "mine", max_shard_size="6KB")
    whole = load(folder, device="cpu", dtype="float32")
    last = whole.sites()[-1].path.rpartition(".")[0]
    kept = {}
    for file in sorted((folder / "transformer").glob("*.safetensors")):
        kept[file] = all(name.startswith(f"{last}.") for name in load_file(file))
    assert any(kept.values())
    for file, unwanted in kept.items():
        if unwanted:
            file.unlink()
    first = whole.sites()[:1]
    loaded = load(folder, device="cpu", dtype="float32", sites=first)
    latents, text = whole.encode(images_for(whole)), whole.condition()
    path = first[0].path
    assert torch.equal(
        loaded.observe(latents, 1, first, text).keys[path], whole.observe(latents, 1, first, text).keys[path]
    )
    with pytest.raises(WeightsUnavailable, match=r"lacks .* of its weights"):
        loaded.denoise(latents, 1, text)


def test_the_low_noise_denoiser_of_two_is_read(tmp_path):
    """Wan 2.2 A14B has a denoiser for high noise levels, and another for those that tracking reads at."""
    folder = write_family("wan2.1-1.3b", tmp_path / "mine")
    other = write_family("wan2.1-1.3b", tmp_path / "other", seed=1)
    shutil.copytree(other / "transformer", folder / "transformer_2")
    with pytest.raises(SettingsError, match=r"two denoisers and .* no boundary_ratio"):
        load(folder, device="cpu")
    (folder / "model_index.json").write_text('{"boundary_ratio": 0.875}')
    loaded, low = (load(each, device="cpu", dtype="float32") for each in (folder, other))
    latents, text = low.encode(images_for(low)), low.condition()
    assert torch.equal(loaded.denoise(latents, 60, text), low.denoise(latents, 60, text))
    with pytest.raises(SettingsError, match="that of timesteps below 875 is loaded"):
        loaded.denoise(latents, 875, text)


def test_observations_can_be_differentiated(family):
    backbone = small_backbone(family)
    latents = torch.randn(
        2, backbone.channels, *(cells // backbone.stride for cells in backbone.fixed_size or (64, 64))
    )
    text = backbone.condition()
    tensor = text.tensor.clone().requires_grad_()
    site = backbone.sites()[-1]
    seen = backbone.observe(latents, 1, [site], replace(text, tensor=tensor), grad=True)
    (gradient,) = torch.autograd.grad(seen.keys[site.path].sum(), [tensor])
    assert gradient.abs().sum() > 0
    assert not backbone.observe(latents, 1, [site], replace(text, tensor=tensor)).keys[site.path].requires_grad
