"""All stages through their scripts: what they leave behind, and that it is what it says."""

import json
import re
import subprocess
import sys

import keras
import numpy as np
import pandas as pd
import pytest
from conftest import PAIR, PRETRAINED, ROOT, SMALL, TRANSFERRED

import pretrain_cpc
import pretrain_denoise
import results_table
import settings as defaults
import trans_train_cpc_multi
import trans_train_denoise_multi
from lib.labels import TASKS

TRANSFERS = [
    f"{PAIR}/model_over.feat_ext.it_0",
    f"{PAIR}/model_over.full.it_0",
    f"{PAIR}/model_cpc.feat_ext.it_0",
    f"{PAIR}/model_cpc.full.it_0",
    "models_trans/speech_none_2_music_eng/model_cnn.it_0",
]


def weights(model):
    return [keras.ops.convert_to_numpy(w) for w in model.weights]


def load(path):
    return keras.models.load_model(path, compile=False)


def encoder_of(run):
    return load(run / "model.keras").get_layer("encoder")


def test_every_run_directory_is_complete(pipeline):
    speech = pipeline.models / "models/speech/english"
    found = {p.name for p in (speech / "model_cpc.it_0").iterdir()}
    assert found == PRETRAINED - {"curves.png"}  # made without run.figures
    found = {p.name for p in (speech / "model_over.it_0").iterdir()}
    assert found == PRETRAINED | {"reconstructions.png"}
    for run in TRANSFERS:
        found = {p.name for p in (pipeline.models / run).iterdir()}
        exported = {"model.onnx"} if "model_cpc" in run else set()
        assert found == TRANSFERRED | exported, run


def test_run_json_says_how_the_run_was_made(pipeline):
    run = json.loads((pipeline.models / TRANSFERS[0] / "run.json").read_text())
    assert run["inputs"]["heads"] == defaults.heads | {"units": 32}
    assert run["inputs"]["seed"] == 0 and run["outcome"]["epoch"] == 2
    assert run["outcome"]["synthetic"] is True
    assert {"keras", "tensorflow", "numpy", "python"} <= run["packages"].keys()
    assert len(run["inputs"]["encoder"]) == len(run["inputs"]["dataset"]["test"]) == 64


@pytest.mark.parametrize("kind", ["over", "cpc"])
def test_the_encoder_is_unchanged_when_frozen_and_changed_when_released(pipeline, kind):
    pretrained = load(pipeline.models / f"models/speech/english/model_{kind}.it_0/encoder.keras")
    frozen = encoder_of(pipeline.models / PAIR / f"model_{kind}.feat_ext.it_0")
    released = encoder_of(pipeline.models / PAIR / f"model_{kind}.full.it_0")
    for before, kept, changed in zip(*map(weights, (pretrained, frozen, released)), strict=True):
        np.testing.assert_array_equal(before, kept)
        assert not np.array_equal(before, changed)


