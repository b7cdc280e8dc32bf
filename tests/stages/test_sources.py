"""Encoders of other sources, probes, few labels: through the scripts, on small data."""

import json
import re

import keras
import numpy as np
import pytest
from conftest import FIGURES

import pretrain_cpc
import pretrain_denoise
import results_table
import settings as defaults
import trans_train_cpc_multi
import trans_train_denoise_multi
from lib import configuration
from lib.errors import UserError
from lib.evaluation import predictions_table
from lib.labels import TASKS
from lib.models import classifiers
from lib.training import optimizer

PAIR = "models_trans/speech_{}_2_music_eng"
TINY = ["--epochs", "1", "--set", "pretrain.batch_windows=16", "--set", "framewise.latent=16"]
TINY += ["--set", "nce.context=8", "--set", "heads.units=8", "--set", "network.maps=4"]
FOLDS = ["--folds", "2", "--groups", "artist"]


@pytest.fixture(scope="module")
def place(pipeline, tmp_path_factory):
    """The data sets of the shared pipeline, and models of this file."""
    models = tmp_path_factory.mktemp("sources")
    patch = pytest.MonkeyPatch()
    patch.setattr(defaults, "path_to_models", str(models))
    yield models
    patch.undo()


def cpc(line, *more):
    return trans_train_cpc_multi.main([*line.split(), "-mod", "model_cpc_nce", *TINY, *more])


def inputs(run):
    return json.loads((run / "run.json").read_text())["inputs"]


@pytest.mark.slow
def test_nothing_as_source_is_random_weights_frozen_or_from_scratch(place, capsys):
    assert cpc("-s n -m e -rel n") == 0
    assert cpc("-s n -m e -rel y") == 0
    frozen = place / PAIR.format("none") / "model_cpc_nce.feat_ext.it_0"
    scratch = place / PAIR.format("none") / "model_cpc_nce.it_0"
    assert {"nce", "framewise"}.isdisjoint(inputs(frozen)) and "framewise" in inputs(scratch)
    capsys.readouterr()
    assert cpc("-s n -m e -rel n") == 0  # the same weights again: finished
    assert "is finished already" in capsys.readouterr().out
    # the frozen encoder has the weights that it was built with, the other has learnt
    one, other = (keras.models.load_model(run / "model.keras") for run in (frozen, scratch))
    differ = [
        not np.array_equal(a, b)
        for a, b in zip(
            one.get_layer("encoder").get_weights(),
            other.get_layer("encoder").get_weights(),
            strict=True,
        )
    ]
    assert any(differ)
    assert scratch.joinpath("model.keras").stat().st_size < 3e6


@pytest.mark.slow
def test_music_without_labels_is_pretrained_on_per_fold_without_its_test(place, capsys):
    assert cpc("-s u -m e -rel n", *FOLDS) == 2
    told = capsys.readouterr().err
    line = "python3 pretrain_cpc.py -m e -mod model_cpc_nce --folds 2 --groups artist"
    assert line in told
    assert pretrain_cpc.main([*line.split()[2:], *TINY]) == 0
    runs = place / "models" / "music" / "english" / "model_cpc_nce.artist_folds_2.it_0"
    assert cpc("-s u -m e -rel n", *FOLDS, *FIGURES) == 0
    whole = place / PAIR.format("own") / "model_cpc_nce.feat_ext.artist_folds_2.it_0"
    for number in (1, 2):
        encoder = runs / f"fold_{number}"
        fold = inputs(whole / f"fold_{number}")
        # the same clips to pretrain and to train the heads on, and others to test
        assert inputs(encoder)["dataset"]["train"] == fold["dataset"]["train"]
        assert fold["dataset"]["test"] not in inputs(encoder)["dataset"].values()
        assert not (whole / f"fold_{number}" / "confusion.png").exists()
    assert (whole / "confusion.png").is_file()
    assert cpc("-s u -m e -rel n", *FOLDS, "--seed", "1", "--overwrite") == 2  # other folds
    assert "fold_1 was pretrained on other clips than those to train on" in capsys.readouterr().err
    assert pretrain_cpc.main(["-m", "e", "-mod", "model_cpc_nce", *TINY]) == 0
    record = place / "models" / "music" / "english" / "model_cpc_nce.it_0" / "run.json"
    text = record.read_text()
    clips = inputs(record.parent)["dataset"]["train"].split(",")[0]
    record.write_text(text.replace(clips, "0" * len(clips)))
    assert cpc("-s u -m e -rel n") == 2
    assert "it_0 was pretrained on other clips than those to train on" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        pretrain_cpc.main(["-s", "e", "-mod", "model_cpc_nce", *FOLDS])
    assert "--folds needs -m" in capsys.readouterr().err


