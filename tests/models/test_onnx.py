"""ONNX files of classifiers: they answer as Keras does, and what is in one is checked first."""

import json
import shutil

import keras
import numpy as np
import onnx
import pytest

import predict
import settings as defaults
from lib import configuration
from lib.artefacts import files
from lib.errors import UserError
from lib.labels import TASKS
from lib.models import (
    catalogue,
    classifiers,
    emotion_heads,
    onnx_export,
    onnx_files,
    saved_models,
)

NETWORKS = [name for name in catalogue.names() if catalogue.spec(name).build]
PAIR = "models_trans/speech_eng_2_music_eng"


def classifier(name):
    """A narrow classifier with random weights; statistics and biases are not those of the start."""
    settings = configuration.load(name)
    settings["network"]["maps"] = 4
    encoder = catalogue.spec(name).build(settings)
    sizes = emotion_heads.HeadSizes(units=8, dropout=0.5)
    heads = emotion_heads.build(encoder.output_shape[-1], TASKS, sizes)
    model = emotion_heads.classifier(encoder, heads)
    rng = np.random.default_rng(0)
    for weight in model.weights:
        weight.assign(np.abs(weight.numpy() + rng.normal(0, 0.05, weight.shape)) + 0.01
                      if "variance" in weight.path else
                      weight.numpy() + rng.normal(0, 0.05, weight.shape))  # fmt: skip
    return model


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A small ONNX file of the suite."""
    path = tmp_path_factory.mktemp("onnx") / "model.onnx"
    onnx_export.export(classifier("model_cpc_nce"), path, dict(defaults.features), "f" * 64)
    return path


# the two of the paper are in the fast tests
OTHERS = [n for n in NETWORKS if n not in ("model_over", "model_cpc")]
EVERY = ["model_over", "model_cpc", *(pytest.param(n, marks=pytest.mark.slow) for n in OTHERS)]


@pytest.mark.parametrize("name", EVERY)
def test_every_network_answers_as_through_keras(name, features, tmp_path):
    model = classifier(name)
    model.save(tmp_path / "model.keras")
    windows = np.random.default_rng(1).normal(-4, 2, (40, 128, 31, 1)).astype(np.float32)
    expected = model.predict(windows, verbose=0)
    path = tmp_path / "model.onnx"
    onnx_export.export(model, path, features, files.file_hash(tmp_path / "model.keras"))
    network = onnx_files.read(path)
    for n in (40, 7, 1):  # any number of windows
        answer = network.predict(windows[:n])
        assert set(answer) == set(TASKS)
        for task, classes in TASKS.items():
            assert answer[task].shape == (n, len(classes))
            np.testing.assert_allclose(answer[task], expected[task][:n], atol=1e-5, rtol=0)
    assert np.ptp(expected["quadrants"], axis=0).max() > 1e-3  # it does tell windows apart
    assert network.features == features


def test_a_file_says_what_it_is(exported, features):
    about = {entry.key: entry.value for entry in onnx.load(exported).metadata_props}
    assert json.loads(about["features"]) == features
    assert json.loads(about["classes"])["quadrants"] == ["Q1", "Q2", "Q3", "Q4"]
    assert float(about["hop_seconds"]) == pytest.approx(0.992)
    assert about["source_sha256"] == "f" * 64 and about["licence"]


def test_an_export_that_answers_otherwise_is_not_kept(tmp_path, features, monkeypatch):
    monkeypatch.setattr(onnx_export, "TOLERANCE", -1.0)
    with pytest.raises(UserError, match="its outputs differ from those of Keras by"):
        onnx_export.export(classifier("model_cnn"), tmp_path / "m.onnx", features, "")
    monkeypatch.setattr(keras.Model, "export", lambda *_, **__: (_ for _ in ()).throw(ImportError))
    with pytest.raises(UserError, match="no ONNX file: Keras cannot export"):
        onnx_export.export(classifier("model_cnn"), tmp_path / "m.onnx", features, "")
    assert not list(tmp_path.iterdir())


def with_foreign_operator(model):
    model.graph.node[0].op_type = "Loop"


def with_a_domain_of_its_own(model):
    model.graph.node[0].domain = "my.kernels"


def with_a_function(model):
    model.functions.add().name = "f"


def with_weights_elsewhere(model):
    tensor = next(t for t in model.graph.initializer if len(t.dims) == 4)
    onnx.external_data_helper.set_external_data(tensor, "/etc/passwd")
    tensor.ClearField("raw_data")


def with_a_constant_elsewhere(model):
    tensor = onnx.numpy_helper.from_array(np.zeros(1, np.float32), "value")
    onnx.external_data_helper.set_external_data(tensor, "/etc/passwd")
    model.graph.node.append(onnx.helper.make_node("Constant", [], ["aside"], value=tensor))


def with_a_huge_tensor(model):
    node = next(node for node in model.graph.node if node.op_type == "Conv")
    kept = [a for a in node.attribute if a.name not in ("pads", "auto_pad")]
    del node.attribute[:]
    node.attribute.extend([*kept, onnx.helper.make_attribute("pads", [1 << 15] * 4)])


def with_another_input(model):
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 256


def without_an_output(model):
    del model.graph.output[0]


def without_features(model):
    onnx.helper.set_model_props(model, {"classes": json.dumps(TASKS), "source_sha256": ""})


def with_bad_features(model):
    features = json.dumps(dict(defaults.features) | {"hop_length": -1})
    about = {"features": features, "classes": json.dumps(TASKS), "source_sha256": ""}
    onnx.helper.set_model_props(model, about)


@pytest.mark.parametrize(("damage", "words"), [
    (with_foreign_operator, r"operators that no network of this suite has \(Loop\)"),
    (with_a_domain_of_its_own, "operators that no network of this suite has"),
    (with_a_function, "operators that no network of this suite has"),
    (with_weights_elsewhere, "keeps weights in other files"),
    (with_a_constant_elsewhere, "keeps weights in other files"),
    (with_a_huge_tensor, "is damaged|expected at most 16777216 numbers"),
    (with_another_input, "is damaged|has inputs and outputs|expected at most"),
    (without_an_output, "a classifier of this suite has"),
    (without_features, "does not say which features"),
    (with_bad_features, "hop_length"),
], ids=lambda value: getattr(value, "__name__", ""))  # fmt: skip
def test_a_file_that_is_not_of_this_suite_is_refused(exported, tmp_path, damage, words):
    model = onnx.load(exported)
    damage(model)
    path = tmp_path / "hostile.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(UserError, match=words):
        onnx_files.read(path)


def test_a_network_larger_than_those_of_the_suite_is_refused(exported, monkeypatch):
    monkeypatch.setattr(onnx_files, "LARGEST", 1000)
    with pytest.raises(UserError, match=r"has the shape \(.*\): expected at most 1000 numbers"):
        onnx_files.read(exported)


def test_damaged_missing_and_large_files_are_one_message(exported, tmp_path, monkeypatch):
    path = tmp_path / "m.onnx"
    with pytest.raises(UserError, match="no file .*m.onnx"):
        classifiers.load(path, {})
    for content in (b"", b"PK\3\4 no protocol buffer", exported.read_bytes()[:-2000]):
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"m\.onnx"):
            onnx_files.read(path)
    monkeypatch.setattr(onnx_files, "LARGEST_FILE", 100)
    with pytest.raises(UserError, match="expected at most 100"):
        onnx_files.read(exported)


def test_a_run_is_predicted_by_its_onnx_file_while_that_is_fresh(
    pipeline, features, tmp_path, capsys, monkeypatch
):
    run = tmp_path / "model_cpc.full.it_0"
    shutil.copytree(pipeline.models / PAIR / run.name, run)
    assert "model.onnx" in json.loads((run / "run.json").read_text())["files"]
    with monkeypatch.context() as patch:
        patch.setattr(saved_models, "load_classifier", lambda *_: pytest.fail("Keras was asked"))
        fresh = classifiers.load(run, features)
        assert classifiers.load(run / "model.keras", features).sha256 == fresh.sha256
    windows = np.random.default_rng(1).normal(-4, 2, (9, 128, 31, 1)).astype(np.float32)
    expected = saved_models.load_classifier(run / "model.keras", features).predict(windows)
    for task in TASKS:
        np.testing.assert_allclose(fresh.predict(windows)[task], expected[task], atol=1e-5)
    with open(run / "model.onnx", "ab") as file:
        file.write(b"\0")
    with pytest.raises(UserError, match=r"model.onnx: cut, changed or gone"):
        classifiers.load(run, features)
    line = ["--export", str(run), str(run / "model.onnx"), "--overwrite"]
    assert predict.main(line) == 0  # mended
    assert classifiers.load(run, features).sha256 == fresh.sha256
    (run / "model.onnx").unlink()  # a run is whole without it
    assert classifiers.load(run, features).sha256 == fresh.sha256
    other = pipeline.models / PAIR / "model_over.full.it_0/model.keras"
    assert predict.main(["--export", str(other), str(tmp_path / "other.onnx")]) == 0
    shutil.copy(other, tmp_path / "mine.keras")
    (tmp_path / "other.onnx").rename(tmp_path / "mine.onnx")
    capsys.readouterr()
    classifiers.load(tmp_path / "mine.keras", features)
    assert not capsys.readouterr().out
    shutil.copy(run / "model.keras", tmp_path / "mine.keras")
    stale = classifiers.load(tmp_path / "mine.keras", features)
    assert "was not made from the current mine.keras, so it is not used" in capsys.readouterr().out
    np.testing.assert_allclose(
        stale.predict(windows)["valence"], expected["valence"], atol=1e-5
    )  # fmt: skip


def test_export_says_what_is_in_its_way(pipeline, tmp_path, capsys):
    run, out = str(pipeline.models / PAIR / "model_over.full.it_0"), tmp_path / "new/m.onnx"
    assert predict.main(["--export", run, str(out)]) == 0
    assert "MB, gives the same answers as" in capsys.readouterr().out
    assert classifiers.load(out, {}).features == dict(defaults.features)
    before = out.read_bytes()
    for line, words in (
        ([run, str(out)], "exists already: --overwrite replaces it"),
        ([run, str(tmp_path / "m.tflite")], "name a file that ends in .onnx"),
        ([str(tmp_path / "none"), str(tmp_path / "m.onnx")], "no model"),
    ):
        assert predict.main(["--export", *line]) == 2
        assert words in capsys.readouterr().err
    assert out.read_bytes() == before
    assert predict.main(["--export", run, str(out), "--overwrite"]) == 0


def test_a_run_whose_export_fails_is_finished_all_the_same(monkeypatch, tmp_path, capsys, features):
    from lib.transfer import classifier_run

    def fail(*_):
        raise UserError("no ONNX file: Keras cannot export with jax here")

    monkeypatch.setattr(onnx_export, "export", fail)
    (tmp_path / "model.keras").write_bytes(b"")
    run = tmp_path / "model_cpc.full.it_0"
    classifier_run._export(None, tmp_path, features, run)
    printed = capsys.readouterr().out
    assert (
        "the run continues without it" in printed and f"--export {run} {run}/model.onnx" in printed
    )
