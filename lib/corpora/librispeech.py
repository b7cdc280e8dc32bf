"""LibriSpeech: LibriSpeech/<subset>/<speaker>/<chapter>/<recording>."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from lib.corpora.recordings import files_at_depth, speech_table


def read_librispeech(folder: Path) -> pd.DataFrame:
    return speech_table(folder, files_at_depth(folder, 4), speaker_level=1)
