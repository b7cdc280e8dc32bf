"""What is chosen for a machine: as asked for, or as measured; once, and told."""

import json
import subprocess
import sys

import keras
import numpy as np
import pytest
from conftest import ROOT

import settings as defaults
from lib import execution, scae
from lib.errors import UserError
from lib.execution import Machine

TRAINING = defaults.training


def test_the_fastest_size_is_measured_once_per_machine(tmp_path):
    store, asked = tmp_path / "models/machine.json", []

    def speed(size):
        asked.append(size)
        return 1000.0 if size == 512 else 900.0

    machine = Machine(TRAINING, store)
    assert machine.predict_windows("net", execution.WINDOWS - 1, speed) == 256 and not asked
    assert machine.predict_windows("net", execution.WINDOWS, speed) == 512
    assert asked == list(execution.SIZES)
    again = Machine(TRAINING, store)
    assert again.predict_windows("net", 10, speed) == 512 and len(asked) == 5
    assert again.predict_windows("other net", execution.WINDOWS, speed) == 512 and len(asked) == 10
    assert again.chosen["predict_windows_per_second"]["512"] == 1000.0
    assert "predicting 512 windows at a time" in again.told()
    key = next(iter(json.loads(store.read_text())))
    assert keras.backend.backend() in key and "threads" in key
    fixed = Machine(TRAINING | {"predict_windows": 7}, store)
    assert fixed.predict_windows("net", execution.WINDOWS, speed) == 7


def test_a_damaged_record_of_a_machine_is_named(tmp_path):
    store = tmp_path / "machine.json"
    store.write_text("{")
    with pytest.raises(UserError, match=r"machine.json is damaged: remove that file, all in it"):
        Machine(TRAINING, store).predict_windows("net", execution.WINDOWS, lambda size: 1.0)


def test_predictions_in_bfloat16_are_those_in_float32_roughly():
    _, encoder = scae.build()
    x = np.random.default_rng(0).normal(-5, 2, (8, 128, 31, 1)).astype(np.float32)
    expected = encoder.predict(x, verbose=0)
    half = execution.for_prediction(encoder, "bfloat16")
    found = np.asarray(half.predict(x, verbose=0), np.float32)
    assert 0 < abs(found - expected).max() < 0.05 * abs(expected).max()
    np.testing.assert_array_equal(encoder.predict(x, verbose=0), expected)  # the model is untouched
    assert execution.for_prediction(encoder, "float32") is encoder


def test_speed_counts_windows_after_the_first_step(monkeypatch):
    clock = iter(np.arange(0.0, 100.0, 0.25))
    monkeypatch.setattr(execution.time, "perf_counter", lambda: next(clock))
    calls = []
    assert execution.speed_of(lambda: calls.append(1), 100) == 400.0
    assert len(calls) == 5  # one that compiles, then a second's


def test_threads_are_those_asked_for(pipeline, tmp_path):
    code = (
        "import sys; sys.path.insert(0, '.')\n"
        "from lib import cli; cli.import_keras()\n"
        "import settings, tensorflow as tf\n"
        "from lib.execution import Machine\n"
        "machine = Machine(settings.training | {'threads': 1})\n"
        "print(tf.config.threading.get_intra_op_parallelism_threads(), machine.told())\n"
        "tf.constant(1) + 1\n"
        "try: Machine(settings.training | {'threads': 3})\n"
        "except Exception as error: print(error)\n"
    )
    line = [sys.executable, "-c", code]
    said = subprocess.run(line, cwd=ROOT, capture_output=True, text=True).stdout.splitlines()
    assert said[0].startswith("1 computing with tensorflow on cpu, 1 threads")
    assert "threads can be set once per process" in said[1]


def test_run_json_says_how_a_run_was_computed(pipeline):
    for run in pipeline.models.glob("models*/*/*/*.it_0"):
        found = json.loads((run / "run.json").read_text())["execution"]
        assert found["backend"] == "tensorflow" and found["device"] == "cpu"
        assert found["xla"] is False and found["threads"] >= 1, run
        if "models_trans" in str(run):
            assert found["predict_windows"] == 256
