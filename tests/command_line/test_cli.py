"""Flags and settings: what is legal, what is refused, and how quickly help answers."""

import argparse
import importlib
import subprocess
import sys
import time

import pytest
from conftest import ROOT

import settings as defaults
from lib.command_line import flags
from lib.errors import UserError

SCRIPTS = {
    "generate_dataset.py": ("-d {m,s}", "-l {e,m,x}"),
    "pretrain_denoise.py": ("-s {e,m,x}", "{model_over,model_over_mask}"),
    "pretrain_cpc.py": ("-s {e,m,x}", "{model_cpc,model_cpc_nce}"),
    "trans_train_denoise_multi.py": (
        "-m {e,m}",
        "{model_over,model_over_mask,model_cnn,model_svm}",
        "-rel {y,n}",
    ),
    "trans_train_cpc_multi.py": ("-m {e,m}", "{model_cpc,model_cpc_nce}", "-rel {y,n}"),
    "results_table.py": ("--out",),
    "study.py": ("--seeds N", "--table"),
    "make_demo_data.py": ("--out",),
}


def run(*line):
    return subprocess.run(
        [sys.executable, *line], cwd=ROOT, capture_output=True, text=True, timeout=60
    )


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_is_quick_and_shows_the_legal_values(script):
    began = time.perf_counter()
    result = run(script, "--help")
    seconds = time.perf_counter() - began
    assert result.returncode == 0 and result.stderr == ""
    for text in SCRIPTS[script]:
        assert text in result.stdout
    assert seconds < 1


BAD = [
    ("generate_dataset.py -d m -l x", "no mixture of music"),
    ("generate_dataset.py -d q -l e", "invalid choice: 'q'"),
    ("generate_dataset.py -d s", "required: -l"),
    ("generate_dataset.py -d s -l e --hours -1", "'-1' is not a number from 0"),
    ("generate_dataset.py -d s -l e --groups artist", "--groups speaker with speech"),
    ("generate_dataset.py -d m -l e --groups speaker", "--groups artist goes with music"),
    ("generate_dataset.py -d s -l e --agreement", "speech has no annotators"),
    (
        "generate_dataset.py -d m -l e --split x.csv --hours 1",
        "leave out --hours and",
    ),
    ("generate_dataset.py -d m -l e -pl . --split nowhere.csv", "table not found: nowhere.csv"),
    ("generate_dataset.py -d m -l e --folds 1", "whole number of at least 2"),
    ("generate_dataset.py -d m -l m --min-agreement 2", "not a number from 0 to 1"),
    ("pretrain_denoise.py -s q -mod model_over", "invalid choice: 'q'"),
    ("pretrain_denoise.py -s e -mod model_cpc", "choose from"),
    ("pretrain_cpc.py -s e -mod model_cpc --iterations 0", "whole number of at least 1"),
    (
        "pretrain_cpc.py -s e -mod model_cpc --set run.first=1",
        "the last iteration is 0: use --iterations 2 or more",
    ),
    ("generate_dataset.py -d s -l e --epochs 2", "unrecognized arguments: --epochs 2"),
    ("pretrain_cpc.py -s e -mod model_cpc --epochs two", "whole number of at least 1"),
    ("pretrain_cpc.py -s e -mod model_cpc --set cpc.pasta=4", "cpc.past=4"),
    ("pretrain_cpc.py -s e -mod model_cpc --set cpc.past=four", "it must be a whole number"),
    ("pretrain_cpc.py -s e -mod model_cpc --set cpc.negatives=none", "must be order or elsewhere"),
    ("trans_train_cpc_multi.py -s e -m x -mod model_cpc -rel y", "invalid choice: 'x'"),
    ("trans_train_denoise_multi.py -s e -m e -mod model_over -rel maybe", "invalid choice"),
    ("trans_train_denoise_multi.py -s e -m e -mod model_over", "required: -rel"),
]


