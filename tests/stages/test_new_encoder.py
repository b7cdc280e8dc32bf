"""A new encoder is one record: scripts, transfer, probe and tables know it from then on."""

import json
import re

import keras
import pytest

import pretrain_denoise
import results_table
import settings as defaults
import trans_train_denoise_multi
from lib.models import catalogue

SMALL = ["--epochs", "1", "--set", "pretrain.batch_windows=16", "--set", "heads.units=4"]


def build(settings):
    """Mel bands averaged by 16, then two numbers of them."""
    features = settings["features"]
    inputs = keras.Input((features["n_mels"], features["window_frames"], 1), name="log_mel")
    x = keras.layers.MaxPooling2D((16, features["window_frames"]), name="coarse")(inputs)
    code = keras.layers.Dense(2, name="code")(keras.layers.Flatten(name="flat")(x))
    return keras.Model(inputs, code, name="toy_encoder")


def pretraining(settings, statistics):
    encoder = build(settings)
    shape = encoder.input_shape[1:]
    inputs = keras.Input(shape, name="noisy_log_mel")
    x = keras.layers.Dense(shape[0], name="bands")(encoder(inputs))
    x = keras.layers.Reshape((shape[0], 1, 1), name="maps")(x)
    x = keras.layers.UpSampling2D((1, shape[1]), name="frames")(x)
    return keras.Model(inputs, x, name="toy"), encoder


@pytest.fixture
def toy(monkeypatch):
    monkeypatch.setattr(catalogue, "_MODELS", dict(catalogue._MODELS))
    catalogue.register(
        catalogue.ModelSpec(
            name="model_toy",
            title="Toy",
            script="denoise",
            build=build,
            objective="denoising",
            pretraining=pretraining,
            sections=("scae",),
        )
    )


@pytest.mark.slow
def test_a_new_encoder_is_one_record(pipeline, toy, tmp_path, monkeypatch):
    monkeypatch.setattr(defaults, "path_to_models", str(tmp_path))
    assert pretrain_denoise.main(["-s", "e", "-mod", "model_toy", *SMALL]) == 0
    line = "-s e -m e -mod model_toy".split()
    assert trans_train_denoise_multi.main([*line, "-rel", "n", *SMALL]) == 0
    assert trans_train_denoise_multi.main([*line, "-rel", "y", *SMALL]) == 0
    assert trans_train_denoise_multi.main([*line, "-rel", "n", "--probe"]) == 0
    scratch = "-s n -m e -mod model_toy -rel y".split()
    assert trans_train_denoise_multi.main([*scratch, *SMALL]) == 0
    assert results_table.main([]) == 0
    text = (tmp_path / "results/table.md").read_text()
    for mode in ("Feat. Ext.", "Full", "SVM (nested)", "from scratch"):
        assert re.search(rf"\| Toy +\| {re.escape(mode)} +\|", text)
    run = tmp_path / "models_trans/speech_eng_2_music_eng/model_toy.full.it_0/run.json"
    assert json.loads(run.read_text())["inputs"]["model"] == "model_toy"
