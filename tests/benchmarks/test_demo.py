import pytest

from undertow.base import SettingsError
from undertow.benchmarks.demo import DemoResult, run_demo


def test_demo_draws_tracks_and_scores(tmp_path):
    result = run_demo(tmp_path / "demo", frames=5)
    assert set(result.scores) == {"tiny", "copy", "pixels"}
    assert all(0 <= score <= 1 for score in result.scores.values())
    assert {p.name for p in result.folder.iterdir()} == {"crossing.mp4", "first.png", "truth", "run"}
    assert (result.folder / "run" / "overlay.mp4").stat().st_size > 0
    assert "overlay.mp4" in result.report and f"{100 * result.scores['tiny']:.1f}" in result.report

    with pytest.raises(SettingsError, match="--overwrite"):
        run_demo(tmp_path / "demo", frames=5)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("precious")
    with pytest.raises(SettingsError, match="not a demonstration"):
        run_demo(tmp_path / "other", frames=5, overwrite=True)
    assert (tmp_path / "other" / "thesis.txt").exists()


def test_demo_fails_if_the_model_is_no_better_than_repeating_the_mask(tmp_path):
    assert not DemoResult({"tiny": 0.4, "copy": 0.4, "pixels": 0.1}, tmp_path, "").passed
    assert DemoResult({"tiny": 0.5, "copy": 0.4, "pixels": 0.6}, tmp_path, "").passed
