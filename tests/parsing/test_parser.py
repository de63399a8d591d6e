"""Whole runs on a small real model: every method, any anchors, any length and size, resumed and streamed."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import undertow as ut
from undertow.base import CueError, SettingsError
from undertow.masks import VOID
from undertow.observing.observer import Observer
from undertow.parsing import Parser, ParseSettings, parse, resolve_parse
from undertow.parsing.neighbours import Labelled
from undertow.parsing.parser import make_labeller
from undertow.refinement.settings import CrfSettings
from undertow.world import make_family_scene, semantic_map

SETTINGS = ParseSettings(method="vidseg", tokens=200, batch=3, clusters=6)
METHODS = ["vidseg", "propagate", "emerdiff"]


@pytest.fixture(scope="module")
def clip():
    """Seven frames of 75 x 101 pixels and their classes."""
    scene = make_family_scene("plain", 5, 75, 101)
    pictures = [scene.picture(float(time)) for time in range(7)]
    return np.stack([p.image for p in pictures]), [semantic_map(scene, p) for p in pictures]


def labels_of(results):
    return np.stack([result.labels for result in results])


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("direct", [True, False])
def test_every_frame_gets_the_classes_of_the_anchor(tiny_like, clip, method, direct):
    images, maps = clip
    results = list(parse(images, {0: maps[0]}, tiny_like, replace(SETTINGS, method=method, anchor_grid=direct)))
    assert [result.index for result in results] == list(range(7))
    known = set(np.unique(maps[0]).tolist())
    for result in results:
        assert result.labels.shape == (75, 101) and result.labels.dtype == np.uint16
        assert set(np.unique(result.labels).tolist()) <= known == set(result.ids)
        assert result.areas == {int(c): int((result.labels == c).sum()) for c in np.unique(result.labels)}
        assert all(0 <= value <= 1 for value in result.confidence.values())
    assert np.array_equal(results[0].labels, maps[0])
    # An untrained network tells colours apart well enough to beat chance on the next frames.
    assert np.mean([(r.labels == m).mean() for r, m in zip(results[1:], maps[1:], strict=True)]) > 0.7


@pytest.mark.parametrize("method", METHODS)
def test_an_interrupted_run_goes_on_to_equal_results(tiny_like, clip, method):
    images, maps = clip
    settings, anchors = replace(SETTINGS, method=method, keep_soft=True), {4: maps[4]}
    whole = list(parse(images, anchors, tiny_like, settings))
    first = Parser(tiny_like, anchors, settings)
    run = first.run(ut.Video(images))
    # Stopped in the middle of the second batch, a run goes on from the end of the first.
    before = [next(run) for _ in range(5)]
    assert first.next == 3
    second = Parser(tiny_like, anchors, settings)
    second.restore(first.state())
    after = list(second.run(ut.Video(images)))
    assert [result.index for result in after] == [3, 4, 5, 6]
    # So does the first one itself.
    assert np.array_equal(labels_of(first.run(ut.Video(images))), labels_of(after))
    for one, other in zip([*before[:3], *after], whole, strict=True):
        assert torch.equal(one.probabilities, other.probabilities)
        assert np.array_equal(one.labels, other.labels)


def test_clusters_without_anchors_resume_too(tiny_like, clip):
    images, _ = clip
    settings = replace(SETTINGS, carried_tokens=300, discover=True)
    whole = list(parse(images, None, tiny_like, settings))
    assert whole[0].ids[:6] == tuple(range(6))
    first = Parser(tiny_like, None, settings)
    run = first.run(ut.Video(images))
    before = [next(run) for _ in range(3)]
    second = Parser(tiny_like, None, settings)
    second.restore(first.state())
    assert np.array_equal(labels_of([*before, *second.run(ut.Video(images))]), labels_of(whole))


@pytest.mark.parametrize("method", ["vidseg", "propagate"])
def test_frames_before_the_first_anchor(tiny_like, clip, method):
    images, maps = clip
    anchors, settings = {6: maps[6]}, replace(SETTINGS, method=method)
    both = list(parse(images, anchors, tiny_like, settings))
    assert np.mean([(r.labels == m).mean() for r, m in zip(both, maps, strict=True)]) > 0.7
    forward = list(parse(images, anchors, tiny_like, replace(settings, direction="forward")))
    assert all((result.labels == VOID).all() and not result.ids for result in forward[:6])
    assert np.array_equal(forward[6].labels, maps[6])


@pytest.mark.parametrize("method", METHODS)
def test_a_stream_gives_what_an_array_gives(tiny_like, clip, method):
    images, maps = clip
    settings = replace(SETTINGS, method=method)
    array = labels_of(parse(images, {0: maps[0]}, tiny_like, settings))
    stream = labels_of(parse(ut.Video(iter(images)), {0: maps[0]}, tiny_like, settings))
    assert np.array_equal(array, stream)


def test_a_stream_uses_anchors_as_they_come(tiny_like, clip):
    images, maps = clip
    anchors = {0: maps[0], 5: maps[5] + np.uint16(100)}
    results = list(parse(ut.Video(iter(images)), anchors, tiny_like, SETTINGS))
    assert np.array_equal(results[5].labels, anchors[5])
    # Batches before the second anchor know its classes by name, but none of its tokens.
    assert all(result.labels.max() < 100 for result in results[:3])
    known_ahead = list(parse(images, anchors, tiny_like, SETTINGS))
    assert any(result.labels.max() >= 100 for result in known_ahead[:3])


def test_numbers_of_a_clip_are_those_of_its_video(tiny_like, clip):
    images, maps = clip
    part = ut.Clip(ut.Video(images), start=1, end=6, every=2)
    results = list(parse(part, {3: maps[3]}, tiny_like, replace(SETTINGS, batch=1)))
    assert [result.index for result in results] == [1, 3, 5]
    alone = list(parse(images[1:6:2], {1: maps[3]}, tiny_like, replace(SETTINGS, batch=1)))
    assert np.array_equal(labels_of(results), labels_of(alone))


@pytest.mark.parametrize("shape", [(33, 47), (16, 200), (64, 64)])
@pytest.mark.parametrize("anchored", [False, True])
def test_one_frame_of_any_size(tiny_like, shape, anchored):
    image = np.random.default_rng(0).integers(0, 256, (1, *shape, 3), dtype=np.uint8)
    labels = np.zeros(shape, np.uint16)
    labels[:, shape[1] // 2 :] = 1
    labels[0] = VOID
    (result,) = parse(image, {0: labels} if anchored else None, tiny_like, SETTINGS)
    assert result.labels.shape == shape
    if anchored:
        assert np.array_equal(result.labels[1:], labels[1:])
        assert set(np.unique(result.labels[0])) <= {0, 1}


@pytest.mark.parametrize("method", ["vidseg", "emerdiff"])
def test_clusters_are_as_many_as_asked_for_until_something_new_comes(tiny_like, clip, method):
    """What was clustered is not new, and few of its tokens may be carried over."""
    images, _ = clip
    settings = replace(SETTINGS, method=method, clusters=4, carried_tokens=40, novelty=0.5)
    results = list(parse(images[:3], None, tiny_like, settings))
    assert {tuple(result.ids) for result in results} == {(0, 1, 2, 3)}


def test_more_clusters_than_tokens_are_as_many_as_tokens(tiny_like, clip):
    images, _ = clip
    (result,) = parse(images[:1], None, tiny_like, replace(SETTINGS, method="emerdiff", clusters=255))
    assert len(result.ids) <= 200


def test_many_classes_keep_their_numbers(tiny_like, clip):
    """Labels have 16 bits; a class may be smaller than a token, and have any number but 65535."""
    images, _ = clip
    labels = (np.arange(75 * 101).reshape(75, 101) // 28 + 65000).astype(np.uint16)
    assert len(np.unique(labels)) > 255
    results = list(parse(images[:2], {0: labels}, tiny_like, replace(SETTINGS, upsampling="bilinear")))
    assert np.array_equal(results[0].labels, labels)
    assert results[1].labels.min() >= 65000 and results[1].labels.max() < VOID


@pytest.mark.parametrize("quality_of", [{"upsampling": "bilinear"}, {"crf": CrfSettings(steps=2)}])
def test_options_change_no_shape(tiny_like, clip, quality_of):
    images, maps = clip
    settings = replace(SETTINGS, keep_soft=True, **quality_of)
    for result in parse(images[:3], {0: maps[0]}, tiny_like, settings):
        assert result.probabilities.shape == (len(result.ids), 75, 101)
        assert torch.allclose(result.probabilities.sum(0), torch.ones(75, 101), atol=1e-4)


def test_what_cannot_be_is_refused(tiny_like, clip):
    images, _ = clip
    with pytest.raises(SettingsError, match="tokens; give fewer"):
        list(parse(images[:1], None, tiny_like, replace(SETTINGS, clusters=255)))
    with pytest.raises(SettingsError, match="clusters is 5000; give a whole number from 1 to 255"):
        ParseSettings(clusters=5000)
    with pytest.raises(CueError, match="moves the labels of anchors"):
        Parser(tiny_like, None, replace(SETTINGS, method="propagate"))
    with pytest.raises(CueError, match="void everywhere"):
        list(parse(images, {0: np.full((75, 101), VOID, np.uint16)}, tiny_like, SETTINGS))
    with pytest.raises(SettingsError, match="not the state of a parser"):
        Parser(tiny_like).restore({})


@pytest.mark.parametrize(
    "wrong",
    [
        {"batch": 0},
        {"clusters": 0},
        {"clusters": "many"},
        {"timestep": 1000},
        {"quality": "best"},
        {"balance": 1.5},
        {"novelty": 0.0},
        {"size": (8, 8)},
    ],
)
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(SettingsError):
        ParseSettings(**wrong)


def test_batches_of_one_size_do_not_change_unrefined_labels(tiny_like, clip):
    """Without agreement in a batch, the labels of the first batch are those of tokens one by one."""
    images, maps = clip
    settings = replace(SETTINGS, agree=False, batch=7)
    video, resolved = ut.Video(images), resolve_parse(settings, tiny_like, 75, 101)
    frames, ids = list(video), tuple(np.unique(maps[0]).tolist())
    observer = Observer(tiny_like, resolved)
    together = make_labeller(observer, resolved, ids).label(frames, {0: maps[0]}).soft
    for frame in frames[1:]:
        alone = make_labeller(observer, resolved, ids)
        alone.learn(frames[:1], {0: maps[0]})
        found = alone.label([frame], {}).soft[0]
        # The networks round differently in other batches, which may exchange neighbours as near as each other.
        assert (found - together[frame.index]).abs().mean() < 0.01


def test_what_moves_on_within_a_batch_is_nothing_new(tiny_like):
    """Tokens that change a little from frame to frame are followed; what is unlike all frames before is new."""
    resolved = resolve_parse(replace(SETTINGS, discover=True), tiny_like, 75, 101)
    labeller = make_labeller(Observer(tiny_like, resolved), resolved, (0, 1))
    rows, columns = labeller.resolved.grid
    tokens = 0.1 * torch.rand(12, rows * columns, 3, generator=torch.Generator().manual_seed(0))
    patch = torch.zeros(rows, columns, dtype=torch.bool)
    patch[2:8, 2:8] = True
    tokens[:, patch.flatten()] += torch.linspace(1, 3, 12).view(12, 1, 1)
    classes = torch.stack([~patch.flatten(), patch.flatten()], -1).float()
    labeller.previous, labeller.usual = Labelled(tokens[0], classes), 1.0
    found = labeller._discovering(tokens)
    assert labeller.ids == (0, 1) and found.shape == (12, 2, rows * columns)
    assert torch.equal(found[-1].argmax(0) == 1, patch.flatten())
    tokens[6:, patch.flatten()] += 50
    found = labeller._discovering(tokens).argmax(1)[:, patch.flatten()]
    assert labeller.ids == (0, 1, 2)
    assert (found[:6] == 1).all() and (found[6:] == 2).float().mean() > 0.8
    assert len(labeller.previous) == rows * columns, "the frames of the batch are remembered when all is decided"
