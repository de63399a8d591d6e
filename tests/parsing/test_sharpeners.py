"""Maps by upsampling and by pushes: of every frame, summing to one, and right where the answer is known."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from undertow.backbones import get_card, random_backbone
from undertow.base import SettingsError
from undertow.parsing import ParseSettings, resolve_parse
from undertow.parsing.modulation import (
    EMERDIFF,
    TINY,
    VIDSEG,
    VIDSEG_CLIPS,
    modulation_for,
    one_hot,
    transformer_path,
)
from undertow.parsing.perturbation import Pushes, blend
from undertow.parsing.protocols import CoarseBatch
from undertow.parsing.settings import Modulation
from undertow.parsing.sharpeners import (
    ExactSharpener,
    blur,
    difference,
    enlarge,
    favour,
    make_sharpener,
    normalise,
    probabilities,
)

SITES = get_card("tiny").sites["modulate"]


@pytest.fixture(scope="module")
def batch(tiny_like):
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 64, 3), dtype=np.uint8)
    labels = (torch.arange(8).expand(3, 4, 8) > 3).long()
    labels[2] = 2
    soft = torch.nn.functional.one_hot(labels, 3).movedim(-1, 1).float()
    latents = tiny_like.encode(images)
    return CoarseBatch([4, 5, 6], list(images), soft, (7, 2, 300), latents / latents.std())


@pytest.mark.parametrize("memory", [2 << 30, 1])
def test_maps_sum_to_one_at_native_size(tiny_like, batch, memory):
    modulation = Modulation(steps=(121, 41), sites=SITES, memory=memory)
    larger = [np.repeat(np.repeat(image, 2, 0), 2, 1)[:, :-3] for image in batch.images]
    maps = list(ExactSharpener(tiny_like, modulation)(replace(batch, images=larger)))
    assert [tuple(each.shape) for each in maps] == [(3, 64, 125)] * 3
    for each in maps:
        torch.testing.assert_close(each.sum(0), torch.ones(64, 125), rtol=0, atol=1e-4)
        assert each.min() >= 0
    assert (maps[0][2] == 0).all(), "a label without tokens cannot win"
    assert (maps[2].argmax(0) == 2).all(), "where there is one label, it is everywhere"


def test_hundreds_of_labels_are_pushed_a_frame_at_a_time(tiny_like, batch, monkeypatch):
    """Each frame has a map per label, which soon takes more than the forwards."""
    modulation = Modulation(steps=(121,), sites=SITES, memory=1 << 20)
    many = replace(batch, soft=torch.cat([batch.soft, torch.zeros(3, 200, 4, 8)], 1), ids=tuple(range(203)))
    frames = []
    whole = ExactSharpener.differences

    def counted(self, pushes, masks, size):
        frames.append(masks.shape[1])
        return whole(self, pushes, masks, size)

    monkeypatch.setattr(ExactSharpener, "differences", counted)
    assert [len(maps) for maps in ExactSharpener(tiny_like, modulation)(many)] == [203] * 3
    assert frames == [1, 1, 1]


def test_exact_maps_are_read_as_written_down(tiny_like, batch):
    modulation = Modulation(steps=(121, 41), sites=SITES, outside=0.7)
    pushes = Pushes(tiny_like, batch.latents[:2], batch.indices[:2], tiny_like.condition(""), modulation)
    masks = one_hot(batch.soft)[:, :2]
    maps = torch.zeros(3, 2, 32, 64)
    for answer in pushes.answers(masks):
        for (label, frame), plus, minus in zip(answer.pairs.tolist(), answer.plus, answer.minus, strict=True):
            images = [(tiny_like.decode_float(each[None]).clamp(-1, 1) + 1) / 2 for each in (plus, minus)]
            maps[label, frame] = difference(*images)[0]
    found = list(ExactSharpener(tiny_like, modulation)(batch))
    for frame in range(2):
        coarse = enlarge(masks[:, frame], (32, 64))
        read = favour(normalise(blur(maps[:, frame])), coarse, 0.7)
        torch.testing.assert_close(found[frame], probabilities(read, coarse), rtol=0, atol=1e-3)


def test_frames_of_an_image_model_do_not_depend_on_each_other(tiny_like, batch):
    modulation = Modulation(steps=(121,), sites=SITES)
    together = list(ExactSharpener(tiny_like, modulation)(batch))
    alone = CoarseBatch([5], batch.images[1:2], batch.soft[1:2], batch.ids, batch.latents[1:2])
    (other,) = ExactSharpener(tiny_like, modulation)(alone)
    torch.testing.assert_close(other, together[1], rtol=0, atol=1e-3)


def test_clips_are_pushed_whole(small_svd):
    images = np.random.default_rng(1).integers(0, 256, (3, 16, 24, 3), dtype=np.uint8)
    labels = (torch.arange(12).expand(3, 8, 12) > 5).long()
    soft = torch.nn.functional.one_hot(labels, 2).movedim(-1, 1).float()
    latents = small_svd.encode(images)
    modulation = modulation_for(small_svd.card, ParseSettings(modulation=Modulation(steps=(294, 42), blended=None)))
    sharpen = ExactSharpener(small_svd, modulation)
    maps = list(sharpen(CoarseBatch([0, 1, 2], list(images), soft, (0, 1), latents)))
    assert len(maps) == 3
    for each in maps:
        torch.testing.assert_close(each.sum(0), torch.ones(16, 24), rtol=0, atol=1e-4)


def test_presets_follow_the_model_and_the_method():
    settings = ParseSettings(seed=3)
    assert modulation_for(get_card("tiny"), settings) == replace(TINY, seed=3)
    assert modulation_for(get_card("sd-2.1"), settings) == replace(VIDSEG, seed=3)
    assert modulation_for(get_card("svd"), settings) == replace(VIDSEG_CLIPS, seed=3)
    assert VIDSEG_CLIPS.steps == (294, 252, 210, 168, 126, 84, 42, 0)
    emerdiff = replace(settings, method="emerdiff")
    assert modulation_for(get_card("sd-1.5"), emerdiff).strength == EMERDIFF.strength == 10
    assert EMERDIFF.steps[0] == 281
    for name, block in (("tiny", "modulate"), ("sd-1.5", "emerdiff")):
        card = get_card(name)
        assert modulation_for(card, emerdiff).sites == card.sites[block]
    with pytest.raises(SettingsError, match="EmerDiff"):
        modulation_for(get_card("svd"), emerdiff)
    with pytest.raises(SettingsError, match="modulation is 5"):
        modulation_for(get_card("tiny"), replace(settings, modulation=5))


def test_the_published_clip_model_has_its_sites():
    """On shapes alone, at full size; building it checks every site of the card."""
    model = random_backbone(get_card("svd"), device="meta")
    spatial, temporal = model.card.sites["modulate"]
    assert transformer_path(spatial) == transformer_path(temporal) == "up_blocks.2.attentions.2"
    assert sum(weight.numel() for weight in model.denoiser.parameters()) == 1_524_623_082


def test_a_model_that_is_no_unet_is_refused(tiny_video_like):
    resolved = resolve_parse(ParseSettings(quality="exact"), tiny_video_like, 32, 64)
    with pytest.raises(SettingsError, match="use turbo"):
        make_sharpener(tiny_video_like, resolved)


def _random(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def test_differences_do_not_wrap():
    """In bytes 16² is 0 and 100² is 16, so that large differences count as small ones."""
    values = torch.tensor([0.0, 4.0, 16.0, 32.0, 100.0])
    found = difference(values.view(1, 1, 1, 5).expand(1, 3, 1, 5), torch.zeros(1, 3, 1, 5))[0, 0]
    torch.testing.assert_close(found, values * 3**0.5)
    wrapped = np.array([0, 4, 16, 32, 100], np.uint8) ** 2
    assert wrapped.tolist() == [0, 16, 0, 0, 16]
    assert (found.diff() > 0).all()
    halves = difference(torch.full((3, 1, 1), 0.5), torch.full((3, 1, 1), 0.499))
    assert 0 < halves < 1 / 255, "less than one step of a byte is seen"


def test_blur_is_a_gaussian_with_mirrored_borders():
    maps = _random(2, 7, 6)
    found = blur(maps, 5, 3.0)
    weights = [math.exp(-0.5 * (offset / 3) ** 2) for offset in range(-2, 3)]
    total = sum(weights)

    def mirrored(index, size):
        return -index if index < 0 else 2 * size - 2 - index if index >= size else index

    for y in range(7):
        for x in range(6):
            expected = sum(
                weights[dy + 2] * weights[dx + 2] / total**2 * float(maps[1, mirrored(y + dy, 7), mirrored(x + dx, 6)])
                for dy in range(-2, 3)
                for dx in range(-2, 3)
            )
            assert abs(float(found[1, y, x]) - expected) < 1e-5
    assert blur(maps, 1) is maps
    assert blur(maps[:, :1, :1]).shape == (2, 1, 1)


def test_normalising_lifts_small_answers_and_leaves_empty_ones():
    maps = torch.stack([_random(3, 4), 1e-3 * _random(3, 4, seed=1), torch.zeros(3, 4)])
    found = normalise(maps)
    for one, given in zip(found, maps, strict=True):
        peak = float(given.max())
        torch.testing.assert_close(one, given / (peak + 1e-5) if peak else given)
    assert found[2].abs().max() == 0


def test_filtering_and_blending_against_loops():
    maps, masks = _random(2, 3, 4), (_random(2, 3, 4, seed=2) > 0.5).float()
    found = favour(maps, masks, 0.7)
    latents, original = _random(2, 4, 6, 8, seed=3), _random(2, 4, 6, 8, seed=4)
    mixed = blend(latents, original, masks)
    for n in range(2):
        for y in range(3):
            for x in range(4):
                inside = bool(masks[n, y, x])
                assert found[n, y, x] == maps[n, y, x] * (1 if inside else torch.tensor(0.7))
                cells = (n, slice(None), slice(2 * y, 2 * y + 2), slice(2 * x, 2 * x + 2))
                assert torch.equal(mixed[cells], (latents if inside else original)[cells])


def test_enlarged_masks_stay_within_bounds():
    found = enlarge((_random(2, 3, 4, 5) > 0.5), (12, 20))
    assert found.shape == (2, 3, 12, 20) and found.min() >= 0 and found.max() <= 1
    assert enlarge(torch.ones(1, 2, 2), (5, 7)).min() > 0.999


def test_probabilities_are_shares_and_fall_back_to_masks():
    maps, masks = _random(3, 4, 5), torch.zeros(3, 4, 5)
    masks[1] = 1
    maps[:, 2:] = 0
    found = probabilities(maps, masks)
    torch.testing.assert_close(found.sum(0), torch.ones(4, 5))
    assert torch.equal(found.argmax(0)[:2], maps.argmax(0)[:2])
    assert (found.argmax(0)[2:] == 1).all()
