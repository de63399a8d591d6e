"""Every family that is known loads from a folder, and shows the attention that its card reads."""

import numpy as np
import pytest

from families import FAMILIES
from undertow.backbones import load


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("given", ["", "card.json"])
def test_a_folder_is_encoded_and_observed(family_folder, name, given, monkeypatch, tmp_path):
    if name == "svd" and not given:
        pytest.skip("a folder of SVD is read by the published card only")
    monkeypatch.setattr("huggingface_hub.constants.HF_HOME", str(tmp_path))
    backbone = load(family_folder(name) / given, device="cpu", dtype="float32")
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    latents = backbone.encode(images)
    sites = backbone.card.sites["track"]
    seen = backbone.observe(latents, 1, sites)
    for site in sites:
        tokens = (64 // site.stride) ** 2
        assert seen.queries[site.path].shape == seen.keys[site.path].shape == (2, site.heads, tokens, site.head_dim)
        assert seen.keys[site.path].isfinite().all()
    assert backbone.decode(latents).shape == images.shape
