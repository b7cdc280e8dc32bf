"""The emotion of sound files: predict.py as a user runs it, and the same from Python."""

import io
import json
import os
import shutil
import subprocess
import sys
import threading
from types import SimpleNamespace

import keras
import numpy as np
import pandas as pd
import pytest
import soundfile
from conftest import ROOT

import predict
import settings as defaults
from lib.artefacts import files as artefacts_files
from lib.errors import UserError
from lib.features import audio_decoding, log_mel
from lib.features.audio_decoding import UnusableRecording
from lib.labels import QUADRANTS, TASKS, columns_of
from lib.models import classifiers
from lib.prediction import output_files
from lib.prediction.in_order import in_order
from lib.prediction.predictor import Predictor, predict_file

PAIR = "models_trans/speech_eng_2_music_eng"
FILES = {".csv", ".json", ".png"}


@pytest.fixture
def clips(pipeline):
    return sorted((pipeline.data / "MER_audio_taffc_dataset/Q1").glob("*.mp3"))


@pytest.fixture
def model(pipeline):
    return str(pipeline.models / PAIR / "model_cpc.full.it_0")


def written(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(("n", "length", "hop", "size"), [
    (31, 31, 31, 4), (30, 31, 15, 4), (400, 31, 15, 4), (400, 31, 31, 3), (400, 31, 90, 2),
    (400, 31, 1, 64), (123, 31, 7, 5), (401, 31, 200, 1),
])  # fmt: skip
def test_windows_cut_from_a_stream_are_those_of_the_whole(n, length, hop, size):
    rng = np.random.default_rng(0)
    frames = rng.normal(size=(n, 8)).astype(np.float32)
    ends = np.sort(rng.integers(0, n + 1, 9))
    blocks = np.split(frames, ends)
    parts = list(log_mel.cut(blocks, length, hop, size))
    starts = log_mel.window_starts(n, length, hop)
    expected = [frames[s : s + length].T[..., None] for s in starts]
    assert sum(map(len, parts)) == len(starts)
    assert all(len(part) == size for part in parts[:-1])
    for part, whole in zip((w for p in parts for w in p), expected, strict=True):
        np.testing.assert_array_equal(part, whole)


def test_predictions_are_those_of_the_test(pipeline, model, clips, features):
    """With the hop of the data set, a test clip has the probabilities of predictions.csv."""
    table = pd.read_csv(f"{model}/predictions.csv")
    hop = features["window_hop"] * features["hop_length"] / features["sample_rate"]
    emotion = Predictor.load(model, hop=hop)
    names = set(table["recording"])
    corpus = pipeline.data / "MER_audio_taffc_dataset"
    for name in sorted(names)[:3]:
        path = corpus / f"{name}.mp3"
        own = table[table["recording"] == name]
        found = emotion.table(path)
        np.testing.assert_allclose(found["start_seconds"], own["start_seconds"], atol=1e-3)
        for task in TASKS:
            columns = columns_of(task)
            np.testing.assert_allclose(found[columns], own[columns], atol=2e-3)


def test_python_gives_what_the_script_writes(clips, model, tmp_path, capsys):
    assert predict.main(["--model", model, "-i", str(clips[0]), "-o", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert {path.suffix for path in tmp_path.iterdir()} == FILES
    written = pd.read_csv(tmp_path / f"{clips[0].stem}.csv")
    emotion = Predictor.load(model)
    table = predict_file(clips[0], emotion)
    assert list(written) == list(table)
    numbers = [name for name in table if name != "quadrant"]
    np.testing.assert_allclose(written[numbers], table[numbers], atol=1e-5)
    assert (written["quadrant"] == table["quadrant"]).all()
    summary = json.loads((tmp_path / f"{clips[0].stem}.json").read_text())
    p = table[columns_of("quadrants")].mean()
    assert summary["quadrant"] == QUADRANTS[p.argmax()]
    assert list(summary["p_quadrants"].values()) == pytest.approx(list(p), abs=1e-5)
    assert summary["arousal"] == pytest.approx(table["arousal"].mean(), abs=1e-5)
    assert summary["valence"] == pytest.approx(table["valence"].mean(), abs=1e-5)
    assert table[["arousal", "valence"]].abs().max().max() <= 1
    np.testing.assert_allclose(
        table["arousal"], table["p_arousal_positive"] - table["p_arousal_negative"], atol=1e-6
    )
    assert summary["windows"] == len(table) and summary["seconds"] == pytest.approx(3, abs=0.1)
    assert f"{clips[0].name}: {summary['quadrant']}" in printed and "times real time" in printed
    with pytest.raises(UnusableRecording):
        emotion.table(tmp_path / "none.wav")


def test_hop_sets_the_step_between_windows(clips, model, tmp_path):
    line = ["--model", model, "-i", str(clips[0]), "-o", str(tmp_path)]
    assert predict.main([*line, "--hop", "0.25"]) == 0
    table = pd.read_csv(tmp_path / f"{clips[0].stem}.csv")
    np.testing.assert_allclose(np.diff(table["start_seconds"]), 0.256, atol=0.002)
    assert (table["end_seconds"] - table["start_seconds"]).max() == pytest.approx(0.992, abs=0.002)
    assert predict.main([*line, "--overwrite"]) == 0
    table = pd.read_csv(tmp_path / f"{clips[0].stem}.csv")
    np.testing.assert_allclose(np.diff(table["start_seconds"]), 0.992, atol=0.002)


def test_an_ensemble_is_the_mean_of_its_models(clips, pipeline, model):
    other = pipeline.models / PAIR / "model_over.full.it_0"
    both = Predictor.load(model, other).table(clips[0])
    mean = (Predictor.load(model).table(clips[0])[columns_of("quadrants")]
            + Predictor.load(other).table(clips[0])[columns_of("quadrants")]) / 2  # fmt: skip
    np.testing.assert_allclose(both[columns_of("quadrants")], mean, atol=1e-6)


def test_iterations_are_found_and_averaged_by_the_script(pipeline, clips, tmp_path, monkeypatch):
    monkeypatch.setattr(defaults, "path_to_models", str(tmp_path))
    for number, kind in enumerate(("cpc", "over")):  # any two classifiers
        source = pipeline.models / PAIR / f"model_{kind}.full.it_0"
        shutil.copytree(source, tmp_path / PAIR / f"model_over.full.it_{number}")
    line = ["-s", "e", "-m", "e", "-i", str(clips[0]), "-o", str(tmp_path / "out")]
    assert predict.main([*line, "--ensemble"]) == 0
    about = json.loads((tmp_path / "out" / f"{clips[0].stem}.json").read_text())
    assert [path[-4:] for path in about["model"]["models"]] == ["it_0", "it_1"]
    assert predict.main([*line, "--iteration", "1", "--overwrite"]) == 0
    about = json.loads((tmp_path / "out" / f"{clips[0].stem}.json").read_text())
    assert [path[-4:] for path in about["model"]["models"]] == ["it_1"]


@pytest.fixture
def music(clips, tmp_path):
    """A folder with sound, and with what is none."""
    folder = tmp_path / "music"
    (folder / "album").mkdir(parents=True)
    shutil.copy(clips[0], folder / "song.mp3")
    samples = audio_decoding.read_audio(clips[1], 16000)
    soundfile.write(folder / "song.wav", samples, 16000)
    soundfile.write(folder / "album" / "song.wav", samples, 16000)
    soundfile.write(folder / "summary.wav", samples, 16000)
    (folder / "notes.txt").write_text("not sound")
    (folder / ".hidden.mp3").write_bytes(b"")
    soundfile.write(folder / "short.flac", samples[:9000], 16000)
    (folder / "broken.mp3").write_bytes(b"no mp3 at all")
    return folder


def test_a_folder_is_predicted_with_a_summary(music, model, tmp_path, capsys):
    out = tmp_path / "out"
    assert predict.main(["--model", model, "-i", str(music), "-o", str(out)]) == 2
    captured = capsys.readouterr()
    assert "2 could not be predicted" in captured.err
    assert "shorter than one window: 18 of 31 frames" in captured.err
    assert "broken.mp3: cannot be decoded" in captured.err
    stems = ("song.mp3", "song.wav", "summary.wav", "album/song")
    assert written(out) == {f"{s}{end}" for s in stems for end in FILES} | {"summary.csv"}
    table = pd.read_csv(out / "summary.csv").set_index("file")
    assert len(table) == 4
    about = json.loads((out / "album/song.json").read_text())
    row = table.loc[str(music / "album" / "song.wav")]
    assert row["quadrant"] == about["quadrant"] and row["arousal"] == about["arousal"]
    assert row["p_Q3"] == about["p_quadrants"]["Q3"]


def test_what_is_finished_is_left_alone_and_what_is_yours_too(music, model, tmp_path, capsys):
    out = tmp_path / "out"
    line = ["--model", model, "-i", str(music / "song.mp3"), str(music / "album"), "-o", str(out)]
    assert predict.main(line) == 0
    before = {path: path.stat().st_mtime_ns for path in out.glob("song.*")}
    assert len(before) == 6
    capsys.readouterr()
    assert predict.main(line) == 0
    assert capsys.readouterr().out.count("finished already") == 2
    assert {path: path.stat().st_mtime_ns for path in before} == before
    for name in ("song.wav.csv", "song.wav.png", "song.mp3.png"):
        (out / name).unlink()  # as if killed while it wrote: the same line goes on
    assert predict.main(line) == 0
    assert len([*out.glob("song.*")]) == 6
    assert predict.main([*line, "--hop", "2"]) == 2
    assert "replace it with --overwrite, or choose another --out" in capsys.readouterr().err
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "song.csv").write_text("my own")
    (mine / "summary.csv").write_text("my own")
    line[-1] = str(mine)
    assert predict.main(line) == 2
    assert "summary.csv is not from this suite" in capsys.readouterr().err
    (mine / "summary.csv").unlink()
    single = ["--model", model, "-i", str(music / "song.mp3"), "-o", str(mine)]
    assert predict.main(single) == 2
    assert (mine / "song.csv").read_text() == "my own"
    assert predict.main([*single, "--overwrite"]) == 0
    assert (mine / "song.csv").read_text() != "my own"


def test_files_at_a_time_change_neither_order_nor_answers(music, model, tmp_path, capsys):
    """The first is long, so the others are done before it; figures are drawn by processes."""
    samples = np.concatenate([audio_decoding.read_audio(music / "song.wav", 16000)] * 40)
    soundfile.write(music / "a long one.wav", samples, 16000)
    printed, outputs = [], []
    for jobs in ("1", "3"):
        out = tmp_path / jobs
        line = ["--model", model, "-i", str(music), "-o", str(out), "--jobs", jobs]
        assert predict.main(line) == 2
        captured = capsys.readouterr()
        printed.append([line.split(" (")[0] for line in captured.out.splitlines()[:-1]])
        printed.append(captured.err)
        outputs.append({
            str(path.relative_to(out)): path.read_bytes()
            for path in out.rglob("*") if path.suffix in (".json", ".csv")
        })  # fmt: skip
        assert len(list(out.rglob("*.png"))) == 5
    assert printed[:2] == printed[2:] and "a long one.wav" in printed[0][1]
    assert outputs[0] == outputs[1]


def test_without_figures_nothing_is_drawn_and_what_was_drawn_counts_as_finished(
    music, model, tmp_path, capsys
):
    line = ["--model", model, "-i", str(music / "song.mp3"), "-o", str(tmp_path)]
    assert predict.main([*line, "--no-figures"]) == 0
    assert not (tmp_path / "song.png").exists() and (tmp_path / "song.csv").exists()
    assert predict.main([*line, "--no-figures"]) == 0
    assert "finished already" in capsys.readouterr().out
    assert predict.main(line) == 0
    assert (tmp_path / "song.png").exists()
    assert predict.main([*line, "--no-figures"]) == 0
    assert "finished already" in capsys.readouterr().out


def test_few_files_wait_while_one_is_slow():
    """However many there are, a bounded number is predicted ahead of what is written."""
    begun, release = [], threading.Event()

    def work(item):
        begun.append(item)
        if item == 0:
            release.wait(20)
        return item

    results = in_order(work, range(100), jobs=2)
    threading.Timer(0.5, release.set).start()
    assert next(results) == 0
    assert max(begun) <= 5 + 2
    assert list(results) == list(range(1, 100))


def test_the_same_model_by_another_path_is_the_same(music, model, tmp_path, capsys):
    out = tmp_path / "out"
    line = ["-i", str(music / "song.mp3"), "-o", str(out)]
    assert predict.main(["--model", model, *line]) == 0
    assert predict.main(["--model", f"{model}/model.keras", *line]) == 0
    assert "finished already" in capsys.readouterr().out
    record = json.loads((out / "song.json").read_text())
    del record["p_quadrants"]  # somebody edited it
    (out / "song.json").write_text(json.dumps(record))
    assert predict.main(["--model", model, *line]) == 2
    assert "exists already" in capsys.readouterr().err


def test_an_interrupted_replacement_leaves_nothing_of_the_old_model(
    music, model, pipeline, tmp_path, monkeypatch
):
    out, other = tmp_path / "out", str(pipeline.models / PAIR / "model_over.full.it_0")
    line = ["-i", str(music / "song.mp3"), "-o", str(out)]
    assert predict.main(["--model", model, *line]) == 0
    with monkeypatch.context() as patch:
        patch.setattr(output_files, "_as_csv", lambda *_: pytest.fail("killed"))
        with pytest.raises(pytest.fail.Exception):
            predict.main(["--model", other, *line, "--overwrite"])
    assert predict.main(["--model", other, *line]) == 0
    found = pd.read_csv(out / "song.csv")
    expected = Predictor.load(other).table(music / "song.mp3")
    np.testing.assert_allclose(found["p_quadrants_Q1"], expected["p_quadrants_Q1"], atol=1e-5)


def test_a_summary_keeps_the_files_of_earlier_calls(music, model, tmp_path):
    out = tmp_path / "out"
    for folder in (music / "album", music):
        predict.main(["--model", model, "-i", str(folder), "-o", str(out)])
    predict.main(["--model", model, "-i", str(music / "album"), "-o", str(out)])
    files = pd.read_csv(out / "summary.csv")["file"]
    assert files.is_unique and len(files) == 4


def test_files_without_permission_are_told_and_the_others_done(
    music, model, tmp_path, monkeypatch, capsys
):
    """As another user than root would meet them."""
    hidden, scandir, file_hash = music / "album", os.scandir, artefacts_files.file_hash

    def closed(function, path):
        def checked(argument):
            if str(argument) == str(path):
                raise PermissionError(13, "Permission denied", str(path))
            return function(argument)

        return checked

    monkeypatch.setattr(os, "scandir", closed(scandir, hidden))
    monkeypatch.setattr(artefacts_files, "file_hash", closed(file_hash, music / "song.wav"))
    assert predict.main(["--model", model, "-i", str(music), "-o", str(tmp_path / "out")]) == 2
    message = capsys.readouterr().err
    assert f"{hidden}: Permission denied" in message
    assert message.count("Permission denied") == 2
    assert (tmp_path / "out/song.mp3.json").is_file()


def test_one_file_that_cannot_be_written_does_not_stop_the_others(music, model, tmp_path, capsys):
    out = tmp_path / "out"
    (out / "song.wav.csv").mkdir(parents=True)
    line = ["--model", model, "-i", str(music / "song.wav"), str(music / "song.mp3")]
    assert predict.main([*line, "-o", str(out), "--overwrite"]) == 2
    assert "song.wav.csv: Is a directory" in capsys.readouterr().err
    assert (out / "song.mp3.json").is_file()


def test_an_error_without_a_file_name_is_told_with_the_input(
    music, model, tmp_path, capsys, monkeypatch
):
    def broken(source, *more, **options):
        if source.name.endswith("wav"):
            raise OSError("the stream ended")
        return written(source, *more, **options)

    written = output_files.write
    monkeypatch.setattr(output_files, "write", broken)
    line = ["--model", model, "-i", str(music / "song.wav"), str(music / "song.mp3")]
    assert predict.main([*line, "-o", str(tmp_path / "out")]) == 2
    assert "song.wav: the stream ended" in capsys.readouterr().err
    assert (tmp_path / "out/song.mp3.json").is_file()


def test_two_inputs_never_share_their_outputs(music, model, tmp_path, capsys):
    other = tmp_path / "other"
    other.mkdir()
    shutil.copy(music / "song.wav", other / "song.wav")
    files = [str(music / "song.wav"), str(other / "song.wav")]
    out = tmp_path / "out"
    assert predict.main(["--model", model, "-i", *files, "-o", str(out)]) == 2
    assert "another input also writes song.wav.*" in capsys.readouterr().err
    assert json.loads((out / "song.wav.json").read_text())["file"] == files[0]


def test_json_goes_to_standard_output_and_a_stream_comes_in(music, model, capsys, monkeypatch):
    content = (music / "song.wav").read_bytes()
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(content)))
    assert predict.main(["--model", model, "-i", "-", str(music / "song.mp3"), "--json"]) == 0
    captured = capsys.readouterr()
    first, second = (json.loads(line) for line in captured.out.splitlines())
    assert (first["file"], second["file"]) == ("-", str(music / "song.mp3"))
    assert len(first["table"]) == first["windows"]
    assert first["table"][0]["p_quadrants_Q1"] == pytest.approx(
        Predictor.load(model).table(music / "song.wav")["p_quadrants_Q1"][0], abs=1e-5
    )
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b"")))
    assert predict.main(["--model", model, "-i", "-", "--json"]) == 2
    assert "-: empty file" in capsys.readouterr().err
    monkeypatch.setattr(sys, "stdin", None)  # closed, as for a daemon
    assert predict.main(["--model", model, "-i", "-", str(music / "song.mp3"), "--json"]) == 2
    captured = capsys.readouterr()
    assert "there is no standard input" in captured.err and '"quadrant"' in captured.out


