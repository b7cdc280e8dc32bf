"""Nested cross-validation: inner folds alone choose a recipe, and nothing is trained twice."""

import json
import re
import shutil
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from conftest import FIGURES, SMALL

import results_table
import settings as defaults
import trans_train_cpc_multi
import trans_train_denoise_multi
from lib import configuration
from lib.artefacts import files
from lib.artefacts.run_name import RunName
from lib.command_line import stage_scripts
from lib.datasets import folds
from lib.datasets.folds import Folds
from lib.errors import UserError
from lib.figures import test_figures
from lib.labels import TASKS
from lib.transfer import classifier_run, recipes, transfer_stage
from lib.transfer.transfer_plan import TransferPlan

LINE = "-s n -m e -mod model_cpc_nce -rel n --folds 2 --set network.maps=4".split()
CPC = "-s e -m e -mod model_cpc --folds 2"
RIGHT = {16: 0.3, 32: 0.95, 64: 0.6}  # share of the windows that heads so wide tell rightly
SECTIONS = ("training", "network", "heads", "transfer", "augment")


@pytest.fixture
def grid(tmp_path):
    """Writes a grid; gives its flags."""

    def written(text):
        path = tmp_path / "grid.txt"
        path.write_text(text)
        return ["--nested", str(path)]

    return written


@pytest.fixture
def trained(pipeline, tmp_path, monkeypatch):
    """Instead of training, predicts as RIGHT says; gives the jobs and steps of what was trained."""
    monkeypatch.setattr(defaults, "path_to_models", str(tmp_path / "models"))
    calls = []

    def train(job, step):
        calls.append((job, step))
        windows, right = job.data["test"], RIGHT[job.settings["heads"]["units"]]
        rng = np.random.default_rng(len(windows))
        probabilities = {}
        for task, true in windows.labels().items():
            guess = np.where(rng.random(len(true)) < right, true, (true + 1) % len(TASKS[task]))
            probabilities[task] = np.eye(len(TASKS[task]), dtype=np.float32)[guess]
        with files.whole_folder(job.path(step.name)) as new:
            (new / "model.keras").write_text(json.dumps(step.inputs))
            classifier_run._write(job, step, new, probabilities, {}, time.time())

    monkeypatch.setattr(classifier_run, "train", train)
    for figure in ("confusions", "reliability"):
        monkeypatch.setattr(test_figures, figure, lambda *_: None)
    return calls


def names(calls):
    return [str(step.name).split("_eng/")[1] for _, step in calls]


def test_inner_folds_are_of_the_clips_that_the_outer_one_learns_from(tmp_path):
    table = pd.DataFrame({"recording": [f"r{i:02d}" for i in range(96)]})
    table["group"] = [f"artist {i // 3}" for i in range(96)]
    table["quadrant"] = ["Q1", "Q2", "Q3", "Q4"] * 24
    pool, artists = SimpleNamespace(table=table), Folds(3, "artist")
    for part in folds.divide(pool, Folds(2, "artist"), tmp_path, 0.15, 0):
        learnt = np.sort(np.concatenate([part.rows["train"], part.rows["val"]]))
        inner = list(folds.divide_inner(pool, part, artists, 0.15, 0))
        assert [(i.number, i.inner) for i in inner] == [(part.number, n) for n in (1, 2, 3)]
        tested = np.concatenate([i.rows["test"] for i in inner])
        np.testing.assert_array_equal(np.sort(tested), learnt)
        for i in inner:
            rows = np.concatenate(list(i.rows.values()))
            np.testing.assert_array_equal(np.sort(rows), learnt)
            split = pd.Series("", learnt)
            for name, numbers in i.rows.items():
                split[numbers] = name
            assert split.groupby(table["group"][learnt]).nunique().max() == 1


