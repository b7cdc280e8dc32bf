"""Models from disk: what is missing, unfinished, damaged, of another kind or holds code is told."""

import json
import zipfile

import keras
import numpy as np
import pytest
from conftest import small

from lib.artefacts.run_name import RunName
from lib.errors import UserError
from lib.labels import TASKS
from lib.models import classifiers, saved_models, scae

MAKE = "python3 pretrain_cpc.py -s e -mod model_cpc"


def encoder_of(models, features, make=MAKE):
    run = RunName("model_cpc", "pretrain", "e").path(models)
    return saved_models.load_encoder(run, "model_cpc", 0, features, make)


def test_a_missing_encoder_names_the_command(tmp_path, features):
    run = tmp_path / "models/speech/english/model_cpc.it_0"
    with pytest.raises(UserError, match="does not exist: run first\n  python3 pretrain"):
        encoder_of(tmp_path, features)
    (run / "checkpoint").mkdir(parents=True)
    with pytest.raises(UserError, match="is not finished"):
        encoder_of(tmp_path, features)
    (run / "encoder.keras").write_bytes(b"PK damaged")
    (run / "run.json").write_text(json.dumps({"inputs": {"features": features}}))
    with pytest.raises(UserError, match="is missing or damaged"):
        encoder_of(tmp_path, features)
    with pytest.raises(UserError, match="other features .hop_length: 512 instead of 256"):
        encoder_of(tmp_path, features | {"hop_length": 256})
    scae.build()[0].save(run / "encoder.keras")
    with pytest.raises(UserError, match="an encoder maps .* to .None, d"):
        encoder_of(tmp_path, features)


def test_a_classifier_is_read_with_its_features(tmp_path, features):
    run = tmp_path / "model_over.full.it_0"
    run.mkdir()
    small(features).save(run / "model.keras")
    with pytest.raises(UserError, match="is not a finished run"):
        classifiers.load(run, features)
    recorded = features | {"hop_length": 256}
    (run / "run.json").write_text(json.dumps({"inputs": {"features": recorded}}))
    for path in (run, run / "model.keras"):
        assert classifiers.load(path, features).features == recorded
    alone = tmp_path / "mine.keras"
    small(features).save(alone)
    assert classifiers.load(alone, features).features == features
    assert len(classifiers.load(alone, features).sha256) == 64


def test_the_weights_of_windows_of_an_earlier_classifier_are_left_out(tmp_path, features, capsys):
    small(features, {**TASKS, "attention": ("weight",)}).save(tmp_path / "earlier.keras")
    assert classifiers.load(tmp_path / "earlier.keras", features)
    assert "which is ignored: all windows count equally" in capsys.readouterr().out


def test_what_is_no_classifier_is_refused(tmp_path, features):
    cases = {
        "encoder": scae.build_encoder(),
        "other tasks": small(features, {"quadrants": ("Q1", "Q2")}),
        "other size": small(features | {"n_mels": 64}),
    }
    for name, model in cases.items():
        path = tmp_path / f"{name}.keras"
        model.save(path)
        with pytest.raises(UserError, match="a classifier of this suite maps"):
            classifiers.load(path, features)
    for path in (tmp_path / "none.keras", tmp_path / "none", tmp_path):
        with pytest.raises(UserError, match="no model|is not a finished run"):
            classifiers.load(path, features)
    (tmp_path / "song.mp3").write_bytes(b"ID3")
    with pytest.raises(UserError, match=r"no model .*song.mp3: expected a run directory, a .keras"):
        classifiers.load(tmp_path / "song.mp3", features)


@pytest.mark.parametrize("record", [
    [], "x", {"inputs": None}, {"inputs": {}}, {"inputs": {"features": []}},
    {"inputs": {"features": {"n_mels": 128}}},
])  # fmt: skip
def test_a_damaged_run_json_is_told(tmp_path, features, record):
    small(features).save(tmp_path / "model.keras")
    (tmp_path / "run.json").write_text(json.dumps(record))
    with pytest.raises(UserError, match="is damaged|it is damaged"):
        classifiers.load(tmp_path, features)


@pytest.mark.parametrize("change", [
    {"hop_length": 0}, {"hop_length": "x"}, {"sample_rate": -1}, {"win_length": 5000},
])  # fmt: skip
def test_features_of_a_run_are_checked(tmp_path, features, change):
    small(features).save(tmp_path / "model.keras")
    (tmp_path / "run.json").write_text(json.dumps({"inputs": {"features": features | change}}))
    with pytest.raises(UserError, match=r"features\.(hop_length|sample_rate|win_length) is"):
        classifiers.load(tmp_path, features)


