"""Shared by all tests: a small demo, and the pipeline run on it once."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import sys
from pathlib import Path
from types import SimpleNamespace

import hypothesis
import numpy as np
import pandas as pd
import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import settings as defaults
from lib import keras_backend
from lib.labels import QUADRANT_SIGNS, TASKS, columns_of

WORKER = "PYTEST_XDIST_WORKER" in os.environ  # one of several processes of the tests

# two seconds a run, each: `pipeline` draws its runs and exports one, and other tests what they need
defaults.run |= {"onnx": False, "figures": False}

# a job in the background of a shell ignores Ctrl-C, and so would the stages that tests begin
signal.signal(signal.SIGINT, signal.default_int_handler)

# the same examples in every run: what fails here fails everywhere
hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None)
hypothesis.settings.load_profile("repeatable")

# two epochs of narrow networks, for tests in which the width does not matter
SMALL = "--epochs 2 --set network.maps=4 --set heads.units=32 --set pretrain.batch_windows=48"
SMALL = f"{SMALL} --set transfer.batch_windows=24 --set release.batch_windows=24".split()

ONNX = ["--set", "run.onnx=True"]
FIGURES = ["--set", "run.figures=True"]

PRETRAINED = {"model.keras", "encoder.keras", "history.csv", "run.json", "curves.png"}
TRANSFERRED = {"model.keras", "history.csv", "run.json", "curves.png", "confusion.png"}
TRANSFERRED |= {"metrics.json", "report.txt", "predictions.csv", "confusion.pdf"}
TRANSFERRED |= {"reliability.png", "reliability.pdf"}
PAIR = "models_trans/speech_eng_2_music_eng"

# begun in this order, the others after them: the longest files first, so that no process ends long
# after the rest, and beside the first that makes `pipeline` those that do not wait for it
FIRST = (
    "backends preparation interruptions prediction training tables legacy sources crossval".split()
)


def pytest_configure(config):
    """Import Keras before any test does; not where other processes run the tests."""
    if WORKER or not config.getoption("numprocesses", None):
        keras_backend.import_keras()
    if WORKER:
        from lib.training.hardware import Machine

        # a thread for each process: those that share cores slow each other down
        defaults.training["threads"] = 1
        Machine(defaults.training)


def pytest_collection_modifyitems(items):
    place = {f"test_{name}": number for number, name in enumerate(FIRST)}
    items.sort(key=lambda item: place.get(item.path.stem, len(place)))


@pytest.fixture
def features():
    return dict(defaults.features)


@pytest.fixture
def paths(monkeypatch, tmp_path):
    """Point the suite at an empty folder for data and models."""
    monkeypatch.setattr(defaults, "path_to_data", str(tmp_path / "data"))
    monkeypatch.setattr(defaults, "path_to_models", str(tmp_path / "out"))
    (tmp_path / "data").mkdir()
    return SimpleNamespace(data=tmp_path / "data", models=tmp_path / "out")


def made_once(tmp_path_factory, name: str, make) -> Path:
    """The folder that make(folder) has filled, once for all processes of the tests."""
    base = tmp_path_factory.getbasetemp()
    base = base.parent if WORKER else base
    with open(base / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (base / f"{name}.done").exists():
            make(base / name)
            (base / f"{name}.done").touch()
    return base / name


@pytest.fixture(scope="session")
def demo(tmp_path_factory):
    """Small synthetic corpora, the same folder for all processes; copy before writing to them."""
    import make_demo_data

    def make(folder):
        line = ["--out", str(folder), "--speech-minutes", "1", "--clips-per-quadrant", "8"]
        assert make_demo_data.main([*line, "--clip-seconds", "3"]) == 0

    return made_once(tmp_path_factory, "corpora", make)


@pytest.fixture(scope="session")
def pipeline(demo, tmp_path_factory):
    """Every stage through its script, English to English; gives data and models folders, of which
    every process has a copy."""

    def use(folder):
        patch.setattr(defaults, "path_to_data", str(folder / "data"))
        patch.setattr(defaults, "path_to_models", str(folder / "models"))

    def make(folder):
        shutil.copytree(demo, folder / "data")
        use(folder)
        run_all_stages()

    own = tmp_path_factory.mktemp("own")
    with pytest.MonkeyPatch.context() as patch:
        shutil.copytree(made_once(tmp_path_factory, "pipeline", make), own, dirs_exist_ok=True)
        use(own)
        yield SimpleNamespace(data=own / "data", models=own / "models")


def run_all_stages():
    import generate_dataset
    import pretrain_cpc
    import pretrain_denoise
    import trans_train_cpc_multi
    import trans_train_denoise_multi

    lines = [
        (generate_dataset, ["-d", "m", "-l", "e"]),
        (generate_dataset, ["-d", "s", "-l", "e"]),
        (pretrain_denoise, ["-s", "e", "-mod", "model_over", *SMALL]),
        (pretrain_cpc, ["-s", "e", "-mod", "model_cpc", *SMALL]),
        (trans_train_denoise_multi, [*"-s e -m e -mod model_over -rel n".split(), *SMALL]),
        (trans_train_denoise_multi, [*"-s e -m e -mod model_over -rel y".split(), *SMALL]),
        (trans_train_cpc_multi, [*"-s e -m e -mod model_cpc -rel y".split(), *SMALL, *ONNX]),
        (trans_train_denoise_multi, [*"-s m -m e -mod model_cnn -rel n".split(), *SMALL]),
    ]
    for script, line in lines:
        drawn = FIGURES if script not in (generate_dataset, pretrain_cpc) else []
        assert script.main([*line, *drawn]) == 0, (script.__name__, line)


@pytest.fixture
def windows(features):
    """Labelled windows of 8 recordings of different lengths, in memory."""
    from lib.datasets.windows import Windows
    from lib.features.log_mel import window_starts

    lengths = np.array([31, 46, 61, 91, 136, 200, 31, 300])
    frames = np.random.default_rng(0).normal(-5, 2, (lengths.sum(), 128)).astype(np.float32)
    table = pd.DataFrame(
        {
            "recording": [f"r{i}" for i in range(8)],
            "language": "english",
            "group": "",
            "quadrant": ["Q1", "Q2", "Q3", "Q4"] * 2,
            "length": lengths,
        }
    )
    local = [window_starts(n, 31, 15) for n in lengths]
    recording = np.repeat(np.arange(8), [len(x) for x in local])
    local = np.concatenate(local)
    offsets = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    return Windows(frames, table, local + offsets[recording], recording, local, 31, "0" * 64)


def predictions(right, seed=0, clips=40):
    """Windows of `clips` clips, three each, of which the share `right` is told rightly."""
    rng = np.random.default_rng(seed)
    quadrant = np.array(list(QUADRANT_SIGNS))[np.repeat(np.arange(clips) % 4, 3)]
    columns = {"recording": np.repeat([f"s{i:02d}" for i in range(clips)], 3)}
    columns["start_seconds"] = np.tile([0.0, 0.48, 0.96], clips)
    hit = rng.random(3 * clips) < right
    for task, classes in TASKS.items():
        axis = {"arousal": 0, "valence": 1}.get(task)
        true = quadrant if axis is None else [classes[QUADRANT_SIGNS[q][axis]] for q in quadrant]
        index = np.array([classes.index(name) for name in true])
        guess = np.where(hit, index, (index + 1) % len(classes))
        columns[task] = true
        p = np.full((len(index), len(classes)), 0.1 / (len(classes) - 1))
        p[np.arange(len(index)), guess] = 0.9
        columns |= dict(zip(columns_of(task), p.T, strict=True))
    return pd.DataFrame(columns)


def small(features, tasks=TASKS):
    """A classifier of few weights."""
    import keras

    from lib.models import emotion_heads

    inputs = keras.Input((features["n_mels"], features["window_frames"], 1))
    pooled = keras.layers.MaxPooling2D((features["n_mels"] // 4, 31))(inputs)
    code = keras.layers.Flatten()(pooled)
    encoder = keras.Model(inputs, code)
    return emotion_heads.classifier(
        encoder, emotion_heads.build(4, tasks, emotion_heads.HeadSizes(units=4))
    )
