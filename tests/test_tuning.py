"""tune.py: what is searched, what a search leaves, and how it goes on."""

import json
import shlex
import sys

import optuna
import pandas as pd
import pytest
from conftest import SMALL

import generate_dataset
import pretrain_cpc
import settings as defaults
import trans_train_cpc_multi
import tune
from lib import artefacts, config, spaces
from lib.errors import UserError

CPC = "-stage pretrain_cpc -s e -mod model_cpc_nce".split() + [*SMALL, "--epochs", "1"]
TRANSFER = "-stage trans_train_cpc_multi -s e -m e".split() + [*SMALL, "--epochs", "1"]
RATE = "pretrain.learning_rate"


def call(capsys, *line):
    """Exit status, and what was printed."""
    try:
        status = tune.main([str(part) for part in line])
    except SystemExit as end:  # argparse's own
        status = end.code
    return (status, *capsys.readouterr())


def open_study(folder):
    return optuna.load_study(study_name=folder.name, storage=f"sqlite:///{folder / 'study.db'}")


def inputs_of(folder, number):
    return json.loads((folder / f"trial_{number}" / "run.json").read_text())["inputs"]


@pytest.fixture
def models(pipeline, monkeypatch, tmp_path):
    """An empty folder for models; the data of the pipeline."""
    monkeypatch.setattr(defaults, "path_to_models", str(tmp_path))
    return tmp_path


def test_a_search_goes_on_where_it_was_and_prints_the_line_of_its_best_trial(
    models, capsys, tmp_path
):
    status, out, _ = call(capsys, *CPC, "--trials", 2)
    assert status == 0 and "trial 1 (2/2)" in out and "epoch   1" not in out
    folder = models / "models/tuning/pretrain_cpc.e.model_cpc_nce"
    open_study(folder).ask()  # as if the process had been killed in its third trial
    (folder / "work" / "left").mkdir(parents=True)

    status, out, _ = call(capsys, *CPC, "--trials", 3)
    assert status == 0 and out.count("val_loss") == 2  # one more trial, and the best
    assert "2/3 trials finished" in out and "trial 3 (3/3)" in out
    table = pd.read_csv(folder / "trials.csv")
    assert table["state"].tolist() == ["COMPLETE", "COMPLETE", "FAIL", "COMPLETE"]
    assert table[RATE].nunique() == table["pretrain.decay"].nunique() == 3  # no draw repeats
    assert table[RATE].dropna().between(1e-5, 1e-2).all()
    left = {"study.db", "trials.csv", "log.txt", "trial_0", "trial_1", "trial_3"}
    assert {path.name for path in folder.iterdir()} == left
    assert {p.name for p in (folder / "trial_3").iterdir()} == {"run.json", "history.csv"}
    assert (folder / "log.txt").read_text().count("epoch   1/1") == 3
    for number in (0, 1, 3):
        record = json.loads((folder / f"trial_{number}" / "run.json").read_text())
        assert record["inputs"]["pretrain"][RATE.split(".")[1]] == table[RATE][number]
        assert record["inputs"]["pretrain"]["batch_windows"] == 48  # of --set
        assert record["outcome"]["best_loss"] == table["val_loss"][number]

    best = table.loc[table["val_loss"].idxmin()]
    line = shlex.split(out.splitlines()[-1])
    assert line[:6] == "python3 pretrain_cpc.py -s e -mod model_cpc_nce".split()
    flags = [f"{name}={float(best[name])!r}" for name in (RATE, "pretrain.decay")]
    assert set(line[-4:]) == {"--set", *flags}
    assert pretrain_cpc.main(line[2:]) == 0  # the stage takes it, and does the same with it
    record = json.loads((models / "models/speech/english/model_cpc_nce.it_0/run.json").read_text())
    assert record["inputs"] == inputs_of(folder, int(best["number"]))
    assert record["outcome"]["best_loss"] == pytest.approx(best["val_loss"], rel=1e-4)

    before = (folder / "log.txt").read_text()
    other = tmp_path / "other"
    assert generate_dataset.main(["-d", "s", "-l", "e", "--seed", "1", "-ps", str(other)]) == 0
    for flags, message in [
        (["--search", f"{RATE}=1e-5:1e-3"], f"search.{RATE}.high: 0.01 there, 0.001 asked"),
        (["--set", "pretrain.batch_windows=24"], "pretrain.batch_windows: 48 there, 24 asked"),
        (["--seed", 1], "seed: 0 there, 1 asked"),
        (["-pl", other], "dataset.train: "),
    ]:
        status, _, err = call(capsys, *CPC, "--trials", 4, *flags)
        assert status == 2 and message in err and "move that folder away" in err
    assert (folder / "log.txt").read_text() == before
    with artefacts.locked(folder):
        status, _, err = call(capsys, *CPC, "--trials", 4)
    assert status == 2 and "another process is working on" in err


