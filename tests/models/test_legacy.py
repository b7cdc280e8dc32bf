"""The authors' model files: what Keras 2 computes is what the networks here compute.

The files are written by tf_keras, which is Keras 2. It computes channels first on GPUs alone, so
convolution and pooling compute here channels last, between two transpositions; in the files they
are what the original has.
"""

import json
import shutil

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import predict
import settings as defaults
import trans_train_cpc_multi
from lib import legacy
from lib.artefacts.run_name import RunName
from lib.errors import UserError
from lib.labels import TASKS
from lib.models import keras2_files, released_models, saved_models

L = tf_keras.layers
UNITS = 24


def channels_last(x, compute):
    return tf.transpose(compute(tf.transpose(x, (0, 2, 3, 1))), (0, 3, 1, 2))


class Conv2D(L.Conv2D):
    def call(self, x):
        y = channels_last(x, lambda x: tf.nn.conv2d(x, self.kernel, 1, "SAME") + self.bias)
        return self.activation(y)


class MaxPooling2D(L.MaxPooling2D):
    def call(self, x):
        pool = self.pool_size
        return channels_last(x, lambda x: tf.nn.max_pool2d(x, pool, pool, "VALID"))


FIRST = {"data_format": "channels_first"}


def blocks(x, axis):
    x = L.BatchNormalization(axis, name="b1_b1")(x)
    for i, (width, pool) in enumerate(((32, 4), (64, 4), (128, 2)), 1):
        for j in (1, 2):
            x = Conv2D(width, 3, padding="same", activation="relu", name=f"b{i}_c{j}", **FIRST)(x)
            x = L.BatchNormalization(axis, name=f"b{i}_b{j + (i == 1)}")(x)
        x = L.Dropout(0.25, name=f"b{i}_d1")(MaxPooling2D((pool, 1), name=f"b{i}_mp1", **FIRST)(x))
    return x


def heads(x):
    for i in (1, 2, 3):
        x = L.Dense(UNITS, activation="relu", name=f"b9_fc{i}")(x)
    outputs = []
    for number, (task, classes) in enumerate(TASKS.items(), 10):
        y = L.Dense(UNITS, activation="relu", name=f"b{number}_fc1")(x)
        y = L.Dense(UNITS, activation="relu", name=f"b{number}_fc2")(y)
        outputs.append(L.Dense(len(classes), activation="softmax", name=task)(y))
    return outputs


def encoder_layers(x, kind, axis, flatten):
    x = blocks(x, axis)
    if kind == "scae":
        return L.Flatten(data_format=flatten)(MaxPooling2D((2, 1), name="encod", **FIRST)(x))
    x = L.Dense(16, activation="relu", name="b3_fc1")(L.Flatten(data_format=flatten)(x))
    return L.Dense(16, name="encod")(L.BatchNormalization(name="b3_b3")(x))


def random_weights(model, seed=0):
    rng = np.random.default_rng(seed)
    values = []
    for weight in model.weights:
        scale = 1 / np.sqrt(np.prod(weight.shape[:-1])) if len(weight.shape) > 1 else 0.2
        value = rng.normal(0, scale, weight.shape)
        if "variance" in weight.name or "gamma" in weight.name:
            value = 1 + np.abs(value)
        values.append(value.astype(np.float32))
    model.set_weights(values)


def write(
    path, kind, *, transferred, nested=False, axis=-1, flatten="channels_first", weights=False
):
    """A file of Keras 2; returns what computes its outputs from (n, 1, 128, 31)."""
    inputs = tf_keras.Input((1, 128, 31))
    code = encoder_layers(inputs, kind, axis, flatten)
    encoder = tf_keras.Model(inputs, code)
    if transferred:
        model = reference = tf_keras.Model(inputs, heads(code))
    elif kind == "cpc":  # past windows and future ones, each through the encoder
        past, future = tf_keras.Input((4, 1, 128, 31)), tf_keras.Input((2, 1, 128, 31))
        context = L.GRU(8, name="ar_context")(L.TimeDistributed(encoder)(past))
        z = [L.Dense(16, name=f"z_t_{k}")(context) for k in range(2)]
        z = L.Lambda(lambda x: tf_keras.backend.stack(x, axis=1))(z)
        agreement = L.Dot(axes=2)([z, L.TimeDistributed(encoder)(future)])
        model, reference = tf_keras.Model([past, future], agreement), encoder
    else:  # the encoder and a decoder, of which only a layer matters here
        model, reference = tf_keras.Model(inputs, L.Dense(4, name="b6_c2")(code)), encoder
    random_weights(model)
    if nested:  # one step in time around the whole network
        series = tf_keras.Input((1, 1, 128, 31))
        single = tf_keras.Model(inputs, L.Concatenate()(model.outputs))
        model = tf_keras.Model(series, L.TimeDistributed(single, name="time_distributed_1")(series))
    (model.save_weights if weights else model.save)(path, save_format="h5")
    return lambda x: reference(x, training=False)


