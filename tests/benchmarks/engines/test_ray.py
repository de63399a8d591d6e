import importlib.util
import os
import sys
from pathlib import Path

import pytest

from undertow.base import SettingsError
from undertow.benchmarks.core.datasets import open_dataset
from undertow.benchmarks.core.methods import Method, baseline_method
from undertow.benchmarks.core.runner import run_benchmark
from undertow.benchmarks.masks.methods import model_method
from undertow.tracking import TrackSettings


def test_without_ray_the_command_to_install_it_is_given(
    folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    for name in ("RAY_USAGE_STATS_ENABLED", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"):
        monkeypatch.setenv(name, "0")  # set by the engine, and taken back after the test
    with pytest.raises(SettingsError, match=r"pip install 'undertow\[scale\]'"):
        run_benchmark(open_dataset("davis", folders), [baseline_method("copy")], tmp_path / "out", engine="ray")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Ray leaves sockets and files open when it ends
@pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="Ray is not installed: pip install 'undertow[scale]'"
)
def test_ray_does_what_one_process_does_and_a_killed_worker_is_replaced(
    unreliable, small_model: Path, folders: Path, tmp_path: Path, contents, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    samples, tries = open_dataset("davis", folders), tmp_path / "tries"
    tries.mkdir()

    def methods(times: int) -> list[Method]:
        return [
            Method("fatal", unreliable.Killed(str(tries), times), {"of": "killed"}),
            baseline_method("dis"),
            model_method(small_model, "dift", TrackSettings(tokens=48, radius=2), device="cpu", dtype="float32"),
        ]

    run_benchmark(samples, methods(1), tmp_path / "ray", keep=True, engine="ray", workers=2, threads=1)
    assert len(list(tries.iterdir())) == 1
    run_benchmark(samples, methods(0), tmp_path / "alone", keep=True, threads=1)
    assert contents(tmp_path / "ray") == contents(tmp_path / "alone")
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"
    import ray

    assert not ray.is_initialized()