def test_bad_input_is_one_message_each(music, model, pipeline, tmp_path, capsys):
    (tmp_path / "clip.mp4").write_bytes(b"\0\0\0\x20ftypisom" + bytes(2000))
    (tmp_path / "empty").mkdir()
    soundfile.write(tmp_path / "silent.wav", np.zeros(40000), 16000)
    bad = [str(tmp_path / name) for name in ("clip.mp4", "empty", "silent.wav", "none.mp3")]
    out, song = tmp_path / "out", ["-i", str(music / "song.mp3")]
    assert predict.main(["--model", model, *song, *bad, "-o", str(out)]) == 2
    message = capsys.readouterr().err
    assert "extract the sound: ffmpeg -i clip.mp4 clip.wav" in message
    assert "empty: no sound files in this folder" in message
    assert "silent.wav: silent" in message and "none.mp3: no such file" in message
    assert message.startswith("error: 4 could not be predicted") and "Traceback" not in message
    assert written(out) == {f"song{end}" for end in FILES} | {"summary.csv"}
    file = tmp_path / "file"
    file.write_text("mine")
    assert predict.main([*song, "-o", str(file)]) == 2
    assert "is a file: name a folder" in capsys.readouterr().err
    assert predict.main([*song, "-o", str(file / "below")]) == 2
    captured = capsys.readouterr()
    assert "a file stands in its way" in captured.err and not captured.out
    assert predict.main(["-i", "", "-o", str(out)]) == 2
    assert "song.mp3" not in capsys.readouterr().out
    assert predict.main(["-s", "m", "-m", "m", *song, "-o", str(out)]) == 2
    message = capsys.readouterr().err
    assert "no model is trained for this" in message
    assert f"{PAIR}/model_cpc.full.it_0" in message
    half = tmp_path / "half.it_0"
    half.mkdir()
    assert predict.main(["--model", str(half), *song, "-o", str(out)]) == 2
    assert "is not a finished run" in capsys.readouterr().err
    for flags, words in (
        ([], "name a folder for the results"),
        (["-o", "x", "--model", "y", "-m", "e"], "--model names the model"),
        (["-o", "x", "-mod", "model_cpc"], "with both -m and -s"),
        (["-o", "x", "-m", "e"], "with both -m and -s"),
        (["-o", "x", "--hop", "0"], "is not a number from 0.01"),
    ):
        with pytest.raises(SystemExit) as caught:
            predict.main([*song, *flags])
        assert caught.value.code == 2
        assert words in capsys.readouterr().err