def test_the_best_recipe_of_the_inner_folds_is_scored_outside(trained, grid, tmp_path, capsys):
    flags = grid("# widths\nheads.units=16\n\nheads.units=32  # the best\nheads.units=64\n")
    assert trans_train_cpc_multi.main([*LINE, *flags]) == 0
    said = capsys.readouterr().out
    assert said.count("chosen heads.units=32") == 2 and "2 folds, macro F1 per clip" in said
    assert len(trained) == 2 * (3 * recipes.INNER + 1)
    pair = tmp_path / "models/models_trans/speech_none_2_music_eng"
    run = pair / "model_cpc_nce.feat_ext.folds_2_nested.it_0"
    outer = [(job, step) for job, step in trained if step.name.inner is None]
    assert names(outer) == [f"{run.name}/fold_{number}" for number in (1, 2)]
    for job, step in trained:
        assert RunName.parse(job.path(step.name)) == step.name
        tested = set(outer[step.name.fold - 1][0].data["test"].table["recording"])
        rows = {r for windows in job.data.values() for r in windows.table["recording"]}
        assert step.name.inner is None or not rows & tested
    table = pd.read_csv(run / "nested.csv")
    assert table["recipe"].tolist() == [f"heads.units={units}" for units in (16, 32, 64)] * 2
    assert table["chosen"].tolist() == [False, True, False] * 2
    inner = table[["inner_1", "inner_2", "inner_3"]]
    np.testing.assert_allclose(table["macro_f1"], inner.mean(axis=1))
    metrics = files.read_json(
        run / "fold_1/inner_2" / f"recipe_{recipes.Recipe({'heads.units': 32}).key}/metrics.json"
    )
    assert inner.iloc[1, 1] == pytest.approx(metrics["clip"]["quadrants"]["macro_f1"])
    record = files.read_json(run / "run.json")
    assert [fold["recipe"] for fold in record["outcome"]["folds"]] == ["heads.units=32"] * 2
    assert record["inputs"]["folds"][0]["heads"]["units"] == 32
    assert record["inputs"]["nested"]["recipes"] == list(table["recipe"][:3])
    assert "nested.csv" in record["files"]


@pytest.mark.slow
def test_what_is_trained_is_found_again(trained, grid, tmp_path, capsys):
    """By the same line, after a kill, and with recipes that are moved or added."""
    first = grid("heads.units=16\nheads.units=32\n")
    assert trans_train_cpc_multi.main([*LINE, *first]) == 0
    runs = tmp_path / "models/models_trans/speech_none_2_music_eng"
    run = runs / "model_cpc_nce.feat_ext.folds_2_nested.it_0"
    before = (run / "nested.csv").read_text()
    trained.clear()
    assert trans_train_cpc_multi.main([*LINE, *first]) == 0
    assert not trained
    shutil.rmtree(run / "fold_2/inner_3")
    (run / "fold_2/run.json").unlink()
    (run / "run.json").unlink()
    assert trans_train_cpc_multi.main([*LINE, *first]) == 0
    assert len(trained) == 2 + 1 and (run / "nested.csv").read_text() == before
    trained.clear()
    more = grid("heads.units=32\ntransfer.epochs=15 heads.units=64\nheads.units=16\n")
    assert trans_train_cpc_multi.main([*LINE, *more]) == 0
    assert len(trained) == 2 * recipes.INNER
    trained.clear()
    assert len(pd.read_csv(run / "nested.csv")) == 6
    same = grid("heads.units=16\nheads.units=32\nheads.units=64 transfer.epochs=15\n")
    assert trans_train_cpc_multi.main([*LINE, *same]) == 0 and not trained
    # again only what is scored outside
    assert trans_train_cpc_multi.main([*LINE, *same, "--overwrite"]) == 0
    assert names(trained) == [f"{run.name}/fold_{number}" for number in (1, 2)]
    trained.clear()
    other = grid("heads.units=16\nheads.units=64\n")
    assert trans_train_cpc_multi.main([*LINE, *other]) == 2
    assert "fold_1 is finished, with other inputs" in capsys.readouterr().err and not trained


