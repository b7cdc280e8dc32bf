"""Codes on disk: used again, bounded, rebuilt when stale or damaged, done without where need be."""

import io
import json
import os

import numpy as np
import pandas as pd
import pytest

import settings as defaults
import trans_train_denoise_multi
from lib.codes import Cache

OF = {"encoder": "a", "windows": "b"}
CODES = np.random.default_rng(0).normal(size=(10, 6)).astype(np.float32)


def put(cache, of=OF, codes=CODES):
    return cache.put(of, iter([codes[:4], codes[4:]]), codes.shape)


def test_codes_are_what_was_put_under_what_they_are_of(tmp_path):
    cache = Cache(tmp_path, 1e6)
    assert cache.get(OF) is None
    assert put(cache) and put(cache, {**OF, "encoder": "c"}, -CODES)
    np.testing.assert_array_equal(Cache(tmp_path, 1e6).get(OF), CODES)
    np.testing.assert_array_equal(cache.get({**OF, "encoder": "c"}), -CODES)
    assert cache.get({**OF, "windows": "c"}) is None
    assert not [p for p in (tmp_path / "codes").iterdir() if p.name.startswith(".")]


def test_those_used_longest_ago_go_first(tmp_path):
    size = CODES.nbytes + 128
    cache = Cache(tmp_path, 2.5 * size)
    for number in range(2):
        put(cache, {"number": number})
    for path in (tmp_path / "codes").glob("*.npy"):
        os.utime(path, (1, 1))
    cache.get({"number": 0})  # used now
    put(cache, {"number": 2})
    assert cache.get({"number": 1}) is None
    assert all(cache.get({"number": n}) is not None for n in (0, 2))
    assert sum(p.stat().st_size for p in (tmp_path / "codes").glob("*.npy")) <= cache.limit


def test_what_does_not_fit_below_the_bound_is_not_begun(tmp_path):
    def blocks():
        raise AssertionError("asked for")
        yield

    assert not Cache(tmp_path, 100.0).put(OF, blocks(), CODES.shape)
    assert not (tmp_path / "codes").exists()


@pytest.mark.parametrize("damage", ["cut", "bytes", "record"])
def test_damaged_codes_are_not_used(tmp_path, damage, capsys):
    cache = Cache(tmp_path, 1e6)
    put(cache)
    path = next((tmp_path / "codes").glob("*.npy"))
    if damage == "record":
        path.with_suffix(".json").write_text('{"enc')
    else:
        content = bytearray(path.read_bytes())
        content[-5] ^= 1
        path.write_bytes(content[:-40] if damage == "cut" else content)
    assert cache.get(OF) is None
    assert ("is damaged" in capsys.readouterr().out) == (damage != "record")
    assert put(cache)
    np.testing.assert_array_equal(cache.get(OF), CODES)


LINE = "-s e -m e -mod model_over -rel n --epochs 1 --overwrite".split()
LINE += ["--set", "heads.units=32", "--set", "transfer.batch_windows=24"]


@pytest.fixture
def transferred(pipeline, tmp_path, monkeypatch):
    """Runs the frozen step on a copy of the music; gives the calls of the encoder, and the run."""
    from lib import frozen

    music = tmp_path / "english"
    music.mkdir()
    for path in (pipeline.data / "features/music/english").glob("*.h5"):
        os.link(path, music / path.name)
    (tmp_path / "out").mkdir()
    (tmp_path / "out/models").symlink_to(pipeline.models / "models")
    monkeypatch.setattr(defaults, "path_to_models", str(tmp_path / "out"))
    encoded = []
    original = frozen._blocks

    def counted(encoder, windows, size):
        for block in original(encoder, windows, size):
            encoded.append(len(block))
            yield block

    monkeypatch.setattr(frozen, "_blocks", counted)
    run = tmp_path / "out/models_trans/speech_eng_2_music_eng/model_over.feat_ext.it_0"

    def once(*more):
        encoded.clear()
        assert trans_train_denoise_multi.main([*LINE, "-pl", str(music), *more]) == 0
        return sum(encoded), (run / "predictions.csv").read_text()

    once.music = music
    return once


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


def test_without_room_on_disk_codes_are_in_memory_and_else_made_in_every_step(transferred, capsys):
    _, expected = transferred()
    kept, predicted = transferred("--set", "training.codes_gb=0")
    assert kept > 100 and predicted == expected
    little = ["--set", "training.codes_gb=0", "--set", "training.memory_gb=0.0006"]
    encoded, predicted = transferred(*little)
    assert encoded == 0 and "computed in every epoch" in capsys.readouterr().out
    tables = [pd.read_csv(io.StringIO(text)).filter(like="p_") for text in (expected, predicted)]
    np.testing.assert_allclose(*tables, atol=1e-4)
