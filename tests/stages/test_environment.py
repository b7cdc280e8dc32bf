"""What surrounds a script does not change what it does: keras.json, backends, streams, names."""

import importlib.util
import json
import os
import subprocess
import sys
import threading

import pytest
from conftest import ROOT

from lib import console, keras_backend
from lib.artefacts import files
from lib.errors import UserError, guard, one_line, printable
from lib.prediction import input_files, output_files, prediction_stage
from lib.prediction.predictor import Predictor

EXPORT = ("predict.py", "--export", "models_trans/shipped", "x.onnx")  # needs Keras

NOTEBOOK = "module://matplotlib_inline.backend_inline"  # as Jupyter and Colab set it
SCRIPTS = sorted(path.name for path in ROOT.glob("*.py") if path.name != "settings.py")


def run(*line, shell="", **environment):
    """Run Python in the suite's folder; `shell` redirects its streams."""
    names = {k: v for k, v in os.environ.items() if k not in ("KERAS_BACKEND", "PYTHONPATH")}
    command = ["bash", "-c", f'exec "$@" {shell}', "-", sys.executable, *line]
    return subprocess.run(
        command, cwd=ROOT, env=names | environment, capture_output=True, text=True, timeout=120
    )


def keras_json(home, content):
    (home / ".keras").mkdir()
    (home / ".keras/keras.json").write_text(content)
    return {"HOME": str(home)}


LOOK = """
from lib import keras_backend
keras_backend.import_keras()
import keras
keras.layers.Dense(1).build((1, 1))
print(keras.backend.backend(), keras.config.floatx(), keras.config.image_data_format(),
      keras.config.epsilon(), keras.config.dtype_policy().name)
"""


@pytest.mark.slow
def test_a_keras_json_of_another_project_changes_nothing(tmp_path):
    theirs = {"floatx": "float64", "epsilon": 0.1, "image_data_format": "channels_first"}
    theirs["backend"] = "theano"
    result = run("-c", LOOK, **keras_json(tmp_path, json.dumps(theirs)))
    assert result.stdout == "tensorflow float32 channels_last 1e-07 float32\n", result.stderr


@pytest.mark.parametrize("content", ['{"floatx": "int3"}', "[1]"])
def test_a_keras_json_that_keras_cannot_use_is_one_message(tmp_path, content):
    result = run(*EXPORT, **keras_json(tmp_path, content))
    assert result.returncode == 2 and "keras.json" in result.stderr
    assert result.stderr.startswith("error: Keras cannot be imported")


@pytest.mark.parametrize("backend", ["plaidml", "theano", "TensorFlow", "numpy"])
def test_an_unknown_backend_is_one_message(backend):
    result = run(*EXPORT, KERAS_BACKEND=backend)
    assert result.returncode == 2
    assert result.stderr == (
        f"error: KERAS_BACKEND is {backend!r}: it must be one of tensorflow, jax, torch, or unset\n"
    )


def test_a_backend_that_is_not_installed_is_one_message(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"jax, which is not installed: pip install -r req\S*jax"):
        keras_backend.import_keras()


@pytest.mark.slow
def test_figures_need_no_backend_of_a_notebook_and_leave_a_callers_alone():
    result = run("predict.py", "-i", "none.wav", "--json", MPLBACKEND=NOTEBOOK)
    assert result.returncode == 2
    assert result.stderr.startswith("error: 1 could not be predicted:\n  none.wav: no such file")
    code = "import matplotlib, lib.prediction.output_files; print(matplotlib.get_backend())"
    assert run("-c", code, MPLBACKEND="svg").stdout == "svg\n"


@pytest.mark.slow
@pytest.mark.parametrize("shell", ["2>&-", ">&-", "<&- >&- 2>&-"])
def test_streams_that_are_closed_are_no_failure(shell):
    result = run("study.py", "--lines", shell=shell)
    assert result.returncode == 0 and "rror" not in result.stderr


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_find_the_suite_without_their_folder_on_the_path(script):
    result = run(script, "--help", PYTHONSAFEPATH="1")
    assert result.returncode == 0 and result.stdout.startswith("usage: "), result.stderr


def test_a_pipe_that_nobody_reads_ends_a_script_quietly():
    result = run("study.py", "--lines", shell="| head -0; echo ${PIPESTATUS[0]} >&2")
    assert result.stdout == "" and "141" in result.stderr.splitlines()[-1]
    assert len(result.stderr.splitlines()) == 1


def test_a_full_device_is_one_message():
    result = run("study.py", "--lines", shell=">/dev/full")
    assert result.returncode == 2
    assert result.stderr.startswith("error: no room to write") and result.stderr.count("\n") == 1


