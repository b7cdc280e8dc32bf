"""The authors' released models: their feature settings, and how to find their files."""

from __future__ import annotations

import re
from pathlib import Path

from lib.errors import UserError

SUFFIXES = (".hdf5", ".h5")
# feature settings of the released models: the same for all, and stored in none of the files
FEATURES = {
    "sample_rate": 16000,
    "n_fft": 2048,
    "win_length": 1024,
    "hop_length": 512,
    "n_mels": 128,
    "window_frames": 31,
    "window_hop": 15,
}


def pretrained(folder: Path, model: str, iteration: int) -> Path | None:
    """The released file of a pretraining in `folder`, models/speech/<language>/."""
    return _only(folder, rf"{re.escape(model)}\.it_{iteration}\..*\.hdf5")


def transferred(folder: Path, model: str, mode: str, iteration: int) -> Path | None:
    """The released file of a transfer in `folder`, models_trans/speech_…_2_music_…/.

    In their names, only the learning rate distinguishes the frozen step from the released one.
    """
    rate = "5e-05" if mode == "full" else r"0\.001"
    name = rf"(?=.*\.lr_{rate}\.){re.escape(model)}\.(.*\.)?it_{iteration}\..*\.hdf5"
    return _only(folder, name)


def _only(folder: Path, pattern: str) -> Path | None:
    """The file whose name matches a regular expression; that of the best epoch if there are two."""
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    files = [path for path in files if re.fullmatch(pattern, path.name)]
    files = [path for path in files if ".best." in path.name] or files
    if len(files) > 1:
        names = ", ".join(path.name for path in files)
        raise UserError(f"{folder} holds several released models ({names}): keep one there")
    return files[0] if files else None
