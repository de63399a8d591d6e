"""The loop: it learns, keeps the best, stops when told, and objects do not influence each other."""

from dataclasses import replace

import pytest
import torch

from undertow.base import SettingsError, SilentProgress
from undertow.tracking.tuning import TUNING, Objective, TuningSettings, get_tuning, learn


class Diary(SilentProgress):
    """Keeps what it is told, and may interrupt."""

    def __init__(self, interrupt_after=None):
        self.lines, self.interrupt_after = [], interrupt_after

    def advance(self, units=1, **facts):
        self.lines.append(facts)
        if len(self.lines) == self.interrupt_after:
            raise KeyboardInterrupt


QUICK = TuningSettings(steps=6, rate=0.02, head_rate=0.2, exclude_self=True)


@pytest.fixture(scope="module")
def objective(tunable, clip, resolved):
    def make(tuning=QUICK, ids=(1, 2)):
        return Objective(tunable, clip[0][0], 0, clip[1][0], list(ids), resolved, tuning)

    return make


def test_the_loss_falls_and_the_best_is_kept(tunable, objective):
    diary = Diary()
    made = objective()
    learned = learn(made, tunable.condition(""), diary)
    assert (learned.loss[1] < learned.loss[0] - 1e-3).all()
    assert [set(line) for line in diary.lines] == [{"loss"}] * 6
    torch.testing.assert_close(learned.head_weights.sum(-1), torch.ones(2))
    with torch.no_grad():
        again = made.losses(made.heads(learned.states), learned.head_weights)
    torch.testing.assert_close(again, learned.loss[1], atol=1e-5, rtol=1e-4)
    assert not learned.interrupted and learned.steps == 6 and learned.held_out is None


def test_objects_of_a_batch_learn_what_they_would_alone(tunable, objective):
    together = learn(objective(replace(QUICK, together=2)), tunable.condition(""))
    alone = learn(objective(ids=(2,)), tunable.condition(""))
    torch.testing.assert_close(together.states[1:], alone.states, atol=2e-3, rtol=1e-2)
    torch.testing.assert_close(together.head_weights[1:], alone.head_weights, atol=1e-3, rtol=1e-2)


def test_head_weights_alone(tunable, objective):
    learned = learn(objective(replace(QUICK, learned="heads", steps=20)), tunable.condition(""))
    assert learned.states is None and (learned.loss[1] < learned.loss[0]).all()
    tensors = learn(objective(replace(QUICK, learned="tensor")), tunable.condition(""))
    torch.testing.assert_close(tensors.head_weights, torch.full((2, 2), 0.5))


def test_altered_copies_decide_and_stop_it(tunable, objective):
    tuning = replace(QUICK, steps=40, rate=3.0, held_out=True, every=2, patience=2)
    learned = learn(objective(tuning), tunable.condition(""))
    before, after = learned.held_out
    assert (after >= before).all() and all(step % 2 == 0 for step in learned.best)
    assert learned.steps == max(learned.best) + 4 < 40, "two checks without a gain end it"


def test_an_interruption_keeps_the_best_so_far(tunable, objective):
    learned = learn(objective(), tunable.condition(""), Diary(interrupt_after=3))
    assert learned.interrupted and learned.steps == 3
    assert (learned.loss[1] < learned.loss[0]).all()


def test_what_cannot_be_learned_is_said(tunable, clip, resolved):
    before_text = replace(resolved, sites=resolved.sites[:1])
    for learned, message in (("both", "no text reaches"), ("heads", "one head")):
        tuning = TuningSettings(steps=2, learned=learned)
        made = Objective(tunable, clip[0][0], 0, clip[1][0], [1], before_text, tuning)
        with pytest.raises(SettingsError, match=message):
            learn(made, tunable.condition(""))


def test_numbers_that_are_not_finite_end_it_with_what_was_good(tunable, objective, caplog):
    learned = learn(objective(replace(QUICK, rate=10.0, steps=5, learned="tensor")), tunable.condition(""))
    assert learned.states.isfinite().all()
    start = replace(tunable.condition(""), tensor=torch.full_like(tunable.condition("").tensor, torch.nan))
    with pytest.raises(SettingsError, match="not finite at the start"):
        learn(objective(), start)


def test_presets_and_settings():
    assert get_tuning("off") is None and get_tuning("paper") == TuningSettings()
    assert (TUNING["paper"].steps, TUNING["paper"].rate) == (3500, 1e-4)
    assert TUNING["fast"].steps <= 200 and TUNING["fast"].held_out and TUNING["fast"].decay == "cosine"
    with pytest.raises(SettingsError, match="off, paper, fast, prompt, amortised"):
        get_tuning("slow")
    for wrong in ({"steps": -1}, {"rate": 0.0}, {"head_rate": 11.0}, {"learned": "x"}, {"decay": "x"}, {"every": 0}):
        with pytest.raises(SettingsError):
            TuningSettings(**wrong)
