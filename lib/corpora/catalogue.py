"""List the corpora, and read one into a table of recordings.

A table is a pandas DataFrame with one row per recording and the columns
    recording : str, unique, the path below the corpus folder without its suffix
    path      : str, where the sound file is
    language  : str, "english" or "mandarin"
    group     : str, speaker or artist as the corpus spells it, "" if unknown
    quadrant  : str, "Q1" … "Q4", "" for speech
    arousal, valence : float, mean rating, NaN without ratings
Quadrants and ratings come from tables (annotation_tables).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from lib.corpora import annotation_tables
from lib.corpora.aishell import read_aishell
from lib.corpora.ch818 import read_ch818
from lib.corpora.four_quadrants import read_four_quadrants
from lib.corpora.librispeech import read_librispeech
from lib.corpora.recording_names import Names, is_utf8
from lib.corpora.recordings import read_table, sounds_by_name
from lib.errors import UserError

COLUMNS = ["recording", "path", "language", "group", "quadrant", "arousal", "valence"]


@dataclass(frozen=True)
class Corpus:
    """Where a corpus is below path_to_data, how it is laid out there, and how it is read."""

    name: str
    folders: tuple[str, ...]
    layout: str
    read: Callable[[Path], pd.DataFrame]


def read_corpus(kind: str, language: str, data: Path, table: Path | None = None) -> pd.DataFrame:
    """The recordings of one corpus.

    Parameters
    ----------
    kind : "speech" or "music"
    language : "english" or "mandarin"
    data : path_to_data
    table : an annotation table (music), of a kind that lib.corpora.annotation_tables reads; by
        default the corpus's own annotations, or the authors' table if the corpus folder has one

    Raises UserError when the corpus is not there, is empty, or contradicts its annotations.
    """
    corpus = CORPORA[kind, language]
    folder = _folder(corpus, data)
    if kind == "music":
        table = table or annotation_tables.find_table(folder)
    elif table is not None:
        raise UserError("a table of quadrants goes with music (--dataset m), not with speech")
    recordings = read_table(table, folder) if table else corpus.read(folder)
    if recordings.empty:
        raise UserError(
            f"{corpus.name} in {folder} holds no recordings; expected layout: {corpus.layout}"
        )
    recordings["language"] = language
    return recordings[COLUMNS].sort_values("recording", ignore_index=True)


def read_ratings(language: str, data: Path, table: Path | None = None) -> pd.DataFrame:
    """The ratings of a music corpus by annotator: song (as `recording` names it), annotator,
    arousal, valence, group. UserError if the corpus has none.
    """
    folder = _folder(CORPORA["music", language], data)
    if table is None and language == "english":
        raise UserError(
            "4Q-Emotion has quadrants, not ratings by annotator: name a table with the columns "
            "song, annotator, arousal, valence with --table"
        )
    table = table or annotation_tables.find_ratings(folder)
    ratings = annotation_tables.read_ratings(table)
    annotation_tables.check_centred(annotation_tables.mean_ratings(ratings), table)
    columns = (*annotation_tables.RATINGS, *annotation_tables.RATINGS_MORE)
    annotation_tables.tell(table, columns, ratings["song"].nunique(), "ratings")
    names = Names(sounds_by_name(folder), folder)
    ratings["song"] = [names.find(song) or song for song in ratings["song"]]
    return ratings


CORPORA = {
    ("speech", "english"): Corpus(
        "LibriSpeech",
        ("speech/LibriSpeech", "LibriSpeech"),
        "LibriSpeech/<subset>/<speaker>/<chapter>/<speaker>-<chapter>-<utterance>.flac "
        "(or another sound file)",
        read_librispeech,
    ),
    ("speech", "mandarin"): Corpus(
        "AISHELL-1",
        ("speech/data_aishell", "data_aishell"),
        "data_aishell/wav/<train,dev,test>/<speaker>/BAC009<speaker>W<utterance>.wav "
        "(or another sound file)",
        read_aishell,
    ),
    ("music", "english"): Corpus(
        "4Q-Emotion",
        ("MER_audio_taffc_dataset",),
        "MER_audio_taffc_dataset/Q1..Q4/<song>.mp3 and panda_dataset_taffc_annotations.csv",
        read_four_quadrants,
    ),
    ("music", "mandarin"): Corpus(
        "CH-818",
        ("CH818/ch818_mp3", "CH818", "ch818_mp3"),
        "CH818/ch818_mp3/<song>.mp3 and one table of ratings (song, annotator, arousal, valence)",
        read_ch818,
    ),
}


def _folder(corpus: Corpus, data: Path) -> Path:
    """The folder of a corpus below path_to_data; UserError if there is none."""
    places = [data / folder for folder in corpus.folders]
    folder = next((place for place in places if place.is_dir()), None)
    if folder is None:
        looked = " nor ".join(str(place) for place in places)
        raise UserError(
            f"{corpus.name} not found: there is no folder {looked}; expected layout: "
            f"{corpus.layout}"
        )
    if not is_utf8(folder):
        raise UserError(f"the folder {str(folder)!a} has a name that is not UTF-8: rename it")
    return folder