def test_a_trial_that_diverges_is_not_the_end(models, capsys):
    line = [*CPC, "--search", f"{RATE}=1e30,0.001"]
    folder = models / "models/tuning/pretrain_cpc.e.model_cpc_nce"
    call(capsys, *line, "--trials", 1)
    study = open_study(folder)
    drawn = study.trials[0].params[RATE]
    study.enqueue_trial({RATE: 1e30 if drawn == 0.001 else 0.001})  # the other one
    status, out, _ = call(capsys, *line, "--trials", 2)
    assert status == 0 and out.splitlines()[-1].endswith(f"--set {RATE}=0.001")
    table = pd.read_csv(folder / "trials.csv").set_index(RATE)
    assert table["state"].to_dict() == {1e30: "PRUNED", 0.001: "COMPLETE"}
    assert [path.name for path in folder.glob("trial_*")] == [f"trial_{table['number'][0.001]}"]


def test_a_search_without_any_finite_loss_says_so(models, capsys):
    status, out, err = call(capsys, *CPC, "--trials", 1, "--search", f"{RATE}=1e30:1e36")
    assert status == 2 and "not finite" in out and "search lower learning rates" in err
    folder = models / "models/tuning/pretrain_cpc.e.model_cpc_nce"
    assert not (folder / "work").exists()
    (folder / "study.db").write_text("no database")
    status, _, err = call(capsys, *CPC, "--trials", 1)
    assert status == 2 and "study.db cannot be read" in err and "Traceback" not in err


def test_a_transfer_starts_from_the_finished_runs_and_leaves_them_alone(pipeline, capsys):
    def state():
        runs = [*pipeline.models.glob("models/speech/*/*"), *pipeline.models.glob("models_*/*/*")]
        return {run: (run / "run.json").read_text() for run in runs}

    before, tuning = state(), pipeline.models / "models/tuning"
    line = [*TRANSFER, "-rel", "n", "--trials", 1, "--search", "transfer.batch_windows=20:28"]
    at = line.index("transfer.batch_windows=24")
    status, out, err = call(capsys, *line[: at - 1], *line[at + 1 :])
    assert status == 0, err
    assert "-s e -m e -mod model_cpc -rel n --epochs 1" in out.splitlines()[-1]
    inputs = inputs_of(tuning / "trans_train_cpc_multi.e_2_e.model_cpc.feat_ext", 0)
    assert inputs["heads"] == defaults.heads | {"units": 32}
    assert 20 <= inputs["transfer"]["batch_windows"] <= 28
    encoder = pipeline.models / "models/speech/english/model_cpc.it_0/encoder.keras"
    assert inputs["encoder"] == artefacts.file_hash(encoder)

    status, out, err = call(capsys, *TRANSFER, "-rel", "y", "--trials", 1)
    assert status == 0, err
    inputs = inputs_of(tuning / "trans_train_cpc_multi.e_2_e.model_cpc.full", 0)
    frozen = pipeline.models / "models_trans/speech_eng_2_music_eng/model_cpc.feat_ext.it_0"
    assert inputs["feat_ext"] == artefacts.file_hash(frozen / "model.keras")
    assert f"release.learning_rate={inputs['release']['learning_rate']!r}" in out
    assert state() == before
    status, _, err = call(capsys, *TRANSFER, "-rel", "y", "--trials", 1, "--set", "heads.units=8")
    assert status == 2 and "heads.units: 32 there, 8 asked" in err
    assert trans_train_cpc_multi.main(shlex.split(out.splitlines()[-1])[2:]) == 2  # with epochs 1:
    assert "release.epochs: 2 there, 1 asked" in capsys.readouterr().err  # the flags are taken


def test_what_a_transfer_starts_from_must_be_there(models, capsys):
    status, _, err = call(capsys, *TRANSFER, "-rel", "n", "--trials", 1)
    assert status == 2 and "run first\n  python3 pretrain_cpc.py -s e -mod model_cpc" in err
    assert not (models / "models/tuning").exists()


