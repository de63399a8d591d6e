import io
import json
import os
import stat

import pytest
import torch

from undertow.base import (
    JsonProgress,
    SettingsError,
    SilentProgress,
    UndertowError,
    WeightsUnavailable,
    atomic_path,
    resolve_device,
    resolve_dtype,
    set_threads,
    write_json,
    write_text,
)
from undertow.base import errors as every_error


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "deep" / "result.txt"
    write_text(path, "old")
    with pytest.raises(RuntimeError), atomic_path(path) as temporary:
        temporary.write_text("half of the n")
        assert temporary.suffix == ".txt"
        raise RuntimeError
    assert path.read_text() == "old" and os.listdir(path.parent) == ["result.txt"]
    with atomic_path(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old", "not before the block ends"
    assert path.read_text() == "new" and os.listdir(path.parent) == ["result.txt"]


def test_files_have_the_permissions_of_any_new_file(tmp_path):
    (tmp_path / "plain").touch()
    write_json(tmp_path / "ours.json", {"ü": 1})
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("plain", "ours.json")]
    assert modes[0] == modes[1]
    assert json.loads((tmp_path / "ours.json").read_text(encoding="utf-8")) == {"ü": 1}


def test_devices_and_number_types():
    assert resolve_device("cpu") == torch.device("cpu")
    assert resolve_dtype("float32", torch.device("cpu")) == torch.float32
    assert resolve_dtype(None, torch.device("cpu")) in (torch.float32, torch.bfloat16)
    assert resolve_dtype("auto", torch.device("cuda")) == torch.bfloat16
    with pytest.raises(SettingsError, match="float16"):
        resolve_dtype("float16", torch.device("cpu"))
    with pytest.raises(SettingsError, match="toaster"):
        resolve_device("toaster")
    with pytest.raises(SettingsError, match="threads"):
        set_threads(0)


def test_every_error_says_its_exit_code():
    kinds = [kind for kind in vars(every_error).values() if isinstance(kind, type)]
    assert all(issubclass(kind, UndertowError) for kind in kinds)
    assert {kind.__name__: kind.exit_code for kind in kinds if kind.exit_code != 2} == {
        "WeightsUnavailable": 3,
        "MemoryBudgetError": 4,
    }
    assert WeightsUnavailable.exit_code == 3


def test_progress_as_json_lines():
    stream = io.StringIO()
    with JsonProgress(stream) as progress:
        progress.start("track", 3)
        progress.advance(frame=0)
        progress.advance(2, frame=2)
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert lines == [
        {"event": "start", "stage": "track", "total": 3},
        {"event": "advance", "stage": "track", "done": 1, "frame": 0},
        {"event": "advance", "stage": "track", "done": 3, "frame": 2},
    ]
    with SilentProgress() as silent:
        silent.start("nothing", None)
        silent.advance()