def test_predictions_score_every_test_window_once(pipeline):
    split = pd.read_csv(pipeline.data / "features/music/english/split.csv")
    test = split[split["split"] == "test"]
    windows = {r: (n - 31) // 15 + 1 for r, n in zip(test["recording"], test["length"])}  # noqa: B905
    for run in TRANSFERS:
        table = pd.read_csv(pipeline.models / run / "predictions.csv")
        assert table["recording"].value_counts().to_dict() == windows
        assert not table.duplicated(["recording", "start_seconds"]).any()
        metrics = json.loads((pipeline.models / run / "metrics.json").read_text())
        for task, classes in TASKS.items():
            columns = [f"p_{task}_{name}" for name in classes]
            np.testing.assert_allclose(table[columns].sum(axis=1), 1, atol=1e-4)
            predicted = np.array(classes)[table[columns].to_numpy().argmax(axis=1)]
            accuracy = np.mean(predicted == table[task])
            assert metrics["window"][task]["accuracy"] == pytest.approx(accuracy)
        truth = test.set_index("recording")["quadrant"][table["recording"]].to_numpy()
        np.testing.assert_array_equal(table["quadrants"], truth)
        assert (table["arousal"] == "positive").eq(table["quadrants"].isin(["Q1", "Q2"])).all()
        assert (table["valence"] == "positive").eq(table["quadrants"].isin(["Q1", "Q4"])).all()


@pytest.mark.slow
def test_models_load_in_a_fresh_process_without_this_project(pipeline, tmp_path):
    code = (
        "import sys, numpy, keras\n"
        "x = numpy.load('x.npy')\n"
        "for path in sys.argv[1:]:\n"
        "    y = keras.models.load_model(path, safe_mode=True).predict(x, verbose=0)\n"
        "    y = y['quadrants'] if isinstance(y, dict) else y\n"
        "    print(float(abs(y).sum()))\n"
        "assert not any(name == 'lib' or name.startswith('lib.') for name in sys.modules)\n"
    )
    x = np.random.default_rng(0).normal(-5, 2, (2, 128, 31, 1)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    speech = pipeline.models / "models/speech/english"
    paths = [pipeline.models / run / "model.keras" for run in TRANSFERS]
    paths += [speech / "model_over.it_0/model.keras", speech / "model_over.it_0/encoder.keras"]
    paths += [speech / "model_cpc.it_0/encoder.keras"]
    result = subprocess.run(
        [sys.executable, "-I", "-c", code, *map(str, paths)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr[-2000:]
    for path, line in zip(paths, result.stdout.split(), strict=True):
        y = load(path).predict(x, verbose=0)
        y = y["quadrants"] if isinstance(y, dict) else y
        assert float(line) == pytest.approx(float(abs(y).sum()), rel=1e-5)


def test_codes_computed_once_give_what_the_whole_model_gives(pipeline, features):
    from lib.datasets import dataset_file

    windows = dataset_file.read(
        pipeline.data / "features/music/english/test_dataset.h5", features, ""
    ).take(np.arange(40))
    model = load(pipeline.models / TRANSFERS[0] / "model.keras")
    codes = model.get_layer("encoder").predict(windows, verbose=0)
    apart = model.get_layer("heads").predict(codes, verbose=0)
    whole = model.predict(windows, verbose=0)
    for task in TASKS:
        np.testing.assert_allclose(apart[task], whole[task], atol=1e-5)


def main(script, line):
    return script.main([*line.split(), *SMALL])


def test_a_finished_run_is_left_alone_and_others_are_refused(pipeline, capsys):
    line = "-s e -m e -mod model_over -rel n"
    before = (pipeline.models / TRANSFERS[0] / "run.json").read_text()
    assert main(trans_train_denoise_multi, line) == 0
    assert "is finished already" in capsys.readouterr().out
    assert main(trans_train_denoise_multi, f"{line} --set transfer.learning_rate=0.1") == 2
    assert "transfer.learning_rate: 0.001 instead of 0.1" in capsys.readouterr().err
    assert (pipeline.models / TRANSFERS[0] / "run.json").read_text() == before


def test_the_baseline_says_that_it_ignores_speech(pipeline, capsys):
    assert main(trans_train_denoise_multi, "-s x -m e -mod model_cnn -rel n") == 0
    printed = capsys.readouterr().out
    assert "-s x is ignored" in printed and "is finished already" in printed
    assert main(trans_train_denoise_multi, "-s e -m e -mod model_cnn -rel y") == 2
    assert "trained from scratch in one step: use -rel n" in capsys.readouterr().err


def test_a_stage_before_its_predecessor_names_the_command(pipeline, capsys):
    assert main(pretrain_denoise, "-s m -mod model_over") == 2
    assert "python3 generate_dataset.py -d s -l m" in capsys.readouterr().err
    assert main(trans_train_denoise_multi, "-s e -m m -mod model_over -rel n") == 2
    assert "python3 generate_dataset.py -d m -l m" in capsys.readouterr().err
    assert main(trans_train_cpc_multi, "-s m -m e -mod model_cpc -rel y") == 2
    assert "python3 pretrain_cpc.py -s m -mod model_cpc" in capsys.readouterr().err
    assert main(trans_train_denoise_multi, "-s e -m e -mod model_over -rel n --iterations 2") == 2
    assert "-mod model_over --iterations 2" in capsys.readouterr().err


def test_epochs_of_the_released_step_leave_the_frozen_one_alone(pipeline, capsys):
    line = ["-s", "e", "-m", "e", "-mod", "model_over", "-rel", "y", *SMALL, "--epochs", "3"]
    assert trans_train_denoise_multi.main(line) == 2  # the released run has other epochs
    captured = capsys.readouterr()
    assert "model_over.feat_ext.it_0 is finished already" in captured.out
    assert "release.epochs: 2 instead of 3" in captured.err


def test_data_of_other_features_is_refused(pipeline, capsys):
    line = "-s e -mod model_over --set features.window_hop=10"
    assert main(pretrain_denoise, line) == 2
    assert "window_hop: 15 instead of 10" in capsys.readouterr().err


def test_the_table_shows_what_the_runs_measured(pipeline, capsys, tmp_path):
    assert results_table.main(["--out", str(tmp_path / "table")]) == 0
    printed = capsys.readouterr().out
    metrics = json.loads((pipeline.models / TRANSFERS[1] / "metrics.json").read_text())
    f1 = metrics["window"]["valence"]["macro_f1"]
    table = pd.read_csv(tmp_path / "table" / "table.csv")
    row = table[
        (table["level"] == "window")
        & (table["model"] == "model_over")
        & (table["mode"] == "full")
        & (table["task"] == "valence")
    ]
    assert row["f1_mean"].item() == pytest.approx(f1, abs=1e-5)
    assert row["runs"].item() == 1 and row["f1_sd"].isna().item()
    assert f"{f1:.2f}" in printed and "chance" in printed
    text = (tmp_path / "table" / "table.md").read_text()
    assert re.search(r"\| CNN +\| from scratch +\| quadrants ", text)
    assert (tmp_path / "table" / "table.png").stat().st_size > 10_000


def test_no_runs_no_table(paths, capsys):
    assert results_table.main([]) == 2
    assert "no finished run" in capsys.readouterr().err


def test_scripts_are_thin():
    for script in ROOT.glob("*.py"):
        if script.name != "settings.py":
            assert len(script.read_text().splitlines()) <= 90, script.name


@pytest.mark.slow
@pytest.mark.parametrize("negatives", ["order", "elsewhere"])
def test_data_sets_larger_than_memory_train_too(pipeline, tmp_path, monkeypatch, capsys, negatives):
    """With 20 KB for frames, recordings are read as they are needed."""
    monkeypatch.setattr(defaults, "path_to_models", str(tmp_path))
    little = [*SMALL, "--epochs", "1", "--set", "training.memory_gb=2e-5"]
    contrast = ["--set", f"cpc.negatives={negatives}"]
    lines = [(pretrain_cpc, ["-s", "e", "-mod", "model_cpc", *little, *contrast])]
    if negatives == "order":
        lines += [
            (pretrain_denoise, ["-s", "e", "-mod", "model_over", *little]),
            (trans_train_cpc_multi, [*"-s e -m e -mod model_cpc -rel y".split(), *little]),
        ]
    for script, line in lines:
        assert script.main(line) == 0, (script.__name__, line)
    assert "read from disk as they are needed" in capsys.readouterr().out
    for run in tmp_path.glob("models*/*/*/*.it_0"):
        record = json.loads((run / "run.json").read_text())
        assert "in blocks of 39 frames" in record["inputs"]["dataset"]["train"]
        twin = pipeline.models / run.relative_to(tmp_path)
        there = json.loads((twin / "run.json").read_text())["inputs"]["dataset"]["train"]
        assert record["inputs"]["dataset"]["train"].split(",")[0] == there
        history = [pd.read_csv(r / "history.csv")["loss"][0] for r in (run, twin)]
        assert history[0] == pytest.approx(history[1], rel=0.5)