@pytest.fixture(scope="module")
def x():
    return np.random.default_rng(1).normal(-4, 2, (3, 1, 128, 31)).astype(np.float32)


def close(path, reference, x):
    model = keras2_files.load(path)
    outputs = model.predict(x.transpose(0, 2, 3, 1), verbose=0)
    expected = reference(x)
    if isinstance(outputs, dict):
        assert list(outputs) == list(TASKS)
        for task, values in zip(TASKS, expected, strict=True):
            np.testing.assert_allclose(outputs[task], values, atol=1e-4)
        # and they tell windows apart by more than they may be off
        assert np.ptp(outputs["quadrants"], axis=0).max() > 1e-3
    else:
        np.testing.assert_allclose(outputs, np.asarray(expected), atol=1e-4, rtol=1e-4)
    return model


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("kind", ["scae", "cpc"])
def test_transferred_models_agree_with_keras_2(tmp_path, x, kind, nested):
    path = tmp_path / "model.hdf5"
    reference = write(path, kind, transferred=True, nested=nested)
    model = close(path, reference, x)
    assert model.get_layer("encoder") and model.get_layer("heads")


@pytest.mark.parametrize("kind", ["scae", "cpc"])
def test_pretrained_encoders_agree_with_keras_2(tmp_path, x, kind):
    """CPC's file has its encoder inside time_distributed_1, twice, and a pickled lambda."""
    path = tmp_path / "model.hdf5"
    reference = write(path, kind, transferred=False)
    if kind == "cpc":
        assert "Lambda" in h5py.File(path).attrs["model_config"]
    close(path, reference, x)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["scae", "cpc"])
def test_maps_flattened_one_after_the_other_are_put_in_order(tmp_path, x, kind):
    path = tmp_path / "model.hdf5"
    close(path, write(path, kind, transferred=True, flatten="channels_last"), x)


def test_batch_norm_over_channels_is_known_by_its_size(tmp_path, x):
    path = tmp_path / "model.hdf5"
    close(path, write(path, "scae", transferred=True, axis=1), x)


@pytest.mark.slow
def test_weights_alone_are_read_as_released_or_as_the_json_beside_says(tmp_path, x):
    path = tmp_path / "model.hdf5"
    close(path, write(path, "scae", transferred=True, weights=True), x)
    reference = write(path, "scae", transferred=True, weights=True, flatten="channels_last")
    layer = {"class_name": "Flatten", "config": {"data_format": "channels_last"}}
    path.with_suffix(".json").write_text(json.dumps({"config": {"layers": [layer]}}))
    close(path, reference, x)


def change(path, layer, variable, value):
    with h5py.File(path, "r+") as file:
        group = file[f"model_weights/{layer}/{layer}"]
        del group[f"{variable}:0"]
        if value is not None:
            group[f"{variable}:0"] = value