def test_a_closed_pipe_is_no_file_that_failed(tmp_path, monkeypatch):
    (tmp_path / "x.wav").write_bytes(b"")

    def closed(*_):
        raise BrokenPipeError

    monkeypatch.setattr(prediction_stage, "_predict_one", lambda *_, **__: "predicted")
    monkeypatch.setattr(prediction_stage, "say", closed)
    with pytest.raises(BrokenPipeError):
        prediction_stage.predict_all(
            [str(tmp_path / "x.wav")], Predictor((), 31), None, prediction_stage.Options()
        )


def test_names_cannot_command_a_terminal(capsys):
    name = "a\x1b[2Jb\x9bc\x7f\u202ed\re\nf\tg歌"
    shown = "a\\u001b[2Jb\\u009bc\\u007f\\u202ed\\u000de\nf\tg歌"
    assert printable(name) == shown
    assert one_line(name) == shown.replace("\n", "\\n").replace("\t", "\\t")
    console.say(name)

    @guard
    def main(argv=None):
        raise UserError(name)

    assert main() == 2
    captured = capsys.readouterr()
    assert captured.out == f"{shown}\n" and captured.err == f"error: {shown}\n"
    assert json.loads(printable(json.dumps("\x9b", ensure_ascii=False))) == "\x9b"


def test_files_of_any_name_are_written_whole_or_not_at_all(tmp_path):
    for name in ("x.json", "l" * 250 + ".json", "歌" * 83 + ".json"):
        files.write_text(tmp_path / name, "new")
        with pytest.raises(ZeroDivisionError), files.atomic(tmp_path / name) as partial:
            partial.write_text("half")
            raise ZeroDivisionError
        assert (tmp_path / name).read_text() == "new"
    assert len(list(tmp_path.iterdir())) == 3


def names_in(folder, capsys):
    found, failed = input_files.inputs([str(folder)], None, folder)
    assert not failed
    return [one.stem for one in found], capsys.readouterr().out


def test_a_folder_is_searched_whole_and_what_is_left_out_is_told(tmp_path, capsys):
    folder, elsewhere = tmp_path / "in", tmp_path / "elsewhere"
    for place in (folder / "a", elsewhere, folder / ".Trash-1000", folder / ".AppleDouble"):
        place.mkdir(parents=True)
        (place / "x.WAV").touch()
        (place / "._x.WAV").touch()
    for name in ("1.m4a", "2.aifc", "3.wave", "4.mp2", "cover.jpg", "notes.txt", "README"):
        (folder / name).touch()
    (folder / "album").symlink_to(elsewhere)
    (folder / "Album").symlink_to(folder / "a")  # a link beside the folder itself
    (elsewhere / "back").symlink_to(folder)
    stems, told = names_in(folder, capsys)
    assert stems == ["1", "2", "3", "4", "a/x", "album/x"]
    assert told == f"skipped in {folder}: 3 files that are not sound (.jpg, .txt, no suffix)\n"


def test_names_of_outputs_fit_file_systems_and_json(tmp_path, capsys):
    long = "歌" * 83
    for name in (f"{long}.wav", "l" * 251 + ".wav", os.fsdecode(b"caf\xe9.wav")):
        (tmp_path / name).touch()
    found, _ = input_files.inputs([str(tmp_path)], None, tmp_path)
    assert all(len(os.fsencode(f"{one.stem}.json")) <= 255 for one in found)
    assert len({one.stem for one in found}) == 3
    assert found[0].name == f"{tmp_path}/caf\\udce9.wav"
    json.dumps([one.name for one in found], ensure_ascii=False).encode()


def record(name, hop=0.992):
    shares = dict.fromkeys(("Q1", "Q2", "Q3", "Q4"), 0.25)
    about = {"file": name, "sha256": "0", "model": {"sha256": [], "hop_seconds": hop}}
    about |= {"seconds": 3.0, "windows": 3, "quadrant": "Q1", "p_quadrants": shares}
    return about | {"arousal": 0.1, "valence": -0.2}


def test_a_summary_is_of_what_stands_in_the_folder(tmp_path):
    """Also where several calls end at once."""
    (tmp_path / "other.json").write_text('{"file": "of somebody else"}')

    def call(number):
        for k in range(3):
            path = tmp_path / f"{number}/{k}.json"
            path.parent.mkdir(exist_ok=True)
            path.write_text(json.dumps(record(f"{number}-{k}")))
        output_files.write_summary(tmp_path)

    calls = [threading.Thread(target=call, args=(number,)) for number in range(8)]
    for one in calls:
        one.start()
    for one in calls:
        one.join()
    rows = (tmp_path / "summary.csv").read_text().splitlines()[1:]
    assert {row.split(",")[0] for row in rows} == {f"{n}-{k}" for n in range(8) for k in range(3)}
    (tmp_path / "0/0.json").unlink()
    assert output_files.write_summary(tmp_path) == 23