BAD = [
    ("-stage pretrain_cpc -s e", "required: --trials"),
    ("-stage pretrain_cpc -s e --trials 0", "whole number of at least 1"),
    ("-stage results_table -s e --trials 1", "invalid choice: 'results_table'"),
    ("-stage pretrain_cpc -s e -m e --trials 1", "pretrain_cpc has no -m: leave it out"),
    ("-stage pretrain_cpc -s e -rel n --trials 1", "pretrain_cpc has no -rel: leave it out"),
    ("-stage trans_train_cpc_multi -s e -rel n --trials 1", "trans_train_cpc_multi needs -m"),
    ("-stage trans_train_cpc_multi -s e -m e --trials 1", "trans_train_cpc_multi needs -rel"),
    ("-stage pretrain_cpc -s e -mod model_over --trials 1", "pretrain_cpc has model_cpc"),
    ("-stage pretrain_cpc -s e --trials 1 --overwrite", "unrecognized arguments: --overwrite"),
    ("-stage pretrain_cpc -s e --trials 1 --iterations 2", "unrecognized arguments: --iter"),
    ("-stage pretrain_cpc -s m --trials 1", "python3 generate_dataset.py -d s -l m"),
]


@pytest.mark.parametrize("line, message", BAD)
def test_bad_flags_exit_with_2_and_a_message(models, capsys, line, message):
    status, _, err = call(capsys, *line.split())
    assert status == 2 and message in err
    assert not (models / "models").exists()


@pytest.mark.parametrize(
    "item, message",
    [
        (f"{RATE}=-1:0.1", "learning_rate is -1.0; it must be a number above 0"),
        (f"{RATE}=0.1:inf", "learning_rate is inf; it must be a number above 0"),
        (f"{RATE}=0.1:0.01", "LOW below HIGH"),
        (f"{RATE}=0.1", "LOW:HIGH"),
        (f"{RATE}=1e-5:1e-4:1e-3", "LOW:HIGH"),
        (f"{RATE}", "must be a number above 0"),
        ("pretrain.decay=0:0.1", "the scale is logarithmic, so LOW must be above 0"),
        ("pretrain.batch_windows=1.5:8", "is '1.5'; it must be a whole number"),
        ("cpc.code=64,64", "all different"),
        ("training.amsgrad=true:false", "expected training.amsgrad=true,false"),
        ("pretrain.rate=1:2", r"expected SECTION.KEY=LOW:HIGH(.|\n)*pretrain.learning_rate"),
        ("cpc.future=2:4", "cpc.future changes what the loss measures"),
        ("features.n_mels=64,128", "features.n_mels changes what the loss measures"),
        ("scae.noise=0.1:0.5", "scae.noise changes what the loss measures"),
        ("pretrain.epochs=1:9", "more epochs are never worse"),
        ("release.decay=1e-6:1e-4", "not a setting by which this step is trained"),
        ("framewise.latent=64:256", "not a setting by which this step is trained"),
        ("training.memory_gb=1:2", "not a setting by which this step is trained"),
        ("run.seed=1:9", "not a setting by which this step is trained"),
        ("network.momentum=0.5:0.9", "given twice"),
    ],
)
def test_what_cannot_be_searched_is_refused(item, message):
    sections = spaces.STAGES["pretrain_cpc"].searched("model_cpc", release=False)
    with pytest.raises(UserError, match=message):
        spaces.read([item], config.load(), sections, fixed=["network.momentum = 0.8"])


def test_scales_and_defaults():
    def read(*items, stage="pretrain_cpc", release=False):
        sections = spaces.STAGES[stage].searched("model_cpc", release)
        return spaces.read(items, config.load(), sections)

    found = read("cpc.code=64:512", "cpc.context=8:800", "network.dropout=0:0.5", f"{RATE}=1:2")
    assert found == {
        "cpc.code": {"low": 64, "high": 512, "log": False},
        "cpc.context": {"low": 8, "high": 800, "log": True},
        "network.dropout": {"low": 0.0, "high": 0.5, "log": False},
        RATE: {"low": 1.0, "high": 2.0, "log": True},
    }
    found = read("training.amsgrad=true,False", "cpc.code=64, 128")
    assert [kind["choices"] for kind in found.values()] == [[True, False], [64, 128]]
    assert read() == {
        RATE: {"low": 1e-5, "high": 1e-2, "log": True},
        "pretrain.decay": {"low": 1e-7, "high": 1e-3, "log": True},
    }
    for release, section in ((False, "transfer"), (True, "release")):
        found = read(stage="trans_train_cpc_multi", release=release)
        assert list(found) == [f"{section}.learning_rate", f"{section}.decay"]


def test_without_optuna_the_message_says_what_to_install(models, capsys, monkeypatch):
    monkeypatch.delitem(sys.modules, "lib.tuning", raising=False)
    monkeypatch.setitem(sys.modules, "optuna", None)
    status, _, err = call(capsys, *CPC, "--trials", 1)
    assert status == 2 and "pip install -r requirements-tune.txt" in err
