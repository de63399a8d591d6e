"""`undertow bench sweep` and `undertow bench rivals` on two sequences of a moving square."""

import json

import numpy as np
import pytest
from PIL import Image

from undertow import cli
from undertow.backbones import get_card, list_cards
from undertow.backbones.cards.card_file import read_card_file, write_card_file
from undertow.backbones.published import ARCHITECTURES
from undertow.base import SettingsError, SilentProgress, WeightsUnavailable
from undertow.benchmarks.core.datasets import open_dataset, select_samples
from undertow.benchmarks.masks.methods import model_method
from undertow.benchmarks.rivals.costs import costs_of, shipped_costs, ways
from undertow.benchmarks.rivals.running import Rival, rivals, run_rivals
from undertow.benchmarks.sweep import Point, parse_axes, tuned_card
from undertow.masks import write_label_map


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    for name in ("cat", "dog"):
        # As many as protocol lab, which takes every third, needs to score one.
        for step in range(7):
            labels = np.zeros((32, 48), np.uint16)
            labels[8:20, 4 + step : 20 + step] = 1
            for kind in ("frames", "masks"):
                (root / f"davis-{name}/{kind}").mkdir(parents=True, exist_ok=True)
            picture = np.repeat(labels[..., None] * 180, 3, 2).astype(np.uint8)
            Image.fromarray(picture).save(root / f"davis-{name}/frames/{step:05d}.png")
            write_label_map(root / f"davis-{name}/masks/{step:05d}.png", labels)
    return root


@pytest.fixture
def run(monkeypatch, capsys):
    def call(*arguments):
        monkeypatch.setattr("sys.argv", ["undertow", "bench", *map(str, arguments)])
        cli.main()
        return capsys.readouterr().out

    return call


def test_a_sweep_goes_on_and_writes_the_best_as_a_card(run, data, tmp_path):
    out = tmp_path / "sweep"
    words = ["sweep", "davis-folders", "--root", data, "--out", out, "--protocol", "full", "--threads", "1"]
    run(*words, "--over", "tokens=24,96", "--sequences", "cat")
    kept = {path: path.read_bytes() for path in out.glob("*/cat.json")}
    assert len(kept) == 2
    table = run(*words, "--over", "tokens=24,96", "--over", "topk=3,15")
    assert table.count("tiny") >= 4 and "difference" in table
    assert all(path.read_bytes() == content for path, content in kept.items() if "topk" in path.parent.name)
    assert (out / "sweep.md").is_file() and (out / "sweep.png").stat().st_size
    best = read_card_file(out / "card.json").card
    assert (best.token_budget, best.topk) in {(tokens, topk) for tokens in (24, 96) for topk in (3, 15)}
    assert json.loads((out / "card.json").read_text())["measured"]["settings"].keys() == {"tokens", "topk"}


def test_a_tuned_card_has_the_tokens_that_were_swept_whatever_the_purpose(tmp_path):
    card = get_card("tiny")
    assert card.token_budget == 3600 < card.budget("track")
    best = tuned_card(card, Point("tiny", None, {"tokens": "3600"}, model_method("tiny")), "swept")
    write_card_file(tmp_path / "card.json", best, like=card)
    assert read_card_file(tmp_path / "card.json").card.budget("track") == best.budget("track") == 3600


@pytest.mark.parametrize("texts", [["tokens"], ["tokens="], ["tokens=9", "tokens=16"]])
def test_axes_that_are_none_are_refused(texts):
    with pytest.raises(SettingsError, match="give each setting once"):
        parse_axes(texts)
    assert parse_axes(["tokens=9, 16,9", "topk=3"]) == {"tokens": ("9", "16"), "topk": ("3",)}


def test_a_dry_run_lists_every_download_with_licence_gate_and_size(run):
    out = run("rivals", "davis", "--dry-run")
    for card in list_cards():
        (row,) = (
            line
            for line in out.splitlines()
            if line.startswith(f"| {card.name} ") and "GB" not in line and line.count("|") == 7
        )
        assert card.licence.split()[0] in row and ("to be accepted" in row) == card.gated
        assert (*card.hub_ids, "the package" if card.embedded else "see its notes")[0] in row


def test_rivals_are_measured_where_weights_are(run, data, tmp_path):
    out = tmp_path / "rivals"
    models, words = "tiny-untrained,tiny-words,dino-vitb8", ("--sequences", "cat", "--threads", "1")
    table = run(
        "rivals", "davis-folders", "--root", data, "--out", out, "--models", models, "--protocol", "lab",
        "--set", "tokens=24", *words,
    )  # fmt: skip
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines() if line.startswith("| ")]
    scores = {tuple(row[:3]): row[3] for row in rows if len(row) == 8}
    assert float(scores["tiny-words", "drift", "ours"]) > 0 and float(scores["tiny-untrained", "dino", "published"]) > 0
    assert scores["dino-vitb8", "dino", "published"] == "needs weights" and "71.4" in table
    assert (out / "rivals.md").is_file()
    assert "Protocol lab: every 3. frame, at most 30 frames, default size, tokens=24." in table
    assert (out / "tiny-untrained+dino+published+tokens-24/cat.json").is_file()


def test_a_model_that_cannot_be_measured_does_not_keep_the_others_from_it(data, tmp_path):
    samples = select_samples(open_dataset("davis-folders", data), ["cat"])
    lacking = Rival(get_card("dino-vits16"), "dino", False, "cached", None)
    with pytest.raises(WeightsUnavailable, match=r"dino-vits16\+dino could not be measured: .*dino-vits16"):
        run_rivals(samples, [lacking, *rivals(["tiny-words"])], tmp_path, "lab", SilentProgress(), threads=1)
    lines = (tmp_path / "rivals.md").read_text().splitlines()
    rows = {line.split("|")[1].strip(): line.split("|")[4].strip() for line in lines if line.count("|") == 9}
    assert rows["dino-vits16"] == "failed" and float(rows["tiny-words"]) > 0


def test_costs_that_ship_are_those_that_are_counted():
    shipped = {(each.model, each.preset, each.published): each for each in shipped_costs()}
    for cost in costs_of(get_card("dino-vits16")):
        assert shipped[cost.model, cost.preset, cost.published] == cost
    # 12 blocks of width 384 take 12 products of 384 by 384 for a token, and attention two of 1590 tokens by 384.
    ours = shipped["dino-vits16", "dino", False]
    tokens = ours.tokens + 1
    expected = 2 * 12 * (12 * 384**2 * tokens + 2 * 384 * tokens**2) + 2 * 384 * 3 * 16**2 * ours.tokens
    assert ours.teraflops == pytest.approx(expected / 1e12, rel=1e-3)


def test_every_model_of_which_shapes_are_known_has_costs():
    counted = {each.model for each in shipped_costs()}
    known = [card for card in list_cards() if card.embedded or card.name in ARCHITECTURES]
    assert counted == {card.name for card in known}
    found = [(each.model, each.preset, each.published) for each in shipped_costs()]
    assert sorted(found) == sorted((card.name, *way) for card in known for way in ways(card))
