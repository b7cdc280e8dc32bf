"""CH-818: sound files and a table of ratings, with a row per song or per song and annotator."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from lib.corpora import annotation_tables
from lib.corpora.recordings import read_table


def read_ch818(folder: Path) -> pd.DataFrame:
    return read_table(annotation_tables.find_ratings(folder), folder)