def test_files_of_other_networks_name_the_layer(tmp_path):
    whole = tmp_path / "whole.hdf5"
    write(whole, "scae", transferred=True)
    cases = [
        (
            "b2_c1",
            "kernel",
            np.zeros((3, 3, 32, 48), "f"),
            r"kernel of its layer b2_c1 .*\(3, 3, 32",
        ),
        ("b11_fc2", "bias", None, "it has no bias of a layer b11_fc2"),
        ("arousal", "kernel", np.zeros((UNITS, 3), "f"), "kernel of its layer arousal"),
        ("b3_b2", "gamma", np.zeros(31, int), "gamma of its layer b3_b2 is int64"),
        ("b3_b2", "gamma", np.full(31, np.nan, "f"), "layer b3_b2 holds numbers that are not"),
        ("b9_fc1", "bias", None, "no dense layer b9_fc1"),
    ]
    for layer, variable, value, message in cases:
        path = tmp_path / "changed.hdf5"
        shutil.copy(whole, path)
        change(path, layer, variable, value)
        with pytest.raises(UserError, match=message):
            keras2_files.load(path)
    with h5py.File(whole, "r+") as file:
        file["model_weights/b13_fc1/b13_fc1/kernel:0"] = np.zeros((4, 4), "f")
    with pytest.raises(UserError, match="its layer b13_fc1 is not one of the released"):
        keras2_files.load(whole)


def test_what_is_no_model_file_is_told(tmp_path):
    path = tmp_path / "model.hdf5"
    with pytest.raises(UserError, match="no file"):
        keras2_files.load(path)
    path.write_bytes(b"not HDF5")
    with pytest.raises(UserError, match="is not a model file of Keras 2"):
        keras2_files.load(path)
    with h5py.File(path, "w") as file:
        file["1"] = np.zeros((2, 1, 128, 31))
    with pytest.raises(UserError, match="it has no layer b1_b1"):
        keras2_files.load(path)
    write(path, "scae", transferred=False)
    with pytest.raises(UserError, match="is a pretrained model: expected a transferred one"):
        keras2_files.load(path, classifier=True)


def test_nothing_in_a_file_is_executed(tmp_path, x, monkeypatch):
    """A pickled lambda, and a name that would be imported, are text and nothing else."""
    path = tmp_path / "model.hdf5"
    reference = write(path, "cpc", transferred=False)
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        for layer in config["config"]["layers"]:
            if layer["class_name"] == "Lambda":
                layer["config"]["function"] = ["never decoded", None, None]
        file.attrs["model_config"] = json.dumps(config)
    import marshal
    import pickle

    for module in (marshal, pickle):
        monkeypatch.setattr(module, "loads", lambda *_: pytest.fail("code was read"))
    close(path, reference, x)


def test_two_layers_of_one_name_must_be_the_same(tmp_path):
    path = tmp_path / "model.hdf5"
    write(path, "scae", transferred=True)
    with h5py.File(path, "r+") as file:
        group = file["model_weights"].create_group("time_distributed_2/b1_c1")
        group["bias:0"] = np.ones(32, "f")
    with pytest.raises(UserError, match="two layers b1_c1 that differ"):
        keras2_files.load(path)


@pytest.fixture(scope="module")
def transferred(tmp_path_factory):
    path = tmp_path_factory.mktemp("legacy") / "model.hdf5"
    write(path, "scae", transferred=True)
    return path


def wide(file, units):
    """Dense layers whose biases promise so many units."""
    group = file["model_weights/b9_fc1/b9_fc1"]
    del group["bias:0"]
    group["bias:0"] = np.zeros(units, "f")


def with_config(text):
    def change(file):
        del file.attrs["model_config"]
        file.attrs["model_config"] = text

    return change


FLATTEN = {"class_name": "Flatten"}


@pytest.mark.parametrize(("change", "message"), [
    (lambda file: wide(file, 16_384), "no dense layer b9_fc1 of at most 4096 units"),
    (lambda file: wide(file, 4096), r"is float32 \(24, .\), expected float32 \(4096, ."),
    (with_config("[]"), "as a list: expected a JSON object"),
    (with_config("[" * 60_000), "in more than 64 levels"),
    (with_config('{"a":' * 900 + "1" + "}" * 900), "in more than 64 levels"),
    (with_config(["{}"] * 9), "a model_config that is not text"),
    (with_config(1.5), "is not a model file of Keras 2"),
    (with_config("{"), "is not a model file of Keras 2"),
    (with_config(json.dumps([FLATTEN | {"config": "x"}])), "as a list"),
    (
        with_config(json.dumps({"layers": [FLATTEN | {"config": {"data_format": []}}, FLATTEN]})),
        "flattens in two orders",
    ),
])  # fmt: skip
def test_what_a_file_claims_is_checked_before_a_network_is_built(
    tmp_path, transferred, change, message, monkeypatch
):
    path = tmp_path / "model.hdf5"
    shutil.copy(transferred, path)
    with h5py.File(path, "r+") as file:
        change(file)
    monkeypatch.setattr(keras2_files._Released, "values", lambda *_: pytest.fail("was read"))
    with pytest.raises(UserError, match=message):
        keras2_files.load(path)