@pytest.mark.slow
def test_recipes_of_a_released_run_share_their_frozen_step(
    trained, grid, pipeline, tmp_path, capsys
):
    shutil.copytree(pipeline.models / "models", tmp_path / "models/models")
    line = f"{CPC} -rel y".split()
    flags = grid("heads.units=32\nheads.units=32 release.epochs=3\nheads.units=16\n")
    assert trans_train_cpc_multi.main([*line, *flags]) == 0
    assert "2 folds, macro F1 per clip" in capsys.readouterr().out
    inner = [step.name.mode for _, step in trained if step.name.inner]
    assert inner.count("feat_ext") == 2 * 2 * recipes.INNER
    assert inner.count("full") == 2 * 3 * recipes.INNER
    key, outer = recipes.Recipe({"heads.units": 32}).key, "folds_2_nested.it_0/fold"
    assert names(call for call in trained if call[1].name.inner is None) == [
        f"model_cpc.feat_ext.{outer}_1/recipe_{key}",
        f"model_cpc.full.{outer}_1",
        f"model_cpc.feat_ext.{outer}_2/recipe_{key}",
        f"model_cpc.full.{outer}_2",
    ]
    for job, step in trained:
        if step.name.mode == "full":
            frozen = job.path(job.name("feat_ext", 0)) / "model.keras"
            assert step.inputs["feat_ext"] == files.file_hash(frozen)
            assert json.loads(frozen.read_text())["heads"] == job.settings["heads"]
    trained.clear()
    assert results_table.main(["--out", str(tmp_path / "results")]) == 0
    assert "left out" not in capsys.readouterr().out  # what only prepares is no run
    assert results_table.main(["--out", str(tmp_path / "results"), "--check"]) == 0
    table = pd.read_csv(tmp_path / "results/folds.csv")
    assert set(table["mode"]) == {"full"} and table["nested"].all()
    frozen = "heads.units=16\nheads.units=32\n"
    assert trans_train_cpc_multi.main([*f"{CPC} -rel n".split(), *grid(frozen)]) == 0
    assert names(trained) == [f"model_cpc.feat_ext.{outer}_{number}" for number in (1, 2)]


def test_a_recipe_of_training_from_scratch(trained, grid, tmp_path):
    line = "-s m -m e -mod model_cnn -rel n --folds 2 --set network.maps=4".split()
    flags = grid("heads.units=32 network.dropout=0.2\nheads.units=16 network.dropout=0.3\n")
    assert trans_train_denoise_multi.main([*line, *flags]) == 0
    run = tmp_path / "models/models_trans/speech_none_2_music_eng/model_cnn.folds_2_nested.it_0"
    assert pd.read_csv(run / "nested.csv")["chosen"].tolist() == [True, False] * 2
    assert {step.inputs["network"]["dropout"] for _, step in trained if not step.name.inner} == {
        0.2
    }


