"""Methods that fail in the ways real ones do, in a module of their own, so that worker processes can import them."""

import importlib
from pathlib import Path
from types import ModuleType

import pytest
from diffusers import DDIMScheduler

UNRELIABLE = '''
import os
import signal
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Killed:
    """Repeats the first mask; where there are two objects, its process is killed at frame 3 of the first few tries."""

    folder: str
    times: int

    def __call__(self, protocol):
        return self.predict

    def predict(self, images, cues):
        for step, _ in enumerate(images):
            tries = len(os.listdir(self.folder))
            if step == 3 and cues[0].max() == 2 and tries < self.times:
                (Path(self.folder) / str(tries)).touch()
                os.kill(os.getpid(), signal.SIGKILL)
            yield cues[0]


@dataclass(frozen=True)
class Fails:
    """Repeats the first mask; where there are two objects, it raises an error at frame 3."""

    error: Exception

    def __call__(self, protocol):
        return self.predict

    def predict(self, images, cues):
        for step, _ in enumerate(images):
            if step == 3 and cues[0].max() == 2:
                raise self.error
            yield cues[0]


@dataclass(frozen=True)
class NeverLoads:
    """Cannot be loaded, and leaves a file for each attempt."""

    folder: str

    def __call__(self, protocol):
        (Path(self.folder) / str(len(os.listdir(self.folder)))).touch()
        raise OSError(5, "Input/output error", "weights")
'''


@pytest.fixture
def unreliable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    folder = tmp_path / "modules"
    folder.mkdir()
    (folder / "unreliable.py").write_text(UNRELIABLE)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(importlib.sys.modules, "unreliable", raising=False)
    return importlib.import_module("unreliable")


@pytest.fixture(scope="session")
def small_model(tiny_like, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small random model as files."""
    folder = tmp_path_factory.mktemp("models") / "mine"
    tokenizer, encoder = tiny_like._load_text()
    for name, part in [
        ("unet", tiny_like.denoiser),
        ("vae", tiny_like.autoencoder.module),
        ("text_encoder", encoder),
    ]:
        part.save_pretrained(folder / name)
    tokenizer.save_pretrained(folder / "tokenizer")
    DDIMScheduler(prediction_type="v_prediction", clip_sample=False).save_pretrained(folder / "scheduler")
    return folder
