"""How a machine computes: as the settings say, and told."""

import json
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT

import settings as defaults
from lib.models import scae
from lib.training import hardware

TRAINING = defaults.training


def test_predictions_in_bfloat16_are_those_in_float32_roughly():
    _, encoder = scae.build()
    x = np.random.default_rng(0).normal(-5, 2, (8, 128, 31, 1)).astype(np.float32)
    expected = encoder.predict(x, verbose=0)
    half = hardware.for_prediction(encoder, "bfloat16")
    found = np.asarray(half.predict(x, verbose=0), np.float32)
    assert 0 < abs(found - expected).max() < 0.05 * abs(expected).max()
    np.testing.assert_array_equal(encoder.predict(x, verbose=0), expected)  # the model is untouched
    assert hardware.for_prediction(encoder, "float32") is encoder


@pytest.mark.slow
def test_threads_are_those_asked_for(pipeline, tmp_path):
    code = (
        "import sys; sys.path.insert(0, '.')\n"
        "from lib import keras_backend; keras_backend.import_keras()\n"
        "import settings, tensorflow as tf\n"
        "from lib.training.hardware import Machine\n"
        "machine = Machine(settings.training | {'threads': 1})\n"
        "print(tf.config.threading.get_intra_op_parallelism_threads(), machine.description())\n"
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
            assert found["predict_windows"] == 128