@pytest.mark.slow
def test_tables_say_what_is_nested(trained, grid, tmp_path, capsys):
    assert trans_train_cpc_multi.main([*LINE, *grid("heads.units=16\nheads.units=32\n")]) == 0
    assert trans_train_cpc_multi.main([*LINE, "--set", "heads.units=64"]) == 0
    out = tmp_path / "results"
    svm = "-s n -m e -mod model_svm -rel n --folds 2".split()
    assert trans_train_denoise_multi.main(svm) == 0
    capsys.readouterr()
    assert results_table.main(["--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert re.search(r"CPC-NCE +Feat\. Ext\. \(nested\) +\(no speech\) eng +folds_2_nested ", said)
    assert re.search(r"CPC-NCE +Feat\. Ext\. +\(no speech\) eng +folds_2 ", said)
    assert re.search(r"log-mel statistics +SVM \(nested\) .* folds_2 ", said)
    for page in ("table.md", "report.html"):
        assert "(nested): the recipe of each fold" in (out / page).read_text()
    table = pd.read_csv(out / "folds.csv")
    fixed = (table["mode"] != "probe") & (table["protocol"] == "folds_2")
    assert 0 < fixed.sum() < len(table) and table["nested"].equals(~fixed)
    assert results_table.main(["--out", str(out), "--check"]) == 0
    run = tmp_path / "models/models_trans/speech_none_2_music_eng"
    path = run / "model_cpc_nce.feat_ext.folds_2_nested.it_0/nested.csv"
    path.write_text(path.read_text().replace("True", "False"))
    assert results_table.main(["--out", str(out), "--check"]) == 2
    assert "gone: " in capsys.readouterr().err


@pytest.mark.parametrize(
    "text, message",
    [
        ("heads.units=16\n", "has 1 recipes"),
        ("# heads.units=16\n", "has 0 recipes"),
        ("heads.units=16\nheads.units=wide", "line 2: heads.units is 'wide'; it must be"),
        ("heads.units=16\n\nheads.units", "line 3: --set heads.units: expected section.key=value"),
        ("heads.unit=16\n", r"line 1: heads.unit=16 changes nothing .*\n  augment.mel_masks"),
        ("release.epochs=3\n", "line 1: release.epochs=3 changes nothing in these runs"),
        ("transfer.labels=0.5\n", "line 1: transfer.labels=0.5 changes nothing"),
        ("training.threads=3\n", "line 1: training.threads=3 changes nothing"),
        (
            "heads.units=16 heads.own=1\nheads.own=1 heads.units=16\n",
            "line 2: the recipe heads.own=1 heads.units=16 occurs twice",
        ),
    ],
)
def test_a_grid_that_is_none_is_named(grid, text, message):
    _, path = grid(text)
    with pytest.raises(UserError, match=message):
        recipes.read_grid(Path(path), configuration.load("model_cpc"), SECTIONS)


def test_a_recipe_counts_before_all_else_and_leaves_the_settings_alone(grid):
    settings = configuration.load("model_cpc_nce")
    _, path = grid("heads.units=16 training.weight_decay=0.01\nheads.units=32")
    recipe, _ = recipes.read_grid(Path(path), settings, SECTIONS)
    changed = recipe.applied(settings)
    assert (changed["heads"]["units"], changed["training"]["weight_decay"]) == (16, 0.01)
    assert settings == configuration.load("model_cpc_nce")
    assert str(recipe) == "heads.units=16 training.weight_decay=0.01"
    assert recipe.within(["heads"]) == recipes.Recipe({"heads.units": 16})
    turned = recipes.Recipe(dict(reversed(recipe.values.items())))
    assert turned.key == recipe.key != recipe.within(["heads"]).key


def test_of_equal_recipes_the_first_is_chosen():
    grid = [recipes.Recipe({"heads.own": number}) for number in range(3)]
    table = recipes.choose(grid, [[0.2, 0.4], [0.4, 0.5], [0.5, 0.4]])
    assert table["chosen"].tolist() == [False, True, False]
    assert table["macro_f1"].tolist() == pytest.approx([0.3, 0.45, 0.45])


def test_nested_goes_with_folds_and_a_probe_is_by_itself(grid, capsys):
    flags = grid("heads.units=16\nheads.units=32\n")
    with pytest.raises(SystemExit):
        trans_train_cpc_multi.main(["-s", "n", "-m", "e", "-mod", "model_cpc", "-rel", "n", *flags])
    assert "--nested needs --folds" in capsys.readouterr().err
    plan = TransferPlan.from_flags("model_svm", "n", "e", release=False, folds=Folds(2))
    settings = configuration.load("model_svm")
    assert stage_scripts._with_grid(plan, Path(flags[1]), settings) == plan
    assert "a probe needs no --nested" in capsys.readouterr().out
    assert plan.name("probe", 0).nested and not plan.name("probe", 0).folds.endswith("nested")


@pytest.mark.slow
def test_a_nested_line_trains_the_released_classifier(pipeline, grid, tmp_path, monkeypatch):
    models = tmp_path / "models"
    shutil.copytree(pipeline.models / "models", models / "models")
    monkeypatch.setattr(defaults, "path_to_models", str(models))
    flags = [*SMALL, *FIGURES, "--epochs", "1", *grid("release.decay=0\nrelease.decay=0.001\n")]
    assert trans_train_cpc_multi.main([*f"{CPC} -rel y".split(), *flags]) == 0
    pair = models / "models_trans/speech_eng_2_music_eng"
    run = pair / "model_cpc.full.folds_2_nested.it_0"
    assert (run / "nested.csv").is_file() and (run / "curves.png").is_file()
    assert len(list(run.glob("fold_*/model.keras"))) == 2
    assert len(list(run.glob("fold_*/inner_*/recipe_*/model.keras"))) == 2 * 3 * 2
    frozen = pair / "model_cpc.feat_ext.folds_2_nested.it_0"
    assert len(list(frozen.glob("fold_*/inner_*/recipe_*/model.keras"))) == 2 * 3


def test_recipes_are_chosen_by_the_quadrants_per_clip(tmp_path):
    scores = {"quadrants": {"macro_f1": 0.5}, "arousal": {"macro_f1": 0.9}}
    levels = {"window": {"quadrants": {"macro_f1": 0.4}}, "clip": scores}
    files.write_json(tmp_path / "metrics.json", levels)
    assert transfer_stage._inner_score(tmp_path) == 0.5
