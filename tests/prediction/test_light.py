"""Prediction with the model of the suite needs nothing heavy, and is quick to start."""

import os
import re
import subprocess
import sys
from importlib import metadata

import numpy as np
from conftest import ROOT
from packaging.requirements import Requirement

from lib.features import audio_decoding
from lib.labels import TASKS, columns_of
from lib.prediction import predict_file

HEAVY = "tensorflow keras librosa sklearn pandas matplotlib h5py joblib tf2onnx torch jax".split()
CODE = """
import sys
sys.path[:0] = {paths}
import predict
assert predict.main(sys.argv[1:]) == 0
print(*sys.modules)
"""


def predict_in(tmp_path, clip, *flags, options=(), paths=(ROOT,)):
    """predict.py in a process of its own; what it printed, and the modules that it imported."""
    code = CODE.format(paths=[str(path) for path in paths])
    line = [sys.executable, *options, "-c", code, "-i", str(clip), "-o", str(tmp_path), *flags]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    result = subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    printed, modules = result.stdout.splitlines()
    assert "times real time" in printed
    return set(modules.split())


def test_nothing_heavy_is_imported(demo, tmp_path):
    clip = next((demo / "MER_audio_taffc_dataset/Q1").glob("*.mp3"))
    modules = predict_in(tmp_path, clip, "--no-figures")
    assert "onnxruntime" in modules and not modules & set(HEAVY)
    assert {path.suffix for path in tmp_path.iterdir()} == {".csv", ".json"}


def test_the_log_mel_of_the_docs_is_that_of_the_suite(demo, features):
    """The function in docs/predict.md, and the file of the suite with it."""
    text = (ROOT / "docs/predict.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    code = "\n".join(block for block in blocks if "log_mel_windows" in block)
    clip = next((demo / "MER_audio_taffc_dataset/Q1").glob("*.mp3"))
    names = {"samples": audio_decoding.read_audio(clip, 16000) * 0.3}
    exec(code.replace("models_trans", str(ROOT / "models_trans")), names)
    frames = audio_decoding.extract(clip, features)
    expected = np.stack([frames[s : s + 31].T[..., None] for s in range(0, len(frames) - 30, 31)])
    windows = names["log_mel_windows"](names["samples"])
    assert windows.dtype == np.float32 and windows.shape == expected.shape
    np.testing.assert_allclose(windows, expected, atol=1e-3)
    table = predict_file(clip)
    for task, classes in TASKS.items():
        np.testing.assert_allclose(names["clip"][task], table[columns_of(task)], atol=1e-3)
        assert names["clip"][task].shape[1] == len(classes)


def packages_of(names):
    """Installed distributions: those named, and all that they require."""
    found, waiting = {}, list(names)
    while waiting:
        distribution = metadata.distribution(waiting.pop())
        if distribution.name in found:
            continue
        found[distribution.name] = distribution
        needed = map(Requirement, distribution.requires or ())
        waiting += [r.name for r in needed if not r.marker or r.marker.evaluate({"extra": ""})]
    return found.values()


def test_the_packages_of_prediction_are_enough(demo, tmp_path):
    """In an environment that has no other packages, figures too."""
    lines = (ROOT / "requirements/predict.txt").read_text().splitlines()
    site = tmp_path / "site"
    site.mkdir()
    for distribution in packages_of(re.split(r"[^\w-]", s)[0] for s in lines if s[:1].isalpha()):
        for top in {file.parts[0] for file in distribution.files} - {"..", "__pycache__"}:
            if not (site / top).exists():
                (site / top).symlink_to(distribution.locate_file(top))
    clip = next((demo / "MER_audio_taffc_dataset/Q1").glob("*.mp3"))
    modules = predict_in(tmp_path, clip, options=["-I", "-S"], paths=(ROOT, site))
    assert "matplotlib" in modules and not modules & {"tensorflow", "keras", "librosa", "sklearn"}
    assert not (site / "keras").exists() and (tmp_path / f"{clip.stem}.png").exists()
