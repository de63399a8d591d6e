"""Fetching weights from a hub on this machine that answers well, slowly, wrongly or not at all."""

import errno
import hashlib
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest
from huggingface_hub import constants

from undertow.backbones import load, resolve, weights_state
from undertow.backbones.cards import card_file
from undertow.backbones.weights import hub as client
from undertow.base import WeightsUnavailable

UNET = "unet/diffusion_pytorch_model.safetensors"
FIRST, SECOND = "someone/test-model", "mirror/test-model"


@pytest.fixture
def offered(hub, copied):
    """The repository of the first hub id, behaving well until a test changes that."""
    hub.repositories[FIRST] = hub.Repository(copied)
    return hub.repositories[FIRST]


@pytest.fixture
def get(hub, card, tmp_path):
    """Resolves the card against the hub on this machine, with a cache of its own."""

    def resolved(changed=card, **options):
        return resolve(changed, cache=tmp_path / "cache", **{"offline": False, "endpoint": hub.endpoint} | options)

    return resolved


def same_files(one, two):
    names = sorted(path.relative_to(one).as_posix() for path in one.rglob("*") if path.is_file())
    assert names == sorted(path.relative_to(two).as_posix() for path in two.rglob("*") if path.is_file())
    assert all((one / name).read_bytes() == (two / name).read_bytes() for name in names)


def sentence(call):
    """Returns the one sentence that fetching fails with."""
    with pytest.raises(WeightsUnavailable) as caught:
        call()
    text = str(caught.value)
    assert caught.value.exit_code == 3 and "\n" not in text
    return text


def test_a_model_is_fetched_once_and_then_found(hub, offered, get, saved, card, tmp_path):
    assert weights_state(card, tmp_path / "cache") == "not here"
    folder = get()
    same_files(folder, saved)
    assert load(folder, device="cpu").card.prediction == "v_prediction"
    assert weights_state(card, tmp_path / "cache") == "cached"
    asked = len(hub.requests)
    assert get() == folder and get(offline=True) == folder
    assert len(hub.requests) == asked


def test_only_what_is_needed_is_fetched(hub, offered, get):
    (offered.folder / "unet" / "diffusion_pytorch_model.bin").write_bytes(b"pickle")
    (offered.folder / "unet" / "diffusion_pytorch_model.fp16.safetensors").write_bytes(b"half")
    (offered.folder / "README.md").write_text("hello")
    fetched = {path.name for path in get().rglob("*")}
    assert not fetched & {"diffusion_pytorch_model.bin", "diffusion_pytorch_model.fp16.safetensors", "README.md"}


def test_a_slow_hub_is_waited_for(offered, get, saved):
    offered.chunk, offered.pause = 60_000, 0.01
    same_files(get(), saved)


def test_a_failure_that_passes_is_survived(offered, get, saved):
    offered.fails = 1
    same_files(get(), saved)


def test_a_download_that_is_cut_off_goes_on_where_it_stopped(hub, offered, get, saved, monkeypatch):
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 4096)
    offered.cuts = 1
    same_files(get(), saved)
    continued = [span for name in ("unet", "vae", "text_encoder") for span in spans(hub, name) if span]
    assert len(continued) == 1 and int(continued[0].removeprefix("bytes=").rstrip("-")) > 0


def spans(hub, component):
    return [span for method, path, span in hub.requests if method == "GET" and f"/{component}/" in path]


def test_an_interrupted_model_is_completed(hub, offered, get, saved):
    folder = get()
    (folder / UNET).resolve().unlink()
    (folder / UNET).unlink()
    before = len(hub.downloads("model.safetensors"))
    same_files(get(), saved)
    assert len(hub.downloads("model.safetensors")) == before
    assert len(spans(hub, "unet")) == 3  # its configuration once, its weights twice


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"fails": 10**6}, ["the hub answers 500", "undertow models fetch test"]),
        ({"refuses": 404, "code": "RepoNotFound"}, ["404, no such repository", "--model test=FOLDER"]),
        ({"refuses": 401}, ["401, no such repository, or a private one", "hf auth login"]),
        (
            {"refuses": 401, "words": "Invalid credentials in Authorization header"},
            ["401, the token is not accepted", "hf auth login"],
        ),
        ({"refuses": 401, "code": "GatedRepo"}, ["401, its licence must be accepted", "hf auth login"]),
        ({"refuses": 403, "words": "Access to this resource is disabled."}, ["403, the hub has disabled it"]),
        ({"refuses": 403}, ["403, the account has no access", "hf auth login"]),
        ({"refuses": 429}, ["429, too many requests"]),
        (
            {"gated_files": 401},
            ["401, its licence must be accepted", f"https://huggingface.co/{FIRST}", "hf auth login"],
        ),
        (
            {"gated_files": 403},
            ["403, its licence must be accepted", f"https://huggingface.co/{FIRST}", "hf auth login"],
        ),
        ({"lie": {UNET: 12}}, ["another size than the hub lists"]),
        ({"swap": {UNET: b"x" * 12}, "lie": {UNET: 12}}, ["sha256", "where the hub has"]),
    ],
)
def test_what_cannot_be_survived_is_one_sentence(offered, get, card, change, says):
    for name, value in change.items():
        setattr(offered, name, value)
    text = sentence(lambda: get(replace(card, hub_ids=(FIRST,))))
    assert f"{FIRST}: " in text and all(word in text for word in says), text