@pytest.mark.parametrize("line, message", BAD)
def test_bad_flags_exit_with_2_and_a_message(line, message):
    result = run(*line.split())
    assert result.returncode == 2
    assert message in result.stderr and "Traceback" not in result.stderr


def settings_of(*line, epochs=()):
    p = flags.parser(None)
    p.add_argument("--epochs", type=int)
    return flags.settings_from(p.parse_args(list(line)), epochs)


def test_flags_go_over_set_and_set_over_the_file():
    found = settings_of("--set", "run.seed=3", "--set", "heads.units=8", "--seed", "5")
    assert found["run"]["seed"] == 5 and found["heads"]["units"] == 8
    assert defaults.heads["units"] == 512
    found = settings_of("--epochs", "7", epochs=("release",))
    assert found["release"]["epochs"] == 7 and found["transfer"]["epochs"] == 100
    typed = settings_of("--set", "training.amsgrad=false", "--set", "scae.noise=0")
    assert typed["training"]["amsgrad"] is False and typed["scae"]["noise"] == 0.0


@pytest.mark.parametrize(
    "item, message",
    [
        ("heads.units", "expected section.key=value with one of\n  features.sample_rate=16000"),
        ("units=3", "expected section.key=value"),
        ("heads.units=2.5", "heads.units is '2.5'; it must be a whole number from 1 to 16384"),
        ("heads.units=0", "heads.units is 0; it must be a whole number from 1"),
        ("training.amsgrad=1", "is '1'; it must be True or False"),
        ("training.xla=true", "is 'true'; it must be auto or on or off"),
        ("network.dropout=1.5", "a number from 0 to below 1"),
        ("network.dropout=-0.1", "a number from 0 to below 1"),
        ("scae.noise=nan", "a number, 0 or above"),
        ("pretrain.learning_rate=inf", "a number above 0"),
        ("cpc.future=1", "a whole number from 2"),
        ("features.n_mels=100", "multiple of 64"),
        ("features.win_length=4096", "must fit inside"),
        ("run.seed=5000000000", "from 0 to 4294967295"),
    ],
)
def test_illegal_settings_are_refused(item, message):
    with pytest.raises(UserError, match=message):
        settings_of("--set", item)


@pytest.mark.parametrize(
    "section, key, value, message",
    [
        ("pretrain", "epochs", "ten", "pretrain.epochs is 'ten'; it must be a whole number"),
        ("pretrain", "batch_windows", 32.5, "is 32.5; it must be a whole number"),
        ("features", "n_mels", True, "is True; it must be a multiple of 64"),
        ("training", "amsgrad", 0, "is 0; it must be True or False"),
        ("heads", "unit", 3, "does not know heads.unit"),
    ],
)
def test_an_edited_file_is_checked_too(monkeypatch, section, key, value, message):
    monkeypatch.setitem(getattr(defaults, section), key, value)
    with pytest.raises(UserError, match=message):
        settings_of()


def test_a_setting_or_section_that_was_deleted_is_named(monkeypatch):
    monkeypatch.delitem(defaults.training, "stop_epochs")
    with pytest.raises(UserError, match=r"settings.py lacks training.stop_epochs: undo"):
        settings_of()
    monkeypatch.setattr(defaults, "heads", None)
    with pytest.raises(UserError, match=r"lacks heads.code_dropout, heads.own"):
        settings_of()
    monkeypatch.undo()
    monkeypatch.setattr(defaults, "path_to_models", 5)
    with pytest.raises(UserError, match="path_to_models must be a folder"):
        settings_of()


def test_a_setting_has_its_legal_values_once():
    from lib import configuration

    names = " ".join(configuration.LEGAL_VALUES.values()).split()
    assert sorted(names) == sorted(configuration.LEGAL)


