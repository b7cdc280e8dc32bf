"""The other backends of Keras: every stage trains, and the same weights give the same outputs.

Keras takes its backend when it is imported, so each works in a process of its own.
"""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pandas as pd
import pytest
from conftest import FIGURES, PAIR, PRETRAINED, ROOT, SMALL, TRANSFERRED

import pretrain_cpc
import pretrain_denoise
import trans_train_cpc_multi
import trans_train_denoise_multi

STAGES = [
    (pretrain_denoise, "-s e -mod model_over"),
    (pretrain_cpc, "-s e -mod model_cpc"),
    (trans_train_denoise_multi, "-s e -m e -mod model_over -rel y"),  # frozen, then released
    (trans_train_cpc_multi, "-s e -m e -mod model_cpc -rel n"),
]
# one epoch, nothing measured: XLA takes most of the time to compile
ONE = [*SMALL, *FIGURES, "--epochs", "1", "--set", "training.predict_windows=64"]
TRANSFERS = [
    f"{PAIR}/{run}.it_0" for run in ("model_over.feat_ext", "model_over.full", "model_cpc.feat_ext")
]
SPEECH = [f"models/speech/english/{name}.it_0" for name in ("model_over", "model_cpc")]
MODELS = [f"{run}/{kind}.keras" for run in SPEECH for kind in ("encoder", "model")]
MODELS += [f"{run}/model.keras" for run in TRANSFERS]


def outputs(models):
    """What the saved models below a folder give: {model and output: float32 (n, …)}."""
    windows = np.random.default_rng(0).normal(-5, 2, (24, 128, 31, 1)).astype(np.float32)
    given = {}
    for name in MODELS:
        model = keras.models.load_model(models / name, compile=False)
        predicted = model.predict(windows.reshape(-1, *model.input_shape[1:]), verbose=0)
        for task, values in (predicted if isinstance(predicted, dict) else {"": predicted}).items():
            given[f"{name} {task}".replace("/", " ")] = values
    return given


def work(theirs, ours):
    """In the other process: train every stage; write what its models and those given give."""
    for script, line in STAGES:
        assert script.main([*line.split(), *ONE]) == 0, (script.__name__, line)
    for name, models in (("theirs", theirs), ("ours", ours)):
        np.savez(Path(ours) / f"{name}.npz", **outputs(Path(models)))


def python(backend, *line, **environment):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed: pip install -r requirements/{backend}.txt")
    path = os.pathsep.join(map(str, (ROOT, ROOT / "tests", ROOT / "tests/stages")))
    result = subprocess.run(
        [sys.executable, *map(str, line)],
        cwd=ROOT,
        env=os.environ | {"KERAS_BACKEND": backend, "PYTHONPATH": path} | environment,
        capture_output=True,
        text=True,
        timeout=570,
    )
    assert result.returncode == 0, (result.stdout[-3000:], result.stderr[-3000:])
    return result.stdout


@pytest.fixture(scope="module", params=["jax", "torch"])
def other(request, pipeline, tmp_path_factory):
    """Every stage of training on the data sets of `pipeline`, in another process."""
    ours = tmp_path_factory.mktemp(request.param)
    code = f"import test_backends; test_backends.work({str(pipeline.models)!r}, {str(ours)!r})"
    paths = {"MER_PATH_TO_DATA": str(pipeline.data), "MER_PATH_TO_MODELS": str(ours)}
    printed = python(request.param, "-c", code, **paths)
    return SimpleNamespace(backend=request.param, models=ours, printed=printed)


@pytest.mark.slow
def test_every_stage_trains(other):
    for run in [*SPEECH, *TRANSFERS]:
        folder = other.models / run
        files = {p.name for p in folder.iterdir()} - {"reconstructions.png"}
        assert files == (PRETRAINED if run in SPEECH else TRANSFERRED), run
        history = pd.read_csv(folder / "history.csv")
        assert len(history) == 1 and np.isfinite(history).all(axis=None), run
        record = json.loads((folder / "run.json").read_text())
        assert other.backend in record["packages"]
        assert record["execution"]["backend"] == other.backend
        assert record["execution"]["xla"] == (other.backend == "jax")
    assert f"computing with {other.backend} on cpu" in other.printed


@pytest.mark.slow
@pytest.mark.parametrize("trained", ["theirs", "ours"])
def test_the_same_weights_give_the_same_outputs(other, pipeline, trained):
    """Of models trained here and loaded there ("theirs" to the other process), and the reverse."""
    expected = outputs(pipeline.models if trained == "theirs" else other.models)
    with np.load(other.models / f"{trained}.npz") as found:
        assert set(found) == set(expected) and len(expected) == 4 + 3 * len(TRANSFERS)
        for name, values in expected.items():
            np.testing.assert_allclose(found[name], values, rtol=0, atol=1e-4, err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_a_model_has_an_onnx_file_or_the_stage_says_why_not(pipeline, backend, tmp_path):
    """Keras exports this one with PyTorch; with JAX it asks for a package that is not installed."""
    run = pipeline.models / "models_trans/speech_none_2_music_eng/model_cnn.it_0"
    line, path = ["--export", str(run), str(tmp_path / "model.onnx")], tmp_path / "model.onnx"
    printed = python(backend, "-c", f"import predict; print(predict.main({line}))")
    assert printed.splitlines()[-1] == ("0" if backend == "torch" else "2"), printed
    assert path.exists() == (backend == "torch")


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_training_goes_on_as_on_tensorflow(backend):
    """Resuming, order, plateaus, stopping: tests of training themselves, on the other backend."""
    names = "an_interrupted_run or every_epoch or best_weights or plateaus"
    line = [
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        "tests/training/test_training.py",
        "-k",
        names,
    ]
    assert "6 passed" in python(backend, *line)
