"""Optimiser, plateaus, stopping, and a run that goes on after a kill as if nothing had happened."""

import json

import keras
import numpy as np
import pytest

import settings as defaults
from lib import batches, training
from lib.errors import UserError

TRAINING = dict(defaults.training, plateau_epochs=1, checkpoint_seconds=0.0)
SECTION = {"epochs": 5, "learning_rate": 0.02, "decay": 0.01}


class Regression(batches.Batches):
    """Batches of a linear problem; `stop_at` raises in the middle of that epoch."""

    def __init__(self, shuffle, stop_at=None):
        super().__init__(40, 8, seed=5, shuffle=shuffle)
        rng = np.random.default_rng(0)
        self.x = rng.normal(size=(40, 6)).astype(np.float32)
        self.y = self.x @ rng.normal(size=(6, 1)).astype(np.float32)
        self.stop_at = stop_at

    def load(self, chosen, rng):
        if self.stop_at == self.epoch and 0 in chosen:
            raise RuntimeError("killed here")
        return self.x[chosen], self.y[chosen]


def model():
    keras.utils.set_random_seed(3)
    inputs = keras.Input((6,))
    x = keras.layers.Dense(8, activation="relu")(inputs)
    x = keras.layers.Dropout(0.3)(keras.layers.BatchNormalization()(x))
    return keras.Model(inputs, keras.layers.Dense(1)(x))


def fit(net, folder, stop_at=None, section=SECTION, fingerprint="a", **changes):
    return training.fit(
        net,
        Regression(True, stop_at),
        Regression(False),
        folder,
        loss="mse",
        metrics=None,
        section=section,
        training=TRAINING | changes,
        fingerprint=fingerprint,
    )


def without_time(history):
    return [{k: v for k, v in row.items() if k != "seconds"} for row in history]


def test_an_interrupted_run_ends_as_an_uninterrupted_one(tmp_path):
    whole, parts = model(), model()
    _, expected = fit(whole, tmp_path / "whole")
    with pytest.raises(Exception, match="killed here"):
        fit(parts, tmp_path / "parts", stop_at=3)
    state = json.loads((tmp_path / "parts" / training.CHECKPOINT / "state.json").read_text())
    assert state["epoch"] == 3
    fresh = model()
    _, history = fit(fresh, tmp_path / "parts")
    assert len(history) == 5
    for a, b in zip(without_time(history), without_time(expected), strict=True):
        assert a == pytest.approx(b, abs=1e-6)
    for a, b in zip(fresh.get_weights(), whole.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_every_epoch_serves_its_own_order(tmp_path):
    orders = {}

    class Watched(Regression):
        def load(self, chosen, rng):
            orders.setdefault(self.epoch, []).append(tuple(chosen))
            return super().load(chosen, rng)

    data = Watched(True)
    training.fit(
        model(),
        data,
        Regression(False),
        tmp_path,
        loss="mse",
        metrics=None,
        section=SECTION,
        training=TRAINING,
        fingerprint="",
    )
    assert sorted(orders) == list(range(5))
    for epoch, batch in orders.items():
        served = batch[-5:]  # Keras looks at a few batches before the first epoch
        assert sorted(sum(served, ())) == list(range(40)), epoch
    assert len({tuple(batch[-5:]) for batch in orders.values()}) == 5


def test_a_saved_state_of_other_settings_is_kept_and_named(tmp_path):
    with pytest.raises(Exception, match="killed here"):
        fit(model(), tmp_path, stop_at=2)
    with pytest.raises(UserError, match="unfinished training with other settings or data"):
        fit(model(), tmp_path, fingerprint="b")
    assert (tmp_path / training.CHECKPOINT / "state.npz").is_file()


@pytest.mark.parametrize("name", ["state.npz", "state.json"])
def test_a_damaged_saved_state_is_noticed(tmp_path, capsys, name):
    with pytest.raises(Exception, match="killed here"):
        fit(model(), tmp_path, stop_at=2)
    path = tmp_path / training.CHECKPOINT / name
    path.write_bytes(path.read_bytes()[:40])
    _, history = fit(model(), tmp_path)
    assert "cannot be read" in capsys.readouterr().out and len(history) == 5


def test_the_best_weights_are_left_in_the_model(tmp_path):
    net = model()
    outcome, history = fit(net, tmp_path, section=SECTION | {"epochs": 12})
    best = min(history, key=lambda row: row["val_loss"])
    assert outcome["best_epoch"] == best["epoch"]
    data = Regression(False)
    error = np.mean((keras.ops.convert_to_numpy(net(data.x, training=False)) - data.y) ** 2)
    assert error == pytest.approx(best["val_loss"], rel=1e-4)


def test_rate_is_cut_on_plateaus_and_training_stops(tmp_path):
    section = {"epochs": 50, "learning_rate": 1e-12, "decay": 0.0}
    outcome, history = fit(model(), tmp_path, section=section, stop_epochs=4)
    waits = [row["epoch"] for row in history if row["epoch"] > outcome["best_epoch"]]
    assert outcome["stopped"] and len(waits) == 4
    rates = [row["learning_rate"] for row in history[outcome["best_epoch"] :]]
    np.testing.assert_allclose(rates[1:], np.array(rates[:-1]) / 2, rtol=1e-5)


def test_decay_divides_the_rate_by_the_steps():
    steps = []
    for decay in (0.0, 1.0):
        variable = keras.Variable([0.0])
        optimiser = training.DecayedAdam(learning_rate=0.1, decay=decay, epsilon=1e-8)
        optimiser.build([variable])
        values = [0.0]
        for _ in range(4):
            optimiser.apply([keras.ops.ones(1)])
            values.append(float(variable[0]))
        steps.append(-np.diff(values))
    # with a constant gradient every step of Adam is its rate
    np.testing.assert_allclose(steps[0], 0.1, rtol=1e-3)
    np.testing.assert_allclose(steps[1], 0.1 / np.arange(1, 5), rtol=1e-3)


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path):
    with pytest.raises(UserError, match="not finite in epoch 1: try a lower learning rate"):
        fit(model(), tmp_path, section=SECTION | {"learning_rate": 1e30})


def test_runs_have_seeds_of_their_own():
    seeds = {training.run_seed(seed, run) for seed in range(20) for run in range(20)}
    assert len(seeds) == 400
    assert training.run_seed(7, 3) == training.run_seed(7, 3)


def test_xla_is_off_unless_asked_for(tmp_path, monkeypatch):
    asked = []
    original = keras.Model.compile

    def compile_(self, *args, **kwargs):
        asked.append(kwargs["jit_compile"])
        return original(self, *args, **kwargs)

    monkeypatch.setattr(keras.Model, "compile", compile_)
    fit(model(), tmp_path, section=SECTION | {"epochs": 1})
    assert asked == [False]
