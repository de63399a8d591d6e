"""What is written of an analysis: the card of the best site, and numbers that are none."""

import json

import numpy as np
import pytest

from undertow.analysis.analyze import Analysis, AnalysisSettings
from undertow.analysis.table import Row
from undertow.analysis.writing import best_card, pictures, report, write_analysis
from undertow.backbones import get_card
from undertow.backbones.cards.card import Site
from undertow.backbones.cards.card_file import read_card_file

SITES = tuple(
    Site(f"{block}.attentions.0.transformer_blocks.0.attn1", "self", 2, 64, stride)
    for block, stride in (("down_blocks.1", 8), ("mid_block", 16))
)


@pytest.fixture
def analysis():
    rows = []
    for layer, site in enumerate(SITES):
        for timestep in (1, 61):
            for head in (None, 0, 1):
                accuracy = 10.0 + 20 * layer + timestep / 10 + (0 if head is None else 30 * head)
                rows.append(Row(layer, site.path, site.stride, timestep, head, "query-key", accuracy, harmonic=0.5))
            rows.append(Row(layer, site.path, site.stride, timestep, None, "features", 5.0 + layer))
    return Analysis("tiny", "0" * 16, SITES, tuple(rows), 12.5, ("plain 0",), AnalysisSettings(), "clean")


def test_the_card_reads_the_best_site_at_the_best_timestep(analysis):
    tiny = get_card("tiny")
    card = best_card(analysis, tiny)
    assert card.name == "tiny-analysed"
    assert card.sites["points"] == card.sites["track"] == (SITES[1],)
    assert card.noising.kind == "clean" and card.noising.timestep == 61
    # Tokens of twice the side: a fourth as many show frames as large as before.
    assert card.token_budget == tiny.token_budget // 4
    # What was tuned and measured at the other site is not taken along.
    assert card.temperatures == {} and card.calibrated == ()


def test_files(analysis, tmp_path):
    written = write_analysis(analysis, get_card("tiny"), tmp_path, name="mine")
    assert {path.name for path in written} == {path.name for path in tmp_path.iterdir()}
    facts = json.loads((tmp_path / "analysis.json").read_text())
    assert facts["best"]["layer"] == 1 and facts["best head"]["head"] == 1
    assert facts["best"]["attention_text"] is None
    own = read_card_file(tmp_path / "card.json")
    assert own.card == best_card(analysis, get_card("tiny"), "mine") and own.folder is None
    assert json.loads((tmp_path / "card.json").read_text())["measured"]["best single head"] == 1


def test_report_says_what_beats_what(analysis):
    text = report(analysis)
    assert "Best site: layer 1" in text and "at timestep 61: 36.1 %" in text
    assert "Best single head: head 1 of layer 1 at timestep 61: 66.1 %" in text
    assert "queries and keys are +30.1 points against them" in text


def test_pictures(analysis):
    pytest.importorskip("matplotlib")
    drawn = pictures(analysis)
    assert set(drawn) == {
        "layers-timesteps.png", "layers-timesteps-harmonic.png", "layers-heads.png", "timesteps.png"
    }  # fmt: skip
    assert all(picture.dtype == np.uint8 and picture.ndim == 3 for picture in drawn.values())