def test_the_reason_of_every_mirror_is_said(hub, offered, get):
    offered.fails = 10**6
    text = sentence(get)
    assert f"{FIRST}: the hub answers 500; {SECOND}: 404, no such repository" in text


def test_the_second_mirror_serves_where_the_first_is_gone(hub, copied, get, saved):
    hub.repositories[SECOND] = hub.Repository(copied)
    same_files(get(), saved)


def test_no_hub_at_all(get, hub):
    hub.close()
    text = sentence(get)
    assert f"{FIRST}: no connection to 127.0.0.1" in text and "when the network is back" in text


def test_a_silent_hub_is_given_up(offered, get, card, monkeypatch):
    offered.silence = 1.0
    monkeypatch.setattr(constants, "HF_HUB_ETAG_TIMEOUT", 0.05)
    assert "does not answer in time" in sentence(lambda: get(replace(card, hub_ids=(FIRST,))))


def test_offline_asks_nothing(hub, offered, get):
    text = sentence(lambda: get(offline=True))
    assert "HF_HUB_OFFLINE" in text and hub.requests == []


def test_a_full_disk_is_noticed_before_downloading(hub, offered, get, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    text = sentence(get)
    assert "MB are needed and 0.0 MB are free" in text and "HF_HOME" in text
    assert not hub.downloads("config.json")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_disk_that_fills_up_is_named(number, tmp_path):
    failure = client.explain(OSError(number, os.strerror(number)), FIRST, cache=tmp_path)
    assert failure.kind == "disk" and failure.reason == f"the disk of {tmp_path} is full"


def test_a_cache_that_cannot_be_written_is_named(hub, offered, card, tmp_path):
    (tmp_path / "file").write_text("")
    text = sentence(lambda: resolve(card, cache=tmp_path / "file" / "cache", offline=False, endpoint=hub.endpoint))
    assert "cannot be written" in text and "HF_HOME" in text


def test_a_pinned_revision_is_the_one_fetched(hub, offered, get, card):
    pinned = replace(card, hub_ids=(f"{FIRST}@{hub.COMMIT}",))
    assert get(pinned).name == hub.COMMIT
    assert "404, it has no such revision" in sentence(lambda: get(replace(card, revision="f" * 40)))


def test_a_repository_without_a_pinned_file_is_refused_before_downloading(hub, offered, get, card):
    text = sentence(lambda: get(replace(card, hub_ids=(FIRST,), sha256={"unet/other.safetensors": "0" * 64})))
    assert "it has no unet/other.safetensors, which the card pins" in text
    assert not any(method == "GET" and "/resolve/" in path for method, path, _ in hub.requests)


def corrupt(path):
    """Changes one byte, which neither the size nor the header of a safetensors file shows."""
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))


@pytest.mark.parametrize("place", ["arrives", "listed", "cached", "cached elsewhere", "given"])
def test_a_wrong_hash_is_never_loaded(place, hub, offered, get, card, saved, copied, monkeypatch):
    """Wherever weights come from, they are refused if one byte differs from what the card or the hub vouches for."""
    right = {UNET: hashlib.sha256((saved / UNET).read_bytes()).hexdigest()}
    pinned = replace(card, hub_ids=(FIRST,), sha256=right)
    if place == "arrives":
        content = bytearray((saved / UNET).read_bytes())
        content[-1] ^= 1
        offered.swap = {UNET: bytes(content)}
        text = sentence(lambda: get(pinned))
        # Nothing wrong stays behind: as soon as the hub is right, so is the model.
        offered.swap = {}
        same_files(get(pinned), saved)
    elif place == "listed":
        corrupt(offered.folder / UNET)
        text = sentence(lambda: get(pinned))
        assert not hub.downloads("diffusion_pytorch_model.safetensors"), "it was refused before it was downloaded"
    elif place == "cached":
        corrupt((get() / UNET).resolve())
        text = sentence(lambda: get(offline=True))
        assert "where the hub has" in text
        same_files(get(), saved)
    elif place == "cached elsewhere":
        corrupt(offered.folder / UNET)
        get()
        text = sentence(lambda: get(pinned, offline=True))
        assert "where 'test' pins" in text
    else:
        monkeypatch.setitem(card_file._CARDS, "test", pinned)
        assert load(f"test={copied}", device="cpu").card == pinned
        corrupt(copied / UNET)
        text = sentence(lambda: load(f"test={copied}", device="cpu"))
        assert "leave out 'test='" in text
    assert "sha256" in text


def test_the_command_fetches_and_tells_where(hub, offered, tmp_path, saved):
    """The whole way, in a process of its own, since HF_ENDPOINT and HF_HOME are read when it starts."""
    code = (
        "import sys; from dataclasses import replace; from undertow.backbones import get_card;"
        "from undertow.backbones.cards import card_file;"
        f"card_file._CARDS['test'] = replace(get_card('sd-2.1'), name='test', hub_ids=({FIRST!r},));"
        "from undertow import cli; sys.argv = ['undertow', 'models', 'fetch', 'test', '--pin']; cli.main()"
    )
    environment = {**os.environ, "HF_ENDPOINT": hub.endpoint, "HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "0"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    folder, *pins = done.stdout.splitlines()
    assert folder.startswith(str(tmp_path / "home")) and folder.endswith(hub.COMMIT)
    assert pins[0] == f'hub_ids=("{FIRST}@{hub.COMMIT}",),'
    assert f'    "{UNET}": "{hashlib.sha256((saved / UNET).read_bytes()).hexdigest()}",' in pins
