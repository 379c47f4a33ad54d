"""Callbacks: each hook is called at its place in the loop, and what it asks for is done."""

import pytest
import torch

from prunebench.bench.runs.checkpoint import Checkpoints, restore
from prunebench.bench.train import stopping
from prunebench.bench.train.setup import Callback, Diverged
from prunebench.bench.train.stopping import Stopped
from support.cells import small_cell
from support.runs import trainer_of


class Notes(Callback):
    """Notes the calls, and asks to stop where it is said."""

    def __init__(self, stop_at=None) -> None:
        self.calls, self.stop_at = [], stop_at

    def _note(self, hook, run) -> bool:
        steps = 0 if run.paused is None else run.paused.step
        self.calls.append((hook, run.epoch, len(run.epoch_log), steps))
        return len(self.calls) == self.stop_at

    def step_end(self, run) -> bool:
        return self._note("step", run)

    def epoch_end(self, run) -> bool:
        return self._note("epoch", run)

    def asked_to_stop(self, run) -> None:
        self._note("stop", run)


def make(*callbacks, **recipe):
    recipe = {
        "epochs": 2,
        "batch_size": 512,
        "model": "mlp",
        "model_params": {"width": 8},
        **recipe,
    }
    return trainer_of(small_cell(recipe_params=recipe), callbacks=callbacks)


def test_hooks_are_called_after_every_step_and_epoch():
    notes = Notes()
    run = make(notes)
    run.fit()
    steps = run.ledger.steps // 2
    assert steps > 1
    assert notes.calls == [
        *[("step", 0, 0, 0)] * steps, ("epoch", 1, 1, 0),
        *[("step", 1, 1, 0)] * steps, ("epoch", 2, 2, 0),
    ]  # fmt: skip


def test_a_step_end_that_asks_for_it_pauses_the_epoch_and_all_callbacks_are_called():
    other, notes = Notes(), Notes(stop_at=2)
    run = make(other, notes)
    with pytest.raises(Stopped):
        run.fit()
    assert notes.calls[-1] == other.calls[-1] == ("stop", 0, 0, 2)
    notes.stop_at = None
    run.fit()
    whole = make()
    whole.fit()
    assert torch.equal(run.sample_tables.loss, whole.sample_tables.loss)
    assert run.ledger == whole.ledger


def test_an_epoch_end_stops_between_two_epochs_and_never_after_the_last():
    whole = make()
    whole.fit()
    per_epoch = whole.ledger.steps // 2
    notes = Notes(stop_at=per_epoch + 1)
    run = make(notes)
    with pytest.raises(Stopped):
        run.fit()
    assert notes.calls[-2:] == [("epoch", 1, 1, 0), ("stop", 1, 1, 0)]
    notes = Notes(stop_at=2 * (per_epoch + 1))
    make(notes).fit()
    assert notes.calls[-1] == ("epoch", 2, 2, 0)


def test_of_a_diverged_run_the_last_epoch_is_seen_but_no_checkpoint_is_written(tmp_path):
    notes, folder = Notes(), tmp_path / "checkpoints" / "k"
    run = make(notes, Checkpoints(folder, "k", 0.0), lr=1e30, schedule="constant")
    with pytest.raises(Diverged):
        run.fit()
    assert notes.calls[-1][0] == "epoch"
    assert not folder.exists()


def test_a_process_that_is_asked_to_end_saves_between_two_steps(tmp_path):
    folder = tmp_path / "checkpoints" / "k"
    folder.mkdir(parents=True)
    asking = Notes()
    asking.step_end = lambda run: None if stopping.ask() else pytest.fail("no run is under way")
    with pytest.raises(Stopped), stopping.deferred():
        make(asking, Checkpoints(folder, "k", 1e9)).fit()
    resumed = make()
    assert restore(resumed, folder, "k")
    assert resumed.paused.step == 1
