"""Cards in JSON files: read, written, refused, and found by name in the user's folder."""

import json
from dataclasses import replace

import pytest

from undertow.backbones import get_card, list_cards, load, locate, weights_state
from undertow.backbones.cards.card import Noising, Site
from undertow.backbones.cards.card_file import folder_of, read_card_file, write_card_file
from undertow.backbones.weights.locating import embedded_folder
from undertow.base import SettingsError

SITE = {"path": "mid_block.attentions.0.transformer_blocks.0.attn1", "kind": "self", "heads": 1, "head_dim": 128}


def card_file(folder, file="own.json", /, **entries):
    path = folder / file
    path.write_text(json.dumps(entries))
    return path


def test_a_card_like_another_keeps_its_weights(tmp_path):
    site = {**SITE, "stride": 16}
    path = card_file(
        tmp_path, name="mine", like="tiny", sites={"points": [site]}, noising={"kind": "clean", "timestep": 61}
    )
    user = read_card_file(path)
    assert user.folder is None and user.card.embedded == "tiny"
    assert user.card.sites["points"] == (Site(**site),)
    # What is not said is as it was, sites of other purposes among it.
    assert user.card.sites["track"] == get_card("tiny").sites["track"]
    assert user.card.noising == Noising("clean", 61, (1, 21, 41, 61))
    backbone = load(path, device="cpu", dtype="float32")
    assert backbone.card == user.card
    assert backbone.fingerprint() == load("tiny", device="cpu", dtype="float32").fingerprint()


def test_a_folder_is_relative_to_the_file(tmp_path):
    (tmp_path / "weights").symlink_to(embedded_folder(get_card("tiny")))
    path = card_file(tmp_path, name="mine", like="tiny", folder="weights")
    user = read_card_file(path)
    # Of other weights nothing is known: neither digests nor how sure the tracker is.
    assert user.card.embedded == "" and user.card.calibrated == () and user.card.hub_ids == ()
    assert locate(path).path == tmp_path / "weights"


def test_what_is_written_is_read_again(tmp_path):
    tiny = get_card("tiny")
    changed = replace(tiny, name="mine", sites={**tiny.sites, "points": (Site(**SITE, stride=16),)})
    write_card_file(tmp_path / "short.json", changed, like=tiny, measured={"accuracy": 50.0})
    short = json.loads((tmp_path / "short.json").read_text())
    assert set(short) == {"name", "like", "sites", "measured"}
    assert read_card_file(tmp_path / "short.json").card == changed
    whole = replace(changed, embedded="", hub_ids=("owner/name",))
    write_card_file(tmp_path / "whole.json", whole)
    assert read_card_file(tmp_path / "whole.json").card == whole


def test_cards_of_a_folder_are_known_by_name(tmp_path, monkeypatch):
    assert folder_of(get_card("tiny")) is None
    (tmp_path / "weights").symlink_to(embedded_folder(get_card("tiny")))
    card_file(tmp_path, name="mine", like="tiny", folder="weights")
    monkeypatch.setenv("UNDERTOW_CARDS", str(tmp_path))
    assert [card.name for card in list_cards()][-1] == "mine"
    assert weights_state(get_card("mine")) == "given"
    assert locate("mine").path == tmp_path / "weights"
    monkeypatch.delenv("UNDERTOW_CARDS")
    with pytest.raises(SettingsError, match="no model is called 'mine'"):
        get_card("mine")


@pytest.mark.parametrize("name", ["tiny", "twice"])
def test_names_are_unique(name, tmp_path, monkeypatch):
    card_file(tmp_path, "a.json", name=name, like="tiny")
    if name == "twice":
        card_file(tmp_path, "b.json", name=name, like="tiny")
    monkeypatch.setenv("UNDERTOW_CARDS", str(tmp_path))
    with pytest.raises(SettingsError, match=r"(have one name|name of another model).*change"):
        list_cards()


@pytest.mark.parametrize(
    ("entries", "says"),
    [
        ({}, "has no name"),
        ({"name": 3, "like": "tiny"}, "'name' that cannot be used"),
        ({"name": "x", "like": "nothing"}, "no registered model is called 'nothing'"),
        ({"name": "x", "like": 3}, "has like 3"),
        ({"name": "x", "colour": "red"}, "unknown entry 'colour'"),
        ({"name": "x"}, "lacks hub_ids, licence"),
        ({"name": "x", "like": "tiny", "sites": {"points": []}}, "no site for 'points'"),
        ({"name": "x", "like": "tiny", "sites": [1]}, "'sites' that cannot be used"),
        ({"name": "x", "like": "tiny", "sites": {"points": [{"path": "a"}]}}, "'sites' that cannot be used"),
        ({"name": "x", "like": "tiny", "sites": {"points": [{**SITE, "stride": "8"}]}}, "stride is '8'"),
        ({"name": "x", "like": "tiny", "sites": {"points": [{**SITE, "stride": 8, "depth": 1}]}}, "called depth"),
        ({"name": "x", "like": "tiny", "noising": {"kind": "warm"}}, "kind is 'warm'"),
        ({"name": "x", "like": "tiny", "noising": {"timestep": "late"}}, "timestep is 'late'"),
        ({"name": "x", "like": "tiny", "chunk": True}, "chunk is True"),
        ({"name": "x", "like": "tiny", "window_grid": [1, 2, 3]}, "window_grid is"),
        ({"name": "x", "like": "tiny", "temperatures": {"drift": "hot"}}, "temperatures is"),
    ],
)
def test_what_is_no_card_is_said_in_a_sentence(entries, says, tmp_path):
    with pytest.raises(SettingsError, match=says) as error:
        read_card_file(card_file(tmp_path, **entries))
    assert "\n" not in str(error.value)


def test_no_file_and_no_json(tmp_path):
    with pytest.raises(SettingsError, match="cannot be read"):
        locate(tmp_path / "none.json")
    for text in ("{", "[" * 100_000):
        (tmp_path / "broken.json").write_text(text)
        with pytest.raises(SettingsError, match="not valid JSON"):
            locate(tmp_path / "broken.json")
    (tmp_path / "list.json").write_text("[]")
    with pytest.raises(SettingsError, match="no JSON object"):
        locate(tmp_path / "list.json")