def test_an_architecture_beside_a_file_is_bounded_too(tmp_path):
    path = tmp_path / "model.hdf5"
    write(path, "scae", transferred=True, weights=True)
    path.with_suffix(".json").write_text(" " * (3 << 20))
    with pytest.raises(UserError, match="model.json describes its network in 3145728 bytes"):
        keras2_files.load(path)


@pytest.mark.slow
@pytest.mark.parametrize("has_heads", [True, False])
def test_conversion_makes_a_run_directory(tmp_path, x, capsys, has_heads):
    path, out = tmp_path / "model.hdf5", tmp_path / "run"
    reference = write(path, "cpc", transferred=has_heads)
    assert legacy.main([str(path), str(out)]) == 0
    name = "model.keras" if has_heads else "encoder.keras"
    assert {p.name for p in out.iterdir()} == {name, "run.json"}
    assert name in capsys.readouterr().out
    outputs = keras.models.load_model(out / name).predict(x.transpose(0, 2, 3, 1), verbose=0)
    expected = reference(x)
    pairs = [(outputs, expected)] if not has_heads else zip(outputs.values(), expected, strict=True)
    for a, b in pairs:
        np.testing.assert_allclose(a, b, atol=1e-4, rtol=1e-4)
    assert legacy.main([str(path), str(out)]) == 2
    assert "is there already" in capsys.readouterr().err


@pytest.mark.slow
def test_authors_files_are_used_where_their_archives_put_them(
    pipeline, tmp_path, monkeypatch, capsys
):
    """A pretrained encoder by a transfer script, a transferred model by predict.py."""
    monkeypatch.setattr(defaults, "path_to_models", str(tmp_path))
    speech = tmp_path / "models" / "speech" / "mandarin"
    pair = tmp_path / "models_trans" / "speech_man_2_music_man"
    for folder in (speech, pair):
        folder.mkdir(parents=True)
    write(speech / "model_cpc.it_0.subset_0.075.spec.best.hdf5", "cpc", transferred=False)
    (speech / "model_cpc.it_0.subset_0.075.spec.hdf5").write_bytes(b"last epoch, not the best")
    line = "-s m -m e -mod model_cpc -rel n --epochs 1 --set heads.units=8".split()
    assert trans_train_cpc_multi.main(line) == 0
    run = tmp_path / "models_trans/speech_man_2_music_eng/model_cpc.feat_ext.it_0"
    encoder = keras.models.load_model(run / "model.keras").get_layer("encoder")
    released = keras2_files.load(speech / "model_cpc.it_0.subset_0.075.spec.best.hdf5")
    for a, b in zip(encoder.get_weights(), released.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    write(pair / "model_over.multitask.spec.it_0.lr_0.001.hdf5", "scae", transferred=True)
    clip = next((pipeline.data / "MER_audio_taffc_dataset/Q1").glob("*.mp3"))
    line = ["-s", "m", "-m", "m", "-rel", "n", "-i", str(clip), "-o", str(tmp_path / "out")]
    assert predict.main(line) == 0
    about = json.loads((tmp_path / "out" / f"{clip.stem}.json").read_text())
    assert about["model"]["models"][0].endswith("it_0.lr_0.001.hdf5")
    line[line.index("n")] = "y"
    assert predict.main(line) == 2
    assert "model_over.multitask.spec.it_0.lr_0.001.hdf5" in capsys.readouterr().err
    with pytest.raises(UserError, match="on other features .*window_hop: 15 instead of 10"):
        features = dict(defaults.features) | {"window_hop": 10}
        run = RunName("model_cpc", "pretrain", "m").path(tmp_path)
        saved_models.load_encoder(run, "model_cpc", 0, features, "")
    (speech / "model_cpc.it_0.other.best.hdf5").write_bytes(b"")
    with pytest.raises(UserError, match="several released models"):
        released_models.pretrained(speech, "model_cpc", 0)