def test_missing_path_to_data_says_where_to_set_it(monkeypatch, tmp_path):
    monkeypatch.setattr(defaults, "path_to_data", "")
    with pytest.raises(UserError, match=r"not set: set path_to_data at the top of settings.py"):
        flags.data_folder(settings_of())
    monkeypatch.setattr(defaults, "path_to_data", str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match="nowhere, which is not a folder"):
        flags.data_folder(settings_of())


def test_parser_refuses_abbreviations():
    with pytest.raises((SystemExit, argparse.ArgumentError)):
        flags.parser(None).parse_args(["--iter", "3"])


def test_runs_begin_with_the_first_that_is_asked_for():
    from lib import configuration

    settings = configuration.load()
    assert list(configuration.iterations(settings)) == [0]
    configuration.override(settings, "run.first=2")
    configuration.override(settings, "run.iterations=4")
    assert list(configuration.iterations(settings)) == [2, 3]


def staged(monkeypatch, capsys, script, line):
    """The settings that a script hands to its stage, and what it prints before."""
    from lib.pretraining import pretraining_stage
    from lib.transfer import transfer_stage

    taken = []
    monkeypatch.setattr(pretraining_stage, "pretrain", lambda *a, **k: taken.append(a[2]))
    monkeypatch.setattr(transfer_stage, "transfer", lambda *a, **k: taken.append(a[1]))
    assert importlib.import_module(script).main([*line.split(), "-pl", "."]) == 0
    return taken[0], capsys.readouterr().out


def test_a_recipe_that_counts_before_a_section_is_told_and_set_counts_before_it(
    monkeypatch, capsys
):
    line = "-s e -m e -mod model_cpc_nce -rel n --set heads.units=64 --set=transfer.keep=last"
    line += " --epochs 7"
    monkeypatch.setitem(defaults.heads, "shared", 7)  # an edit that does not count
    monkeypatch.setitem(defaults.heads, "own", 0)  # one that says the same
    settings, told = staged(monkeypatch, capsys, "trans_train_cpc_multi", line)
    assert settings["heads"]["units"] == 64 and settings["heads"]["shared"] == 1
    assert settings["transfer"]["epochs"] == 7
    assert told.count("\n") == 1 and "has its own settings" in told
    assert "heads.shared=1" in told and "transfer.schedule=cosine" in told
    for name in ("heads.units", "heads.own", "transfer.keep", "transfer.epochs", "release."):
        assert name not in told
    _, told = staged(monkeypatch, capsys, "trans_train_cpc_multi", line.replace("-rel n", "-rel y"))
    assert "release.learning_rate=0.001" in told


@pytest.mark.parametrize(
    "script, line, expected",
    [
        ("pretrain_cpc", "-s e -mod model_cpc_nce", ["pretrain.batch_windows=32", "dropout=0.1"]),
        ("pretrain_cpc", "-s e -mod model_cpc", []),
        ("trans_train_cpc_multi", "-s e -m e -mod model_cpc_nce -rel n --probe", []),
        ("trans_train_denoise_multi", "-s e -m e -mod model_cnn -rel n", []),
    ],
)
def test_only_what_the_stage_takes_is_told(monkeypatch, capsys, script, line, expected):
    _, told = staged(monkeypatch, capsys, script, line)
    assert told.count("=") == len(expected) and all(text in told for text in expected)


@pytest.mark.parametrize(("text", "parts"), [
    ("musicnn_msd", ["musicnn_msd"]),
    ("a.codes", ["a.codes"]),
    ("musicnn_msd+of_mine", ["musicnn_msd", "of_mine"]),
    ("a.codes+/x/b.codes", ["a.codes", "/x/b.codes"]),
    ("a.codes+musicnn_msd", ["a.codes", "musicnn_msd"]),
    ("musicnn_msd+a.codes", ["musicnn_msd", "a.codes"]),
    ("./c+d/a.codes+b.codes", ["./c+d/a.codes", "b.codes"]),
])  # fmt: skip
def test_codes_are_files_and_names_with_plus_between_them(text, parts):
    assert flags.codes(text) == parts
