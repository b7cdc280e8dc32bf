"""Codes on disk: used again, bounded, rebuilt when stale or damaged, done without where need be."""

import errno
import io
import json
import os
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest

import settings as defaults
import trans_train_denoise_multi
from lib.artefacts import files
from lib.datasets.folds import Part
from lib.transfer import classifier_run, code_cache, frozen_codes
from lib.transfer.code_cache import Cache
from lib.transfer.transfer_job import Job

OF = {"encoder": "a", "windows": "b"}
CODES = np.random.default_rng(0).normal(size=(10, 6)).astype(np.float32)
SHAPE = CODES.shape


def put(cache, of=OF, values=CODES):
    return cache.put(of, iter([values[:4], values[4:]]), values.shape)


def test_codes_are_what_was_put_under_what_they_are_of(tmp_path):
    cache = Cache(tmp_path, 1e6)
    assert cache.get(OF, SHAPE) is None
    assert put(cache) and put(cache, {**OF, "encoder": "c"}, -CODES)
    np.testing.assert_array_equal(Cache(tmp_path, 1e6).get(OF, SHAPE), CODES)
    np.testing.assert_array_equal(cache.get({**OF, "encoder": "c"}, SHAPE), -CODES)
    assert cache.get({**OF, "windows": "c"}, SHAPE) is None
    assert not [p for p in (tmp_path / "codes").iterdir() if p.name.startswith(".")]


def test_those_used_longest_ago_go_first(tmp_path):
    size = CODES.nbytes + 128
    cache = Cache(tmp_path, 2.5 * size)
    for number in range(2):
        put(cache, {"number": number})
    for path in (tmp_path / "codes").glob("*.npy"):
        os.utime(path, (1, 1))
    cache.get({"number": 0}, SHAPE)  # used now
    put(cache, {"number": 2})
    assert cache.get({"number": 1}, SHAPE) is None
    assert all(cache.get({"number": n}, SHAPE) is not None for n in (0, 2))
    assert sum(p.stat().st_size for p in (tmp_path / "codes").glob("*.npy")) <= cache.limit


def test_what_does_not_fit_below_the_bound_is_not_begun(tmp_path):
    def blocks():
        raise AssertionError("asked for")
        yield

    assert not Cache(tmp_path, 100.0).put(OF, blocks(), CODES.shape)
    assert not (tmp_path / "codes").exists()


@pytest.mark.parametrize("damage", ["cut", "bytes", "header", "type", "record"])
def test_damaged_codes_are_not_used(tmp_path, damage, capsys):
    cache = Cache(tmp_path, 1e6)
    put(cache)
    path = next((tmp_path / "codes").glob("*.npy"))
    if damage == "record":
        path.with_suffix(".json").write_text('{"enc')
    else:
        content = bytearray(path.read_bytes())
        if damage == "header":  # what numpy's reader ends on with an error of the tokenizer
            content[content.index(b"}")] = ord("(")
        elif damage == "type":
            content = content.replace(b"'<f4'", b"'<i4'")
        else:
            content[-5] ^= 1
        path.write_bytes(content[:-40] if damage == "cut" else content)
    assert cache.get(OF, SHAPE) is None
    assert ("is damaged" in capsys.readouterr().out) == (damage != "record")
    assert put(cache)
    np.testing.assert_array_equal(cache.get(OF, SHAPE), CODES)


def test_codes_of_another_key_are_not_used_and_lost_ones_are_no_damage(tmp_path, capsys):
    cache, other = Cache(tmp_path, 1e6), {**OF, "encoder": "c"}
    put(cache)
    put(cache, other, -CODES)
    one, two = cache._path(OF), cache._path(other)
    one.rename(tmp_path / "aside")
    two.rename(one)
    (tmp_path / "aside").rename(two)
    assert cache.get(OF, SHAPE) is None and cache.get(other, SHAPE) is None
    one.with_suffix(".json").write_bytes(two.with_suffix(".json").read_bytes())
    assert cache.get(OF, SHAPE) is None  # whole, but of other windows or another encoder
    assert capsys.readouterr().out.count("is damaged") == 3
    one.unlink()  # evicted by another process
    assert cache.get(OF, SHAPE) is None and capsys.readouterr().out == ""


