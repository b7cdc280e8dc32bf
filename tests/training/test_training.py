"""Optimiser, plateaus, stopping, and a run that goes on after a kill as if nothing had happened."""

import json
import shutil
import time

import keras
import numpy as np
import pytest

import settings as defaults
from lib.errors import UserError
from lib.seeds import Seeds
from lib.training import batches, optimizer, progress
from lib.training import fit as training_fit
from lib.training.checkpoints import Checkpoints
from lib.training.hardware import Machine
from lib.training.progress import TrainingPlan

TRAINING = dict(defaults.training, plateau_epochs=1)
SECTION = dict(defaults.pretrain, epochs=5, learning_rate=0.02, decay=0.01)


class Regression(batches.Batches):
    """Batches of a linear problem; `stop_at` raises in the middle of that epoch."""

    def __init__(self, shuffle, stop_at=None, size=8):
        super().__init__(40, size, seeds=Seeds(5), shuffle=shuffle)
        rng = np.random.default_rng(0)
        self.x = rng.normal(size=(40, 6)).astype(np.float32)
        self.y = self.x @ rng.normal(size=(6, 1)).astype(np.float32)
        self.stop_at = stop_at

    def load(self, chosen, counts, rng):
        if self.stop_at == self.epoch and 0 in chosen:
            raise RuntimeError("killed here")
        return self.x[chosen], self.y[chosen], counts


def model(statistics=True):
    keras.utils.set_random_seed(3)
    inputs = keras.Input((6,))
    x = keras.layers.Dense(8, activation="relu")(inputs)
    if statistics:
        x = keras.layers.Dropout(0.3)(keras.layers.BatchNormalization()(x))
    return keras.Model(inputs, keras.layers.Dense(1)(x))


def fit_to(data, net, folder, section=SECTION, machine=None, training=TRAINING, **wishes):
    wishes = {"inputs": {"model": "a"}, "loss": "mse"} | wishes
    plan = TrainingPlan({"pretrain": section, "training": training}, "pretrain", **wishes)
    machine = machine or Machine(TRAINING)
    return training_fit.fit(net, *data, plan, run=folder, machine=machine)


def fit(net, folder, stop_at=None, training=TRAINING, **wishes):
    data = Regression(True, stop_at), Regression(False)
    return fit_to(data, net, folder, training=training, **wishes)


def without_time(history):
    times = ("seconds", "windows_per_second")
    return [{k: v for k, v in row.items() if k not in times} for row in history]


def saved(folder):
    """The saved states, the newest last."""
    return sorted((folder / "checkpoint").glob("epoch_*.npz"))


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """The model and the history of a training of five epochs."""
    net = model()
    return net, fit(net, tmp_path_factory.mktemp("whole"))[1]


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("killed")
    with pytest.raises(Exception, match="killed here"):
        fit(model(), folder, stop_at=3)
    return folder


@pytest.fixture
def stopped(killed, tmp_path):
    """What a training leaves that was killed in its fourth epoch."""
    return shutil.copytree(killed, tmp_path / "stopped")


