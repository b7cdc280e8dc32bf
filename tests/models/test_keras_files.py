"""Model files of Keras are data: they hold what this suite writes, and are no larger than they say.

Each hostile file is a good one of few weights with one thing changed.
"""

import io
import json
import random
import subprocess
import sys
import zipfile

import h5py
import keras
import numpy as np
import pytest
from conftest import ROOT

from lib.errors import UserError
from lib.labels import TASKS
from lib.models import (
    cnn,
    cpc,
    cpc_infonce,
    emotion_heads,
    framewise_encoder,
    keras_files,
    masked_denoiser,
    scae,
)
from lib.models.convolutional_blocks import TIME, Sizes
from lib.models.emotion_heads import HeadSizes


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """The members of a model file."""
    inputs = keras.Input((128, 31, 1), name="log_mel")
    x = keras.layers.Flatten(name="flat")(keras.layers.MaxPooling2D((32, 31), name="pool")(inputs))
    heads = emotion_heads.build(4, TASKS, HeadSizes(units=4))
    model = emotion_heads.classifier(keras.Model(inputs, x), heads)
    path = tmp_path_factory.mktemp("good") / "model.keras"
    model.save(path)
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def write(path, members, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items() if isinstance(members, dict) else members:
            archive.writestr(name, content)
    return path


def first(config, name):
    """The first object of a class in an architecture."""
    objects = keras_files.architecture.objects(config)
    return next(item for item in objects if item.get("class_name") == name)


def layer(module, name, config, **more):
    """What makes a dense layer another one."""

    def change(architecture):
        dense = first(architecture, "Dense")
        dense |= {"module": module, "class_name": name, **more}
        dense["config"] = config(dense) if callable(config) else dense["config"] | config

    return change


def inside(key, value):
    return lambda config: first(config, "Dense")["config"].update({key: value})


LAMBDA = {"module": "keras.layers", "class_name": "Lambda", "config": {"function": "x"}}
BYTES = {"class_name": "__lambda__", "config": {"value": "4wAAAA=="}}
FUNCTION = {"module": "builtins", "class_name": "function", "config": "exec"}
TFSM = {"filepath": "saved_model", "call_endpoint": "serve", "call_training_endpoint": None}
NAMES = {
    "Lambda": (layer("keras.layers", "Lambda", {"function": BYTES}), "keras.layers.Lambda"),
    "dots": (layer("keras", "layers.Lambda", {"function": BYTES}), "keras.layers.Lambda"),
    "dots in TFSMLayer": (layer("keras", "layers.TFSMLayer", TFSM), "keras.layers.TFSMLayer"),
    "source's spelling": (
        layer("keras.src.layers.core.lambda_layer", "Lambda", {}),
        "lambda_layer.Lambda",
    ),
    "one inside another": (
        layer("keras.layers", "TimeDistributed", {"layer": LAMBDA}),
        "keras.layers.TimeDistributed",
    ),
    "Sequential": (
        layer("keras", "Sequential", {"layers": [LAMBDA]}),
        "keras.Sequential",
    ),
    "Bidirectional": (layer("keras.layers", "Bidirectional", {}), "keras.layers.Bidirectional"),
    "StringLookup": (
        layer("keras.layers", "StringLookup", {"vocabulary": "/etc/hostname"}),
        "keras.layers.StringLookup",
    ),
    "other package": (layer("os", "system", {}), "os.system"),
    "no module": (layer(None, "Dense", {}), "None.Dense"),
    "no text": (layer("keras.layers", ["Dense"], {}), "keras.layers.\\['Dense'"),
    "registered": (
        layer("keras.layers", "Dense", {}, registered_name="Custom>Lambda"),
        "keras.layers.Dense",
    ),
    "activation": (inside("activation", FUNCTION), "builtins.function"),
    "lambda as activation": (inside("activation", BYTES), "None.__lambda__"),
    "initializer": (
        inside("kernel_initializer", {"module": "evil", "class_name": "Init", "config": {}}),
        "evil.Init",
    ),
    "type": (
        inside("dtype", {"class_name": "__typespec__", "spec_name": "X", "config": []}),
        "None.__typespec__",
    ),
    "array": (
        inside("units", {"class_name": "__numpy__", "config": {"value": 0, "dtype": "O"}}),
        "None.__numpy__",
    ),
    "key that is not read today": (inside("hook", FUNCTION), "builtins.function"),
    "file reader": (
        inside("hook", {"module": "keras.utils", "class_name": "get_file", "config": {}}),
        "keras.utils.get_file",
    ),
    "loss of a part": (
        lambda config: config["config"]["layers"][1].update(
            compile_config={"loss": {"module": "x", "class_name": "Loss", "config": {}}}
        ),
        "x.Loss|training settings",
    ),
}


@pytest.mark.parametrize("kind", NAMES)
def test_what_the_suite_does_not_write_is_refused_by_name(tmp_path, good, kind, monkeypatch):
    change, named = NAMES[kind]
    config = json.loads(good["config.json"])
    change(config)
    path = write(tmp_path / "m.keras", good | {"config.json": json.dumps(config)})
    monkeypatch.setattr(keras.saving, "deserialize_keras_object", lambda *_, **__: pytest.fail())
    monkeypatch.setattr(keras.models, "load_model", lambda *_, **__: pytest.fail("was loaded"))
    with pytest.raises(UserError, match=f"(holds|has).*({named}).*refused"):
        keras_files.load(path, "")


def sized(change):
    def members(good):
        config = json.loads(good["config.json"])
        change(config)
        return good | {"config.json": json.dumps(config)}

    return members


def weights(change):
    def members(good):
        stream = io.BytesIO(good["model.weights.h5"])
        with h5py.File(stream, "r+") as file:
            change(file)
        return good | {"model.weights.h5": stream.getvalue()}

    return members


def one_variable(file):
    """A group and the name of a data set of weights in it."""
    group = file.visititems(lambda _, item: item.parent if hasattr(item, "shape") else None)
    return group, "0"


def promised(file):
    group, name = one_variable(file)
    del group[name]
    group.create_dataset(name, (1 << 40,), "float32", chunks=(1 << 20,))


def linked(link):
    def change(file):
        group, name = one_variable(file)
        del group[name]
        group[name] = link

    return weights(change)


def external(file):
    group, name = one_variable(file)
    shape = group[name].shape
    del group[name]
    group.create_dataset(name, shape, "f4", external=[("secret", 0, h5py.h5f.UNLIMITED)])


def virtual(file):
    group, name = one_variable(file)
    layout = h5py.VirtualLayout(group[name].shape, "f4")
    layout[:] = h5py.VirtualSource("secret.h5", "x", shape=group[name].shape)
    del group[name]
    group.create_virtual_dataset(name, layout)


def deep(good):
    text = '{"a":' * 900 + "1" + "}" * 900
    return good | {"config.json": text}


def wide(config):
    size = [100_000, 100_000]
    pool = first(config, "MaxPooling2D")
    pool |= {"class_name": "UpSampling2D"}
    pool["config"] = {"name": "pool", "size": size}


SIZES = {
    "units": (sized(inside("units", 300_000_000)), "a network of \\d+ weights .*but holds only"),
    "tensor": (sized(wide), "numbers from one window|damaged"),
    "long": (lambda good: good | {"config.json": " " * (3 << 20)}, "in 3145728 bytes"),
    "deep": (deep, "in more than 64 levels"),
    "deeper": (lambda good: good | {"config.json": "[" * 100_000}, "in more than 64 levels"),
    "list": (lambda good: good | {"config.json": "[]"}, "as a list: expected a JSON object"),
    "promised weights": (weights(promised), "promises 4398046511104 bytes"),
    "external link": (linked(h5py.ExternalLink("secret.h5", "/x")), "is a link to another"),
    "soft link": (linked(h5py.SoftLink("/x")), "is a link to another"),
    "external data": (weights(external), "the data of .* are in another file"),
    "virtual data": (weights(virtual), "the data of .* are in another file"),
    "twice": (lambda good: [*good.items(), ("config.json", "{}")], "each once"),
    "npz": (lambda good: [(n.replace("h5", "npz"), c) for n, c in good.items()], "each once"),
    "both weights": (lambda good: good | {"model.weights.npz": b""}, "each once"),
    "assets": (lambda good: good | {"assets/lookup/vocabulary.txt": b"a"}, "each once"),
    "outside": (lambda good: good | {"../../evil": b"a"}, "each once"),
    "absolute": (lambda good: good | {"/etc/evil": b"a"}, "each once"),
    "many": (lambda good: good | {f"{i}": b"" for i in range(200)}, "too many files"),
}


@pytest.mark.parametrize("kind", SIZES)
def test_what_is_larger_than_it_holds_or_in_another_file_is_refused(tmp_path, good, kind):
    change, message = SIZES[kind]
    with pytest.warns() if kind == "twice" else pytest.MonkeyPatch.context():
        path = write(tmp_path / "m.keras", change(good))
    with pytest.raises(UserError, match=message):
        keras_files.load(path, "")


def test_compressed_members_are_refused_unread(tmp_path, good):
    for name in ("config.json", "model.weights.h5"):
        bomb = good | {name: bytes(1 << 26)}
        path = write(tmp_path / "m.keras", bomb, zipfile.ZIP_DEFLATED)
        assert path.stat().st_size < 200_000
        with pytest.raises(UserError, match=r"its .* is compressed; expected it uncompressed"):
            keras_files.load(path, "")


def test_sizes_in_the_archive_that_are_not_true_are_told(tmp_path, good):
    """The directory promises 2 GiB of weights, stored; the encrypted flag is damage."""
    content = bytearray(write(tmp_path / "m.keras", good).read_bytes())
    entry = content.rindex(b"PK\1\2")
    lying = bytearray(content)
    lying[entry + 20 : entry + 28] = (2**31).to_bytes(4, "little") * 2
    (tmp_path / "lying.keras").write_bytes(lying)
    with pytest.raises(UserError, match="promises more bytes than it holds"):
        keras_files.load(tmp_path / "lying.keras", "")
    content[content.index(b"PK\1\2") + 8] |= 1
    (tmp_path / "secret.keras").write_bytes(content)
    with pytest.raises(UserError, match="missing or damaged"):
        keras_files.load(tmp_path / "secret.keras", "")


@pytest.mark.slow
def test_a_refusal_takes_little_memory(tmp_path, good):
    """Less than 150 MB over what the packages take, of a network of 1.2 GB in 20 kB."""
    config = json.loads(good["config.json"])
    inside("units", 100_000_000)(config)
    path = write(tmp_path / "m.keras", good | {"config.json": json.dumps(config)})
    code = (
        "import resource, sys, pathlib\n"
        "from lib import errors, keras_backend\n"
        "keras_backend.import_keras()\n"
        "from lib.models import keras_files\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try:\n    keras_files.load(pathlib.Path(sys.argv[1]), '')\n"
        "except errors.UserError as error:\n    print(error, file=sys.stderr)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    line = [sys.executable, "-c", code, str(path)]
    done = subprocess.run(line, capture_output=True, text=True, cwd=ROOT, check=True)
    assert "but holds only" in done.stderr
    assert int(done.stdout) < 150_000


def test_a_file_of_a_newer_keras_names_both_versions(tmp_path, good):
    def saved_by(version, change):
        config = json.loads(good["config.json"])
        change(config)
        about = json.dumps({"keras_version": version})
        changed = {"metadata.json": about, "config.json": json.dumps(config)}
        return write(tmp_path / "m.keras", good | changed)

    unknown = inside("a_key_of_tomorrow", 1)
    with pytest.raises(
        UserError, match=r"was saved with Keras 3\.999\.1; the Keras here \(3"
    ) as caught:
        keras_files.load(saved_by("3.999.1", unknown), "train it again")
    assert "pip install -U 'keras>=3.999.1'" in str(caught.value)
    assert "train it again" in str(caught.value) and "damaged" not in str(caught.value)
    with pytest.raises(UserError, match=r"refused.*\(it was saved with Keras 3\.999, here is"):
        keras_files.load(saved_by("3.999", layer("keras.layers", "Denser", {})), "")
    for version in (keras.__version__, "3.0.5", "\x1b[2J", None, 4, ["9.9"]):
        with pytest.raises(UserError, match="is missing or damaged"):
            keras_files.load(saved_by(version, unknown), "")
    assert keras_files.load(saved_by("3.999.1", lambda config: None), "").count_params()


@pytest.mark.parametrize("build", [
    lambda: scae.build(output_mean=-3.0, output_scale=2.0)[0],
    lambda: scae.build_encoder(Sizes(norm_axis=TIME)),
    lambda: cpc.build()[0],
    lambda: cpc.build_encoder(code=8),
    lambda: cnn.build_encoder(),
    lambda: cpc_infonce.build(latent=8, context=8)[0],
    lambda: masked_denoiser.build(latent=8)[0],
    lambda: emotion_heads.classifier(
        framewise_encoder.build_encoder(latent=8),
        emotion_heads.build(8, TASKS, HeadSizes(units=4, code_dropout=0.1)),
    ),
])  # fmt: skip
def test_what_the_suite_builds_is_loaded(tmp_path, build):
    model = build()
    model.save(tmp_path / "m.keras")
    again = keras_files.load(tmp_path / "m.keras", "")
    for a, b in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_check_draws_no_random_number(tmp_path, good):
    """Heads that are built after an encoder is loaded start from the same weights as before."""
    path = write(tmp_path / "m.keras", good)
    config = json.loads(good["config.json"])
    random.seed(1)
    state = random.getstate()
    keras_files._check_sizes(config, len(good["model.weights.h5"]), path)
    assert random.getstate() == state
    assert keras.layers.Dense(2)(np.ones((1, 2), "f")).shape == (1, 2)
