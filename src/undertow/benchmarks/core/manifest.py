"""`manifest.json` in a benchmark's folder: what was measured, by which methods, with what, where and when.

It says how the outcomes beside it came about and is never read back to decide anything: outcomes are resumed from
their own files.
"""

import json
import os
import platform
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, nullcontext, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from undertow import __version__
from undertow.base import SettingsError, exclusive, remove_leftovers, write_json
from undertow.benchmarks.core.methods import Method
from undertow.benchmarks.core.outcomes import MANIFEST
from undertow.benchmarks.core.sample import EvaluationProtocol

FORMAT = "undertow benchmark manifest 1"
PACKAGES = ("torch", "numpy", "diffusers", "transformers", "opencv-python-headless", "av", "ray")
MOST_RUNS = 200
PATIENCE = 20.0


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What one run measures.

    Attributes:
        dataset: The samples' dataset.
        task: What is asked.
        rules: How it is scored.
        protocol: How it is measured.
        methods: What is compared.
        samples: Digest of each sample's frames and truth, by its name.
        root: The dataset's folder, if known.
        split: Its split, if known.
    """

    dataset: str
    task: str
    rules: str
    protocol: EvaluationProtocol
    methods: Sequence[Method]
    samples: Mapping[str, str]
    root: Path | None = None
    split: str | None = None


@dataclass(frozen=True, kw_only=True)
class Means:
    """What one run measures with.

    Attributes:
        engine: "local" or "ray".
        workers: Number of processes that work at once.
        threads: CPU threads of each.
        shard: Number and count, if samples are split between runs.
    """

    engine: str
    workers: int
    threads: int
    shard: tuple[int, int] | None = None


class Manifest:
    """Records one run in the manifest of a folder; runs that share the folder, one after or beside another, add up.

    Use it with `with`: the record is written at the start, and again at the end with how the run ended.

    Args:
        out: The benchmark's folder.
        measured: What the run measures.
        means: What it measures with.
        stored: How many outcomes are there already.
        left: How many are to be measured.
    """

    def __init__(self, out: Path, measured: Measured, means: Means, *, stored: int = 0, left: int = 0) -> None:
        self._out = out
        self._measured = measured
        self._record: dict[str, Any] = {
            "id": f"{time.time_ns():x}-{os.getpid()}",
            "started": _now(),
            "finished": None,
            "status": "running",
            "command": sys.argv,
            "methods": [method.name for method in measured.methods],
            "samples": len(measured.samples),
            "stored": stored,
            "measured": left,
            "engine": means.engine,
            "workers": means.workers,
            "threads": means.threads,
            "shard": None if means.shard is None else "{}/{}".format(*means.shard),
            "devices": {method.name: device_name(method.device) for method in measured.methods},
            "versions": versions(),
            "platform": platform.platform(),
            "processor": platform.machine(),
            "cores": os.cpu_count(),
        }

    def __enter__(self) -> "Manifest":
        self._write()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        interrupted = isinstance(error, KeyboardInterrupt)
        status = "finished" if error is None else "interrupted" if interrupted else "failed"
        self._record |= {"finished": _now(), "status": status}
        if error is not None and not interrupted:
            self._record["error"] = str(error)
        # If the disk is full, that is what should be heard.
        with suppress(OSError) if error is not None else nullcontext():
            self._write()

    def _write(self) -> None:
        """Merges this run into the file, which other processes may be merging theirs into at the same time."""
        with ExitStack() as held:
            self._out.mkdir(parents=True, exist_ok=True)
            end = time.monotonic() + PATIENCE
            # A manifest that lacks a run is better than a benchmark that stops because a disk knows no locks.
            while time.monotonic() < end:
                try:
                    held.enter_context(exclusive(self._out))
                    remove_leftovers(self._out / MANIFEST)
                    break
                except SettingsError:
                    time.sleep(0.05)
            write_json(self._out / MANIFEST, self._merged(read_manifest(self._out)))

    def _merged(self, before: Mapping[str, Any]) -> dict[str, Any]:
        measured = self._measured
        about = {
            "dataset": measured.dataset,
            "task": measured.task,
            "root": None if measured.root is None else str(measured.root.absolute()),
            "split": measured.split,
            "rules": measured.rules,
            "protocol": asdict(measured.protocol),
        }
        # Methods and samples of another measurement do not belong with those of this one; its runs stay on record.
        same = all(before.get(name) == json.loads(json.dumps(value)) for name, value in about.items())
        methods = {
            method.name: {"task": method.task, "device": method.device, "settings": dict(method.settings)}
            for method in measured.methods
        }
        runs = [run for run in before.get("runs", []) if run["id"] != self._record["id"]]
        merged = {
            "format": FORMAT,
            **about,
            "methods": (dict(before.get("methods", {})) if same else {}) | methods,
            "samples": (dict(before.get("samples", {})) if same else {}) | dict(measured.samples),
            "runs": [*runs, self._record][-MOST_RUNS:],
        }
        plain: dict[str, Any] = json.loads(json.dumps(merged, default=str))
        return plain


def read_manifest(out: Path | str) -> dict[str, Any]:
    """Returns the manifest of a benchmark's folder; an empty one if there is none that can be read."""
    try:
        manifest = json.loads((Path(out) / MANIFEST).read_text(encoding="utf-8"))
        whole = manifest["format"] == FORMAT and all(
            isinstance(manifest[name], dict) for name in ("methods", "samples")
        )
        return (
            dict(manifest) if whole and all(isinstance(run, dict) and "id" in run for run in manifest["runs"]) else {}
        )
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return {}


def versions() -> dict[str, str]:
    """Returns the versions of undertow, Python, and the packages that results may depend on."""
    found = {"undertow": __version__, "python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def device_name(device: str | None) -> str:
    """Returns the name of a device: a GPU's own name, or "cpu"."""
    if device == "cpu":
        return device
    import torch

    if not torch.cuda.is_available():
        return device if device not in (None, "auto") else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        return torch.cuda.get_device_name(None if device in (None, "auto", "cuda") else device)
    except (RuntimeError, AssertionError, ValueError):
        return str(device)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