@pytest.mark.slow
def test_masked_denoiser_transfers_with_few_labels_beside_the_whole(place, capsys):
    assert pretrain_denoise.main(["-s", "e", "-mod", "model_over_mask", *TINY, *FIGURES]) == 0
    run = place / "models" / "speech" / "english" / "model_over_mask.it_0"
    assert (run / "reconstructions.png").is_file()
    line = [*"-s e -m e -mod model_over_mask".split(), *TINY]
    assert trans_train_denoise_multi.main([*line, "-rel", "n"]) == 0
    line += ["-rel", "y"]
    few = ["--tag", "few", "--set", "transfer.labels=0.3"]
    more = ["augment.mel_masks=1", "augment.smoothing=0.1", "augment.windows_per_epoch=12"]
    more += ["release.schedule=plateau", "training.weight_decay=0.01", "release.encoder_rate=0.3"]
    assert trans_train_denoise_multi.main([*line, *few, *[f"--set={s}" for s in more]]) == 0
    assert re.search(r"labels used: of \d+ clips \(train\)", capsys.readouterr().out)
    whole = place / PAIR.format("eng") / "model_over_mask.feat_ext.it_0"
    tagged = place / PAIR.format("eng") / "model_over_mask.full.few.it_0"
    assert inputs(whole)["dataset"]["test"] == inputs(tagged)["dataset"]["test"]
    assert inputs(whole)["dataset"]["train"] != inputs(tagged)["dataset"]["train"]
    assert inputs(tagged)["augment"]["smoothing"] == 0.1
    for name in ("few.x", "full", "it_1", "Few"):
        assert trans_train_denoise_multi.main([*line, "--tag", name]) == 2


def test_light_encoders_have_a_recipe_of_their_own_for_transfer_alone():
    paper, light = configuration.load("model_cpc"), configuration.load("model_cpc_nce")
    assert (paper["augment"]["mel_shift"], light["augment"]["mel_shift"]) == (0, 4)
    for name in ("pretrain", "transfer", "release"):
        assert (paper[name]["schedule"], paper[name]["keep"]) == ("plateau", "best")
        own = ("plateau", "best") if name == "pretrain" else ("cosine", "last")
        assert (light[name]["schedule"], light[name]["keep"]) == own
        assert optimizer.optimizer(light[name], light["training"], 9).cosine_steps == (
            0 if name == "pretrain" else 9
        )


@pytest.mark.slow
def test_weights_of_the_last_epoch_are_kept_when_asked_for(place):
    line = [*"-s n -m e -mod model_cpc_nce -rel y".split(), *TINY, "--epochs", "3"]
    line += ["--set", "transfer.learning_rate=0.05"]  # which makes later epochs worse
    found = {}
    for keep in ("best", "last"):
        more = ["--tag", keep, "--set", f"transfer.keep={keep}", "--deterministic"]
        assert trans_train_cpc_multi.main([*line, *more]) == 0
        run = place / PAIR.format("none") / f"model_cpc_nce.{keep}.it_0"
        found[keep] = run, json.loads((run / "run.json").read_text())["outcome"]
    best = found["best"][1]["best_epoch"]
    same = (found["best"][0] / "predictions.csv").read_bytes() == (
        found["last"][0] / "predictions.csv"
    ).read_bytes()
    assert same == (best == 3)


@pytest.mark.slow
def test_probes_stand_in_the_tables(place, capsys):
    assert cpc("-s n -m e -rel n --probe") == 0
    line = "-s e -m e -mod model_svm -rel n".split()
    assert trans_train_denoise_multi.main(line) == 0
    assert trans_train_denoise_multi.main([*line, *FOLDS]) == 0
    run = place / PAIR.format("none") / "model_svm.probe.it_0"
    table = predictions_table.read(run / "predictions.csv")
    answers = table.groupby("recording")["p_quadrants_Q1"].nunique()
    assert (answers == 1).all() and set(table["p_quadrants_Q1"]) <= {0.0, 1.0}
    assert json.loads((run / "run.json").read_text())["outcome"]["C"].keys() == TASKS.keys()
    capsys.readouterr()
    assert trans_train_denoise_multi.main(line) == 0
    assert "is finished already" in capsys.readouterr().out
    with pytest.raises(UserError, match="is a probe, which keeps no model"):
        classifiers.load(run, defaults.features)
    assert trans_train_denoise_multi.main("-s e -m e -mod model_svm -rel y".split()) == 2
    assert cpc("-s n -m e -rel y --probe") == 2
    assert results_table.main([]) == 0
    text = (place / "results" / "table.md").read_text()
    for row in (
        r"\| log-mel statistics +\| SVM \(nested\) +\|",
        r"\| CPC-NCE +\| from scratch +\|",
    ):
        assert re.search(row, text)