def test_an_interrupted_run_ends_as_an_uninterrupted_one(stopped, uninterrupted):
    assert [path.name for path in saved(stopped)] == ["epoch_00002.npz", "epoch_00003.npz"]
    whole, expected = uninterrupted
    fresh = model()
    _, history = fit(fresh, stopped)
    assert len(history) == 5
    for a, b in zip(without_time(history), without_time(expected), strict=True):
        assert a == pytest.approx(b, abs=1e-6)
    for a, b in zip(fresh.get_weights(), whole.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_losses_are_those_of_every_item_once(tmp_path):
    """With 40 items in batches of 7, the last is filled up."""
    net = model()
    data = Regression(False, size=7)
    _, history = fit_to(
        (Regression(True, size=7), data),
        net,
        tmp_path,
        metrics=[keras.metrics.MeanAbsoluteError(name="off")],
        section=SECTION | {"epochs": 1, "learning_rate": 1e-12, "decay": 0.0},
    )
    found = keras.ops.convert_to_numpy(net(data.x, training=False)) - data.y
    assert history[0]["val_loss"] == pytest.approx(np.mean(found**2), rel=1e-4)
    assert history[0]["val_off"] == pytest.approx(np.mean(abs(found)), rel=1e-4)


def test_every_epoch_serves_its_own_order(tmp_path):
    orders = {}

    class Watched(Regression):
        def load(self, chosen, counts, rng):
            orders.setdefault(self.epoch, []).append(tuple(chosen))
            return super().load(chosen, counts, rng)

    fit_to((Watched(True), Regression(False)), model(), tmp_path)
    assert sorted(orders) == list(range(5))
    for epoch, batch in orders.items():
        served = batch[-5:]  # Keras looks at a few batches before the first epoch
        assert sorted(sum(served, ())) == list(range(40)), epoch
    assert len({tuple(batch[-5:]) for batch in orders.values()}) == 5


def test_a_saved_state_of_other_settings_is_kept_and_named(stopped):
    with pytest.raises(UserError, match="unfinished training with other settings or data"):
        fit(model(), stopped, inputs={"model": "b"})
    assert len(saved(stopped)) == 2
    _, history = fit(model(), stopped, inputs={"model": "b"}, anew=True)
    assert [row["epoch"] for row in history] == [1, 2, 3, 4, 5]


def test_a_saved_state_of_before_a_setting_existed_is_gone_on_with(tmp_path, capsys):
    then = {"heads": {"units": 8}}
    with pytest.raises(Exception, match="killed here"):
        fit(model(), tmp_path, stop_at=2, inputs=then)
    with pytest.raises(UserError, match="unfinished training with other settings or data"):
        fit(model(), tmp_path, inputs=then | {"augment": {"mixup": 0.2}})
    fit(model(), tmp_path, inputs=then | {"augment": {"mixup": 0.0}})
    assert "resuming after epoch 2" in capsys.readouterr().out


@pytest.mark.parametrize("damage", ["cut", "empty", "bytes"])
def test_of_a_damaged_saved_state_the_one_before_is_used(stopped, uninterrupted, capsys, damage):
    newest = saved(stopped)[-1]
    content = bytearray(newest.read_bytes())
    if damage == "bytes":
        content[len(content) // 2] ^= 1
    newest.write_bytes(content[: {"cut": len(content) // 2, "empty": 0}.get(damage)])
    _, history = fit(model(), stopped)
    printed = capsys.readouterr().out
    assert "epoch_00003.npz is damaged" in printed and "resuming after epoch 2" in printed
    expected = without_time(uninterrupted[1])
    assert without_time(history)[-1] == pytest.approx(expected[-1], abs=1e-6)


def rewritten(path, change):
    """Let `change` change the state and the arrays of a saved state."""
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    state = json.loads(arrays.pop("state").tobytes())
    state = change(state, arrays) or state
    np.savez(path, state=np.frombuffer(json.dumps(state).encode(), np.uint8), **arrays)


OTHERS = {
    "an array less": lambda state, arrays: arrays.popitem() and None,
    "no best weights": lambda state, arrays: arrays.pop("best_0000") is state,
    "another shape": lambda state, arrays: arrays.update(last_0000=np.zeros((6, 9))),
    "another shape of the best": lambda state, arrays: arrays.update(best_0001=np.zeros(9)),
    "text": lambda state, arrays: arrays.update(last_0001=np.array(["a"] * 8)),
    "a counter less": lambda state, arrays: state.pop("since_cut") and None,
    "no fingerprint": lambda state, arrays: state.pop("fingerprint") and None,
}


@pytest.mark.parametrize("what", OTHERS)
def test_a_saved_state_of_another_version_is_refused_in_one_message(stopped, what):
    for path in saved(stopped):
        rewritten(path, OTHERS[what])
    net = model()
    before = net.get_weights()
    with pytest.raises(UserError, match=r"checkpoint (was saved|is of).* again with --overwrite"):
        fit(net, stopped)
    for a, b in zip(net.get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_state_that_is_no_table_is_damaged_and_other_files_are_no_states(stopped, capsys):
    rewritten(saved(stopped)[-1], lambda state, arrays: [1, 2])
    folder = stopped / "checkpoint"
    for name in ("epoch_00002 copy.npz", "epoch_last.npz", "epoch_.npz"):
        (folder / name).write_bytes(b"mine")
    fit(model(), stopped)
    printed = capsys.readouterr().out
    assert "epoch_00003.npz is damaged" in printed and "resuming after epoch 2" in printed
    assert (folder / "epoch_last.npz").exists()
    assert Checkpoints(stopped).kept_message(9).startswith("epoch 5 of at most 9 is saved in")


def test_the_best_weights_are_saved_whole_though_the_next_are_there_before(tmp_path, monkeypatch):
    """A slow disk: while epoch 2 is on its way, 3 and 4 end, each better than the one before."""
    save, write = progress.SavedStates.save, Checkpoints._write

    def rarely(self):
        if self.course.state.epoch == 2:
            save(self)

    def slowly(self, state, arrays):
        time.sleep(1)  # longer than all epochs
        write(self, state, arrays)

    monkeypatch.setattr(progress.SavedStates, "save", rarely)
    monkeypatch.setattr(Checkpoints, "_write", slowly)
    _, history = fit(model(statistics=False), tmp_path)
    losses = [row["val_loss"] for row in history]
    assert losses == sorted(losses, reverse=True)
    with np.load(saved(tmp_path)[-1]) as file:
        state = json.loads(file["state"].tobytes())
        assert state["epoch"] == state["best_epoch"] == 2
        for name in (name for name in file.files if name.startswith("best")):
            np.testing.assert_array_equal(file[name], file[name.replace("best", "last")])


def test_where_no_saved_state_is_whole_training_begins_anew(stopped, capsys):
    for path in saved(stopped):
        path.write_bytes(b"")
    _, history = fit(model(), stopped)
    assert "resuming" not in capsys.readouterr().out and len(history) == 5


def test_the_best_weights_are_left_in_the_model(tmp_path):
    net = model()
    outcome, history = fit(net, tmp_path, section=SECTION | {"epochs": 12})
    best = min(history, key=lambda row: row["val_loss"])
    assert outcome["best_epoch"] == best["epoch"]
    data = Regression(False)
    error = np.mean((keras.ops.convert_to_numpy(net(data.x, training=False)) - data.y) ** 2)
    assert error == pytest.approx(best["val_loss"], rel=1e-4)


def test_rate_is_cut_on_plateaus_and_training_stops(tmp_path):
    section = SECTION | {"epochs": 50, "learning_rate": 1e-12, "decay": 0.0}
    net = model(statistics=False)  # batch norm's would move the validation loss at any rate
    outcome, history = fit(net, tmp_path, section=section, training=TRAINING | {"stop_epochs": 4})
    waits = [row["epoch"] for row in history if row["epoch"] > outcome["best_epoch"]]
    assert outcome["stopped"] and len(waits) == 4
    rates = [row["learning_rate"] for row in history[outcome["best_epoch"] :]]
    np.testing.assert_allclose(rates[1:], np.array(rates[:-1]) / 2, rtol=1e-5)


def test_decay_divides_the_rate_by_the_steps():
    steps = []
    for decay in (0.0, 1.0):
        variable = keras.Variable([0.0])
        optimiser = optimizer.DecayedAdam(learning_rate=0.1, decay=decay, epsilon=1e-8)
        optimiser.build([variable])
        values = [0.0]
        for _ in range(4):
            optimiser.apply([keras.ops.ones(1)])
            values.append(keras.ops.convert_to_numpy(variable)[0])
        steps.append(-np.diff(values))
    # with a constant gradient every step of Adam is its rate
    np.testing.assert_allclose(steps[0], 0.1, rtol=1e-3)
    np.testing.assert_allclose(steps[1], 0.1 / np.arange(1, 5), rtol=1e-3)


@pytest.mark.parametrize("schedule", ["cosine", "plateau"])
def test_the_history_has_the_rate_of_the_last_step_and_the_last_epoch_is_told(
    tmp_path, capsys, schedule
):
    section = SECTION | {"epochs": 3, "learning_rate": 0.01, "decay": 0.1, "schedule": schedule}
    outcome, history = fit(model(), tmp_path, section=section | {"keep": "last"})
    per_epoch = len(Regression(True))
    steps = per_epoch * np.arange(1, 4) - 1
    rates = 0.01 / (1 + 0.1 * steps)
    if schedule == "cosine":
        rates *= 0.5 * (1 + np.cos(np.pi * steps / (3 * per_epoch)))
    np.testing.assert_allclose([row["learning_rate"] for row in history], rates, rtol=1e-4)
    told = capsys.readouterr().out.splitlines()
    assert outcome["kept_epoch"] == 3 and told[-1].startswith("epoch 3 is kept; lowest val_loss")
    assert told[-2].startswith("epoch   3/3")


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path):
    with pytest.raises(UserError, match="not finite in epoch 1: try a lower learning rate"):
        fit(model(), tmp_path, section=SECTION | {"learning_rate": 1e30})


def test_a_loss_that_stops_being_finite_keeps_the_last_good_state(tmp_path):
    class Odd(Regression):
        def load(self, chosen, counts, rng):
            x, y, w = super().load(chosen, counts, rng)
            return x, y * np.float32(np.nan if self.epoch == 3 else 1), w

    with pytest.raises(
        UserError, match="not finite in epoch 4.*epoch 3 of at most 5 is saved in .*checkpoint"
    ):
        fit_to((Odd(True), Regression(False)), model(), tmp_path)
    assert saved(tmp_path)[-1].name == "epoch_00003.npz"
    _, history = fit(model(), tmp_path)
    assert [row["epoch"] for row in history] == [1, 2, 3, 4, 5]


def test_an_interruption_says_what_is_saved(tmp_path):
    original = progress.Steps.on_train_batch_end

    def stop(self, batch, logs=None):
        original(self, batch, logs)
        if self.course.state.epoch == 2:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(progress.Steps, "on_train_batch_end", stop)
        with pytest.raises(KeyboardInterrupt, match=r"epoch 2 of at most 5 is saved in .*resumes"):
            fit(model(), tmp_path)
    assert saved(tmp_path)[-1].name == "epoch_00002.npz"


def test_tensorboard_gets_losses_of_every_epoch(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    _, history = fit(model(), tmp_path, training=TRAINING | {"tensorboard": True})
    events = EventAccumulator(str(tmp_path / "tensorboard/validation")).Reload()
    found = [tensor.step for tensor in events.Tensors("epoch_loss")]
    assert found == [0, 1, 2, 3, 4] and len(history) == 5


def test_tensorboard_that_is_not_installed_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(training_fit.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="needs tensorboard: pip install -r"):
        fit(model(), tmp_path, training=TRAINING | {"tensorboard": True})


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="others have no choice")
@pytest.mark.parametrize("wish, xla", [("off", False), ("on", True), ("auto", False)])
def test_xla_is_as_asked_for_and_off_on_a_cpu(tmp_path, monkeypatch, wish, xla):
    asked = []
    original = keras.Model.compile

    def compile_(self, *args, **kwargs):
        asked.append(kwargs["jit_compile"])
        return original(self, *args, **(kwargs | {"jit_compile": False}))

    monkeypatch.setattr(keras.Model, "compile", compile_)
    machine = Machine(TRAINING | {"xla": wish})
    fit(model(), tmp_path, machine=machine)
    assert asked == [xla] and machine.execution["xla"] is xla
    assert f"XLA {'on' if xla else 'off'}" in machine.description()
