"""embed.py: codes by any encoder, as a user runs it; the machinery, without extra packages."""

import importlib.util
import signal
import subprocess
import sys
import time
from functools import partial

import numpy as np
import pytest
import soundfile
from conftest import ROOT

import embed
import settings as defaults
from lib import configuration
from lib.artefacts import files
from lib.corpora import catalogue as corpora
from lib.datasets import codes_file
from lib.datasets.codes_file import About
from lib.datasets.unfinished_codes import UnfinishedCodes
from lib.embedding import catalogue, embedding_stage
from lib.embedding.encoder import Encoder
from lib.errors import UserError
from lib.features import audio_decoding, log_mel
from lib.models import catalogue as models

RATE = 16000
LEVELS = """
import os, time
import numpy as np

def levels(samples, rate):
    time.sleep(float(os.environ.get("NAP", 0)))
    seconds = samples[: len(samples) // rate * rate].reshape(-1, rate)
    return np.stack([seconds.std(axis=1), seconds.max(axis=1)], axis=1)
"""


@pytest.fixture
def songs(tmp_path, monkeypatch):
    """A folder of six songs of one to six seconds; my_levels.py stands in the current folder."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "songs"
    for number in range(6):
        path = folder / f"{'ab'[number % 2]}" / f"song {number}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, rng.uniform(-0.5, 0.5, RATE * (number + 1)), RATE)
    (tmp_path / "my_levels.py").write_text(LEVELS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "my_levels", raising=False)
    return folder


def line(*more, out="x.codes"):
    return ["-i", "songs", "-o", str(out), "--with", *more]


def test_a_users_function_makes_a_codes_file(songs, tmp_path):
    assert embed.main(line("my_levels:levels")) == 0
    codes = codes_file.read(tmp_path / "x.codes")
    names = [f"{'ab'[n % 2]}/song {n}" for n in (0, 2, 4, 1, 3, 5)]
    assert codes.recordings == names and codes.about.name == "my_levels_levels"
    assert np.diff(codes.offsets).tolist() == [1, 3, 5, 2, 4, 6]
    import my_levels

    for number, name in enumerate(names):
        rows = slice(*codes.offsets[number : number + 2])
        samples = audio_decoding.read_audio(songs / f"{name}.wav", RATE)
        np.testing.assert_allclose(codes.codes[rows], my_levels.levels(samples, RATE), atol=1e-6)
        np.testing.assert_allclose(codes.start_seconds[rows], np.arange(len(samples) // RATE))


def test_recordings_of_a_corpus_are_called_as_in_its_data_set(songs, demo, tmp_path, monkeypatch):
    data = tmp_path / "data"
    data.mkdir()
    (data / "MER_audio_taffc_dataset").symlink_to(demo / "MER_audio_taffc_dataset")
    monkeypatch.setattr(defaults, "path_to_data", str(data))
    assert embed.main(["-d", "m", "-l", "e", "--with", "my_levels:levels"]) == 0
    codes = codes_file.read(data / "codes/music/english/my_levels_levels.codes")
    table = corpora.read_corpus("music", "english", data)
    assert codes.recordings == table["recording"].tolist()


def pretrained(folder, features):
    """A pretraining run of a narrow CPC encoder with random weights."""
    settings = configuration.load()
    settings["network"]["maps"] = 4
    run = folder / "models/speech/english/model_cpc.it_0"
    run.mkdir(parents=True)
    encoder = models.spec("model_cpc").build(settings)
    encoder.save(run / "encoder.keras")
    files.write_json(run / "run.json", {"inputs": {"features": features}})
    return run, encoder


def test_codes_of_a_run_are_those_of_its_windows(songs, features, tmp_path):
    run, encoder = pretrained(tmp_path, features)
    # the first song is a window and one frame, the last has more than a step of 32
    soundfile.write(songs / "a/song 0.wav", np.random.default_rng(1).uniform(-1, 1, 31 * 512), RATE)
    soundfile.write(
        songs / "b/song 5.wav", np.random.default_rng(2).uniform(-1, 1, 20 * RATE), RATE
    )
    assert embed.main(line(f"run:{run}")) == 0
    codes = codes_file.read(tmp_path / "x.codes")
    assert codes.about.name == "speech_english_model_cpc_it_0"
    for number, name in enumerate(codes.recordings):
        frames = audio_decoding.extract(songs / f"{name}.wav", features)
        starts = log_mel.window_starts(len(frames), 31, 15)
        windows = np.stack([frames[s : s + 31].T for s in starts])[..., None]
        rows = slice(*codes.offsets[number : number + 2])
        np.testing.assert_allclose(codes.codes[rows], encoder.predict(windows), atol=1e-4)
        seconds = log_mel.window_seconds(starts, features)
        np.testing.assert_allclose(codes.start_seconds[rows], seconds, atol=1e-5)
    assert len(codes.codes) > codes.offsets[-2] + 32 and codes.offsets[1] == 1


@pytest.mark.slow
def test_killed_at_any_moment_the_same_line_ends_with_the_same_bytes(songs, tmp_path, capsys):
    assert embed.main(line("my_levels:levels", out="whole.codes")) == 0
    command = [sys.executable, str(ROOT / "embed.py"), *line("my_levels:levels")]
    journal = tmp_path / "x.codes.partial/recordings.jsonl"
    for done in (1, 3):
        stage = subprocess.Popen(command, env={"NAP": "0.5", "HOME": str(tmp_path)})
        until = time.time() + 60
        while not journal.exists() or journal.read_text().count("\n") < done:
            assert stage.poll() is None and time.time() < until
            time.sleep(0.05)
        stage.send_signal(signal.SIGKILL)
        stage.wait()
        with open(journal.with_name("codes.f32"), "ab") as codes:
            codes.write(b"half a code")
    capsys.readouterr()
    assert embed.main(line("my_levels:levels")) == 0
    assert "resuming: 3 of 6 recordings are done" in capsys.readouterr().out
    assert (tmp_path / "x.codes").read_bytes() == (tmp_path / "whole.codes").read_bytes()
    assert not journal.parent.exists()


def test_processes_encode_in_any_order_and_the_file_is_the_same(songs, tmp_path):
    (tmp_path / "my_encoder.py").write_text(
        "import numpy as np\n"
        "def load(factor):\n"
        "    return lambda sound: (factor * b[None, :2] for b in sound.blocks(16000))\n"
    )
    import my_encoder

    about = About(
        name="levels",
        title="levels",
        encoder_version="1",
        licence="none",
        description="levels",
        per="window",
    )
    encoder = Encoder(about, RATE, partial(my_encoder.load, 2), hop=1.0, processes=True)
    recordings = embedding_stage.recordings_of_folder(songs)
    for workers in (1, 3):
        target = tmp_path / f"{workers}.codes"
        embedding_stage.embed(encoder, recordings, target, max_cut=0.02, workers=workers)
    codes = codes_file.read(target)
    assert codes.recordings == list(recordings) and len(codes.codes) == 21
    assert codes.start_seconds[:4].tolist() == [0, 0, 1, 2]
    assert target.read_bytes() == (tmp_path / "1.codes").read_bytes()


def test_what_cannot_be_used_is_named_at_the_end_and_the_rest_is_done(songs, tmp_path, capsys):
    (songs / "a/song 2.wav").write_text("no sound")
    soundfile.write(songs / "b/song 3.wav", np.zeros(RATE), RATE)
    assert embed.main(line("my_levels:levels")) == 2
    said = capsys.readouterr()
    assert "2 of 6 recordings could not be used:\n  a/song 2: cannot be decoded" in said.err
    assert "b/song 3: silent" in said.err and "4 recordings" in said.out
    codes = codes_file.read(tmp_path / "x.codes")
    assert len(codes.recordings) == 4 and "a/song 2" not in codes.recordings
    assert embed.main(line("my_levels:levels")) == 2
    assert "lacks recordings that could not be used when it was made" in capsys.readouterr().err
    for path in songs.rglob("*.wav"):
        path.write_text("no sound")
    assert embed.main(line("my_levels:levels", out="none.codes")) == 2
    assert "6 of 6 recordings could not be used:\n  a/song 0" in capsys.readouterr().err


def test_other_codes_are_not_replaced_unasked(songs, tmp_path, capsys):
    assert embed.main(line("my_levels:levels")) == 0
    before = (tmp_path / "x.codes").read_bytes()
    assert embed.main(line("my_levels:levels")) == 0
    assert "is finished already" in capsys.readouterr().out
    soundfile.write(songs / "a/song 0.wav", np.random.default_rng(1).uniform(-1, 1, 9000), RATE)
    (tmp_path / "my_levels.py").write_text(f"{LEVELS}\n# another\n")
    assert embed.main(line("my_levels:levels")) == 2
    assert "other codes (encoder_version, description differ)" in capsys.readouterr().err
    assert (tmp_path / "x.codes").read_bytes() == before
    soundfile.write(songs / "a/song 0.wav", np.random.default_rng(1).uniform(-1, 1, RATE), RATE)
    assert embed.main([*line("my_levels:levels"), "--overwrite"]) == 0
    assert (tmp_path / "x.codes").read_bytes() != before


def test_unfinished_codes_of_another_encoder_are_not_replaced_unasked(songs, tmp_path, capsys):
    folder = tmp_path / "x.codes.partial"
    other = UnfinishedCodes(folder, {"name": "other"})
    other.add("a/song 0", np.zeros((1, 3), np.float32), np.zeros(1, np.float32))
    assert embed.main(line("my_levels:levels")) == 2
    assert "x.codes.partial holds unfinished codes of another encoder" in capsys.readouterr().err
    assert embed.main([*line("my_levels:levels"), "--overwrite"]) == 0
    assert len(codes_file.read(tmp_path / "x.codes").recordings) == 6 and not folder.exists()


@pytest.mark.parametrize(("text", "said"), [
    ("nothing", "no encoder 'nothing': expected one of opensmile:"),
    ("no_module_here:f", "No module named 'no_module_here'; expected package.module:function"),
    ("my_levels:other", "my_levels has no function 'other'"),
    ("run:models", "is not a pretraining run: expected run:models/speech/"),
    ("run:models/speech/english/model_cpc.it_7", "model_cpc.it_7 does not exist"),
])  # fmt: skip
def test_an_encoder_that_is_not_there_is_a_message(songs, capsys, text, said):
    assert embed.main(line(text)) == 2
    assert said in capsys.readouterr().err


def test_what_is_not_installed_is_a_message_with_the_line_to_install_it(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for text, missing, install in (
        ("opensmile:ComParE_2016", "opensmile", "-r requirements/encoders.txt"),
        ("musicnn:MTT", "musicnn", "--no-deps -r requirements/encoder_weights.txt"),
        ("resemblyzer", "resemblyzer and torch", "--no-deps -r requirements/encoder_weights.txt"),
        ("hub:x", "transformers and torch and safetensors", "-r requirements/encoders.txt"),
    ):
        with pytest.raises(UserError, match=f"needs {missing}, .*: pip install .*{install}"):
            catalogue.find(text, {})
    for install in (catalogue.PACKAGES, catalogue.WEIGHTS):
        assert (ROOT / install.split()[-1]).is_file()


@pytest.mark.parametrize(("body", "said"), [
    ("samples", r"a/song 0: .*returned ndarray of shape (16000,), float32: expected an array"),
    ("samples[:0, None]", "returned ndarray of shape (0, 1)"),
    ("None", "returned NoneType of shape ()"),
    ("1j * samples[:9, None]", "of shape (9, 1), complex64: expected an array (n, d) of real"),
    ("1 / 0", "a/song 0: bad_function:f failed: ZeroDivisionError: division by zero"),
    ("[[float('nan')]]", "6 of 6 recordings could not be used:\n  a/song 0: its codes are not"),
])  # fmt: skip
def test_a_function_that_fails_is_a_message(songs, tmp_path, capsys, monkeypatch, body, said):
    monkeypatch.delitem(sys.modules, "bad_function", raising=False)
    importlib.invalidate_caches()
    (tmp_path / "bad_function.py").write_text(f"def f(samples, rate):\n    return {body}\n")
    sys.dont_write_bytecode, before = True, sys.dont_write_bytecode
    try:
        assert embed.main(line("bad_function:f")) == 2
    finally:
        sys.dont_write_bytecode = before
    shown = capsys.readouterr().err
    assert said.replace(".*", "bad_function:f ") in shown and "Traceback" not in shown


@pytest.mark.parametrize("words", [
    ["-d", "m"], ["-l", "e"], [], ["-i", "songs"], ["-i", "songs", "-o", "x.codes", "-d", "m"],
])  # fmt: skip
def test_half_a_line_is_refused(songs, capsys, words):
    with pytest.raises(SystemExit):
        embed.main([*words, "--with", "my_levels:levels"])
    assert "error: name" in capsys.readouterr().err


def test_two_songs_of_one_name_are_refused(songs, capsys):
    (songs / "a/song 0.mp3").write_bytes((songs / "a/song 0.wav").read_bytes())
    assert embed.main(line("my_levels:levels")) == 2
    assert "differ in their suffix alone" in capsys.readouterr().err