def test_codes_in_a_folder_that_may_only_be_read_are_used(tmp_path, monkeypatch, capsys):
    cache = Cache(tmp_path, 1e6)
    put(cache)

    def refuse(*_):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    for name in ("utime", "posix_fallocate"):
        monkeypatch.setattr(os, name, refuse)
    np.testing.assert_array_equal(cache.get(OF, SHAPE), CODES)
    assert (
        not put(cache, {**OF, "encoder": "c"}) and "codes are not kept" in capsys.readouterr().out
    )


def test_what_other_processes_write_and_remove_meanwhile_is_left_alone(tmp_path, monkeypatch):
    """One's unfinished file counts, only an abandoned one goes; files vanish while room is made."""
    size = CODES.nbytes + 128
    cache, folder = Cache(tmp_path, 3.5 * size), tmp_path / "codes"
    for number in range(3):
        put(cache, {"number": number})
    with pytest.raises(KeyboardInterrupt), files.atomic(folder / f"{'a' * 32}.npy") as live:
        raise KeyboardInterrupt
    dead, mine = live.with_stem(live.stem[:-8] + "0" * 8), folder / "notes.npy"
    for path in (live, dead, mine):
        path.write_bytes(b"x" * size)
    for path in (*folder.glob("[0-9a-f]*.npy"), dead):
        os.utime(path, (1, 1))
    lost, stat = cache._path({"number": 0}), Path.stat

    def gone(path, **how):
        if path == lost and folder in path.parents:
            path.unlink(missing_ok=True)  # by the other process, just now
        return stat(path, **how)

    monkeypatch.setattr(Path, "stat", gone)
    assert put(cache, {"number": 3})
    monkeypatch.undo()
    assert live.exists() and mine.exists() and not dead.exists()
    there = [cache.get({"number": number}, SHAPE) is not None for number in range(4)]
    assert there == [False, False, True, True] or there == [False, True, False, True]


@pytest.fixture
def encoder():
    keras.utils.set_random_seed(0)
    layers = [keras.Input((128, 31, 1)), keras.layers.Flatten(), keras.layers.Dense(3)]
    return keras.Sequential(layers)


def encoded(windows, encoder, folder, codes_gb):
    """The codes of all windows, seven at a time."""
    how = dict(defaults.training, codes_gb=codes_gb)
    take = frozen_codes.FrozenEncoder(encoder, "a", folder, how, 7).codes(windows, "all")
    return np.array(take(np.arange(len(windows))))