def test_damage_of_any_kind_is_one_message(tmp_path, features):
    good = tmp_path / "good.keras"
    small(features).save(good)
    content = good.read_bytes()
    keras.Sequential([keras.layers.Dense(2)]).save(tmp_path / "other.keras")
    (tmp_path / "cut.keras").write_bytes(content[: len(content) // 2])
    middle = len(content) // 2
    (tmp_path / "bytes.keras").write_bytes(content[:middle] + b"\0" * 999 + content[middle + 999 :])
    with zipfile.ZipFile(tmp_path / "deep.keras", "w") as archive:
        archive.writestr("config.json", "[" * 100_000)
        archive.writestr("model.weights.h5", "")
    with zipfile.ZipFile(tmp_path / "empty.keras", "w"):
        pass
    for name in ("cut", "bytes", "deep", "empty", "other"):
        with pytest.raises(
            UserError, match="missing or damaged|not a layer that|expected .*each once|levels"
        ):
            classifiers.load(tmp_path / f"{name}.keras", features)


def with_config(path, out, change):
    """A copy of a .keras file whose architecture was changed."""
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "config.json":
                config = json.loads(content)
                change(config)
                content = json.dumps(config).encode()
            new.writestr(name, content)


def test_models_that_want_to_execute_code_are_refused(tmp_path, features, monkeypatch):
    inputs = keras.Input((128, 31, 1))
    outputs = keras.layers.Lambda(lambda x: keras.ops.mean(x, axis=(1, 2)))(inputs)
    keras.Model(inputs, outputs).save(tmp_path / "lambda.keras")
    small(features).save(tmp_path / "good.keras")

    def foreign(config):
        config["config"]["layers"][0] |= {"module": "os", "class_name": "system"}

    def function(config):
        layer = config["config"]["layers"][1]["config"]
        layer["hook"] = {"class_name": "function", "module": "builtins", "config": "exec"}

    with_config(tmp_path / "good.keras", tmp_path / "module.keras", foreign)
    with_config(tmp_path / "good.keras", tmp_path / "function.keras", function)
    monkeypatch.setattr(keras.models, "load_model", lambda *_, **__: pytest.fail("was loaded"))
    for name in ("lambda", "module", "function"):
        with pytest.raises(UserError, match="is not a layer that this suite writes: refused"):
            classifiers.load(tmp_path / f"{name}.keras", features)


@pytest.mark.slow
def test_every_model_of_the_suite_passes_that_check(pipeline):
    paths = [*pipeline.models.rglob("*.keras")]
    assert len(paths) >= 8
    for path in paths:
        assert saved_models.load_model(path, "").count_params()


def test_what_exists_is_listed_when_a_model_does_not(pipeline):
    run = classifiers.find(pipeline.models, RunName("model_cpc", "full", "e", "e"))
    assert run.name == "model_cpc.full.it_0"
    run = classifiers.find(pipeline.models, RunName("model_cnn", "scratch", "n", "e"))
    assert run.parent.name == "speech_none_2_music_eng"
    with pytest.raises(UserError) as caught:
        classifiers.find(pipeline.models, RunName("model_cpc", "full", "x", "m", 3))
    message = str(caught.value)
    assert "speech_mix_2_music_man/model_cpc.full.it_3 does not exist" in message
    assert "models_trans/speech_none_2_music_eng/model_cnn.it_0" in message


def test_an_ensemble_is_all_iterations_or_all_folds(tmp_path):
    names = ("model_over.full.it_0", "model_over.full.it_10", "model_over.full.it_2")
    for name in (*names, "model_over.feat_ext.it_1", "model_over.full.folds_10.it_0/fold_1"):
        (tmp_path / name).mkdir(parents=True)
    for number in (10, 2):
        (tmp_path / f"model_over.full.folds_10.it_0/fold_{number}").mkdir()
    assert {p.name for p in classifiers.members(tmp_path / names[0])} == set(names)
    folds = classifiers.members(tmp_path / "model_over.full.folds_10.it_0")
    assert [p.name for p in folds] == ["fold_1", "fold_2", "fold_10"]
    for name in ("shipped", "model_cpc.full.it_0"):  # a mistyped path is no ensemble of none
        with pytest.raises(UserError, match="averages the iterations of a run"):
            classifiers.members(tmp_path / name)


def test_weights_survive_the_way_to_the_disk(tmp_path, features):
    model = small(features)
    model.save(tmp_path / "m.keras")
    x = np.random.default_rng(0).normal(size=(2, 128, 31, 1)).astype(np.float32)
    again = saved_models.load_model(tmp_path / "m.keras", "")
    for task in TASKS:
        np.testing.assert_array_equal(again(x)[task], model(x)[task])