def test_a_model_of_other_features_is_not_averaged(model, tmp_path):
    other = tmp_path / "model_cpc.full.it_1"
    shutil.copytree(model, other)
    record = json.loads((other / "run.json").read_text())
    record["inputs"]["features"]["hop_length"] = 256
    (other / "run.json").write_text(json.dumps(record))
    with pytest.raises(UserError, match="uses other features .hop_length: 256 instead of 512"):
        Predictor.load(model, other)


def test_a_long_file_is_predicted_in_little_memory(tmp_path, monkeypatch):
    """What is held at a time does not grow with the file: 1 min and 10 min, traced."""
    import tracemalloc

    monkeypatch.setattr(audio_decoding, "SPOOL_BYTES", 1 << 20)
    inputs = keras.Input((128, 31, 1))
    code = keras.layers.Flatten()(keras.layers.MaxPooling2D((32, 31))(inputs))
    from lib.models import emotion_heads

    heads = emotion_heads.build(4, TASKS, emotion_heads.HeadSizes(units=4))
    small = emotion_heads.classifier(keras.Model(inputs, code), heads)
    small.save(tmp_path / "small.keras")
    emotion = Predictor.load(tmp_path / "small.keras")
    rng = np.random.default_rng(0)
    peaks = []
    for minutes in (1, 10):
        path = tmp_path / f"{minutes}.wav"
        soundfile.write(path, rng.uniform(-0.5, 0.5, minutes * 60 * 16000), 16000)
        emotion.predict(path)
        tracemalloc.start()
        found = emotion.predict(path)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert len(found.table) == (minutes * 60 * 16000 // 512 + 1) // 31
    # the samples of 10 min are 38 MB, its frames 10 MB
    assert peaks[1] < peaks[0] + 3e6


@pytest.mark.slow
def test_the_model_of_the_suite_works_in_a_fresh_process(clips, tmp_path):
    """Right after the clone: no settings, no training, another folder to start from."""
    line = [sys.executable, str(ROOT / "predict.py"), "-i", str(clips[0]), "-o", "out"]
    result = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    assert written(tmp_path) == {f"out/{clips[0].stem}{end}" for end in FILES}


def test_the_model_of_the_suite_is_small_and_says_what_it_is():
    files = [path for path in classifiers.SHIPPED.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 4_000_000
    assert {"model.keras", "run.json", "README.md"} <= {path.name for path in files}
    card = (classifiers.SHIPPED / "README.md").read_text()
    folds = classifiers.SHIPPED / "artist_folds_5_nested"
    metrics = json.loads((folds / "metrics.json").read_text())
    for level in ("window", "clip"):
        for task in TASKS:
            assert f"{metrics[level][task]['macro_f1']:.2f}" in card
    model = artefacts_files.read_json(classifiers.SHIPPED / "run.json")["inputs"]
    parts = artefacts_files.read_json(folds / "run.json")["inputs"]["folds"]
    assert model["features"]
    # the folds that the figures come from were trained as the model was, but for their clips and
    # for the weight of the teacher that each chose
    for part in parts:
        assert part | {"dataset": None, "teacher": None} == model | {
            "dataset": None,
            "teacher": None,
        }
    weights = [part["teacher"]["weight"] for part in parts]
    assert model["teacher"]["weight"] == max(weights, key=weights.count)