def test_codes_are_without_dropout_and_with_fixed_statistics(tmp_path, windows, encoder):
    layers = [encoder, keras.layers.BatchNormalization(), keras.layers.Dropout(0.5)]
    drops = keras.Sequential([keras.Input((128, 31, 1)), *layers])
    expected = drops.predict(windows.take(np.arange(len(windows))), verbose=0)
    np.testing.assert_allclose(encoded(windows, drops, tmp_path, 0), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
@pytest.mark.parametrize("late", ["blocks", "record"])
def test_a_disk_that_fails_late_shifts_no_codes(
    tmp_path, windows, encoder, monkeypatch, capsys, number, late
):
    expected = encoded(windows, encoder, tmp_path, 0)

    class Failing(io.FileIO):
        def write(self, data):
            if self.tell() > 200:  # behind the first blocks
                raise OSError(number, os.strerror(number))
            return super().write(data)

    def refuse(*_):
        raise OSError(number, os.strerror(number))

    if late == "blocks":
        monkeypatch.setattr(code_cache, "open", Failing, raising=False)
    else:
        monkeypatch.setattr(code_cache.files, "write_json", refuse)
    np.testing.assert_array_equal(encoded(windows, encoder, tmp_path, 1), expected)
    assert f"codes are not kept in {tmp_path / 'codes'}: " in capsys.readouterr().out
    assert list((tmp_path / "codes").iterdir()) == []
    monkeypatch.undo()
    np.testing.assert_array_equal(encoded(windows, encoder, tmp_path, 1), expected)
    assert len(list((tmp_path / "codes").iterdir())) == 2


def test_an_error_of_the_recordings_is_not_taken_for_one_of_the_codes(
    tmp_path, windows, encoder, monkeypatch
):
    def damaged(*_):
        raise OSError("the frames cannot be read")

    monkeypatch.setattr(type(windows), "take", damaged)
    with pytest.raises(OSError, match="the frames cannot be read"):
        encoded(windows, encoder, tmp_path, 1)


@pytest.mark.parametrize("codes_gb", [0, 1])
def test_all_folds_share_what_one_encoder_made(tmp_path, windows, encoder, monkeypatch, codes_gb):
    """Computed once while the encoder is the same, again for another, and never both held."""
    settings = {"training": dict(defaults.training, codes_gb=codes_gb)}
    nothing = dict.fromkeys(("plan", "machine"), "")
    job = Job(**nothing, settings=settings, folder=tmp_path, data={}, overwrite=False, pool=windows)
    asked, original = [], frozen_codes._blocks

    def counted(*how):
        asked.append(1)
        yield from original(*how)

    monkeypatch.setattr(frozen_codes, "_blocks", counted)
    rows = [{"train": np.array([0, 1, 4]), "test": np.array([2, 3])}, {"test": np.array([0, 7])}]
    parts = [Part(number, of) for number, of in enumerate(rows, 1)]
    everything = encoded(windows, encoder, tmp_path / "nowhere", 0)
    asked.clear()
    for identity, number in (("a", 1), ("b", 2)):
        for part in parts:
            takes = classifier_run._codes(replace(job, part=part), encoder, identity, 7)
            for name, take in takes.items():
                own = windows.windows_of(part.rows[name])
                np.testing.assert_array_equal(take(np.arange(len(own))), everything[own])
        assert len(asked) == number and [key[0] for key in job.codes] == [identity]


# of full width: its codes take more room than the frames
LINE = "-s n -m e -mod model_over -rel n --epochs 1 --overwrite".split()
LINE += ["--set", "heads.units=32", "--set", "transfer.batch_windows=24"]


@pytest.fixture
def transferred(pipeline, tmp_path, monkeypatch):
    """Runs the frozen step on a copy of the music; gives the calls of the encoder, and the run."""
    music = tmp_path / "english"
    music.mkdir()
    for path in (pipeline.data / "features/music/english").glob("*.h5"):
        os.link(path, music / path.name)
    (tmp_path / "out").mkdir()
    (tmp_path / "out/models").symlink_to(pipeline.models / "models")
    monkeypatch.setattr(defaults, "path_to_models", str(tmp_path / "out"))
    encoded = []
    original = frozen_codes._blocks

    def counted(encoder, windows, size):
        for block in original(encoder, windows, size):
            encoded.append(len(block))
            yield block

    monkeypatch.setattr(frozen_codes, "_blocks", counted)
    run = tmp_path / "out/models_trans/speech_none_2_music_eng/model_over.feat_ext.it_0"

    def once(*more):
        encoded.clear()
        assert trans_train_denoise_multi.main([*LINE, "-pl", str(music), *more]) == 0
        return sum(encoded), (run / "predictions.csv").read_text()

    once.music = music
    return once


@pytest.mark.slow
def test_every_window_is_encoded_once_ever(transferred):
    first, predicted = transferred()
    assert first == sum(
        json.loads(p.read_text())["digest"] is not None and len(np.load(p.with_suffix(".npy")))
        for p in (transferred.music / "codes").glob("*.json")
    )
    assert first > 100
    again, same = transferred()
    assert again == 0 and same == predicted
    other, _ = transferred("--set", "heads.units=16")  # other heads on the same codes
    assert other == 0


@pytest.mark.slow
def test_without_room_on_disk_codes_are_in_memory_and_else_made_in_every_step(transferred, capsys):
    _, expected = transferred()
    kept, predicted = transferred("--set", "training.codes_gb=0")
    assert kept > 100 and predicted == expected
    little = ["--set", "training.codes_gb=0", "--set", "training.memory_gb=0.0006"]
    encoded, predicted = transferred(*little)
    assert encoded == 0 and "computed in every epoch" in capsys.readouterr().out
    tables = [pd.read_csv(io.StringIO(text)).filter(like="p_") for text in (expected, predicted)]
    np.testing.assert_allclose(*tables, atol=1e-4)
