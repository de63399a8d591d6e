"""What the system does to a running command: full disks, limits, interruption, memory; and bugs of our own."""

import errno
import os
import resource
import shutil
import signal
import subprocess
import threading

import numpy as np
import pytest
import torch

from undertow import cli
from undertow.base import write_tensors
from undertow.cli.showing import explain, printable
from undertow.masks import read_written_map

from .kitchen import labels


@pytest.fixture
def small_disk(tmp_path):
    """A folder on a disk of 128 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = shutil.which("mount")
    size = "-osize=128k"
    if not mount or subprocess.run([mount, "-t", "tmpfs", size, "tmpfs", folder], capture_output=True).returncode:
        pytest.skip("a disk cannot be mounted here: that takes root, on Linux")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_full_disk(kitchen, run, small_disk):
    (small_disk / "earlier.bin").write_bytes(bytes(100_000))
    code, _, err = run(*kitchen.track(out=small_disk / "out", video=kitchen.film("long.mp4", 60)))
    assert code == 2
    assert err.startswith("error: the disk is full") and "free some space" in err and err.count("\n") == 1
    assert (small_disk / "earlier.bin").read_bytes() == bytes(100_000)
    # Whatever masks were written are whole, and no half-written file is left.
    masks = sorted((small_disk / "out" / "masks").iterdir())
    assert all(read_written_map(path).shape == labels().shape for path in masks)
    assert not [path for path in (small_disk / "out").rglob(".*") if path.name != ".journal.jsonl"]


@pytest.mark.parametrize("command", ["parse", "points"])
def test_a_full_disk_whatever_is_written(kitchen, run, small_disk, command):
    cue = ("--anchor", kitchen.mask, "--views", "none") if command == "parse" else ("--grid", 2)
    video = kitchen.film("long.mp4", 60)
    code, _, err = run(command, video, *cue, "--size", "tokens=192", "--threads", "1", "--out", small_disk / "out")
    assert code == 2 and err.startswith("error: ") and "the disk is full" in err and err.count("\n") == 1


def test_tensors_on_a_full_disk(small_disk):
    with pytest.raises(OSError, match="No space left"):
        write_tensors(small_disk / "state.safetensors", {"large": torch.zeros(10**6)})
    assert not list(small_disk.iterdir())


def test_a_limit_on_the_size_of_files(kitchen, run):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (400, hard))
    try:
        code, _, err = run(*kitchen.track())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert code == 2
    assert err.startswith("error: a file would grow beyond the limit") and "ulimit -f" in err


def test_a_folder_without_permission(kitchen, run):
    if os.geteuid() == 0:
        pytest.skip("root may write anywhere")
    place = kitchen.folder / "locked"
    place.mkdir(mode=0o555)
    code, _, err = run(*kitchen.track(out=place / "out"))
    assert code == 2 and "permission is denied" in err and "change the permissions" in err


def test_interruption_keeps_what_is_finished(kitchen, run, interruptible):
    video, third = kitchen.film("long.mp4", 400), kitchen.out / "masks" / "00002.png"
    ended = threading.Event()

    def interrupt():
        while not ended.wait(0.01):
            if third.exists():
                os.kill(os.getpid(), signal.SIGINT)
                return

    waiting = threading.Thread(target=interrupt, daemon=True)
    waiting.start()
    code, _, err = run(*kitchen.track(video=video))
    ended.set()
    waiting.join()
    assert code == 130
    assert err == "interrupted; finished work is kept\n"
    assert read_written_map(third).shape == labels().shape


def no_memory():
    raise OSError(errno.ENOMEM, "Cannot allocate memory")


FAILURES = {
    "numpy": lambda: np.empty(1 << 58),
    "torch": lambda: torch.empty(1 << 58),
    "python": lambda: bytearray(1 << 60),
    "system": no_memory,
}


@pytest.mark.parametrize("fail", FAILURES.values(), ids=FAILURES)
def test_memory_that_is_not_there(fail):
    try:
        fail()
    except Exception as error:
        code, sentence = explain(error)
    assert code == 4
    assert sentence.startswith("memory ran out; use a smaller --size")


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "the disk is full"),
        (errno.EDQUOT, "quota"),
        (errno.EACCES, "permission is denied"),
        (errno.EROFS, "read-only"),
        (errno.EIO, "check the device"),
        (errno.EMFILE, "ulimit -n"),
        (errno.ETIMEDOUT, "check the path and run the command again"),
    ],
)
def test_what_the_system_refuses(number, words):
    code, sentence = explain(OSError(number, os.strerror(number), "/data/out/.run-x1y2.json"))
    assert code == 2 and words in sentence
    # A temporary name would tell nobody anything.
    assert "'/data/out'" in sentence and "x1y2" not in sentence
    assert words in explain(OSError(number, os.strerror(number)))[1]


def test_a_bug_asks_to_be_reported_and_shows_its_place_on_request(run, monkeypatch, capsys):
    def broken(**_):
        return {}["what"]

    monkeypatch.setattr(cli.entry, "app", broken)
    code, _, err = run("models")
    assert code == 1
    assert err == (
        "error: undertow itself failed (KeyError: 'what'); run it again with UNDERTOW_DEBUG=1 and report what it shows "
        "as a bug\n"
    )
    monkeypatch.setenv("UNDERTOW_DEBUG", "1")
    with pytest.raises(SystemExit):
        cli.main()
    err = capsys.readouterr().err
    assert (
        "Traceback" in err and "in broken" in err and err.splitlines()[-1].startswith("error: undertow itself failed")
    )


def test_debug_is_an_option_too(run, kitchen):
    code, _, err = run("--debug", "inspect", kitchen.clip, "--at", "middle")
    assert code == 2 and "Traceback" in err and "SettingsError" in err


def test_help_without_a_command_is_no_error(run):
    code, out, err = run()
    assert code == 2 and "Usage" in out + err and "error:" not in err


def test_lines_and_control_characters_are_made_visible():
    assert printable("a\nb\x1b[0m\u202e é 日") == r"a b\x1b[0m\u202e é 日"
