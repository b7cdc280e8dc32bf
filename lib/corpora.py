"""Each corpus's layout on disk -> one table of recordings.

A table is a pandas DataFrame with one row per recording and the columns
    recording : str, unique, the path below the corpus folder without its suffix
    path      : str, where the sound file is
    language  : str, "english" or "mandarin"
    group     : str, speaker or artist, "" where unknown
    quadrant  : str, "Q1" … "Q4", "" for speech
    arousal, valence : float, mean rating where there are ratings, else NaN
Quadrants: Q1 = arousal +, valence +; Q2 = + -; Q3 = - -; Q4 = - +. A mean rating of exactly 0
counts as positive (our choice; the reader of ratings says how often it decides).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from lib.errors import UserError
from lib.registry import PLANE, QUADRANTS

COLUMNS = ["recording", "path", "language", "group", "quadrant", "arousal", "valence"]
TABLE_COLUMNS = ["Songs", "Quads", "Arousal", "Valence"]  # of the authors' annotation tables
SOUND = (".mp3", ".wav", ".flac", ".ogg")


@dataclass(frozen=True)
class Corpus:
    """Where a corpus stands below path_to_data, what it looks like there, and how it is read."""

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
    table : an annotation table with the columns Songs, Quads, Arousal, Valence (music); by default
        the corpus's own annotations, or such a table if one lies in the corpus folder

    Raises UserError when the corpus is not there, is empty, or contradicts its annotations.
    """
    corpus = CORPORA[kind, language]
    places = [data / folder for folder in corpus.folders]
    folder = next((place for place in places if place.is_dir()), None)
    expected = f"expected layout: {corpus.layout}"
    if folder is None:
        looked = " nor ".join(str(place) for place in places)
        raise UserError(f"{corpus.name} not found: there is no folder {looked}; {expected}")
    if kind == "music":
        table = table or _authors_table(folder)
    elif table is not None:
        raise UserError("a table of quadrants goes with music (--dataset m), not with speech")
    recordings = read_table(table, folder) if table else corpus.read(folder)
    if recordings.empty:
        raise UserError(f"{corpus.name} in {folder} holds no recordings; {expected}")
    recordings["language"] = language
    return recordings[COLUMNS].sort_values("recording", ignore_index=True)


def read_table(table: Path, folder: Path) -> pd.DataFrame:
    """Read an annotation table of the original: Songs (path below `folder`), Quads, Arousal,
    Valence, and a column group if there is one. The quadrant gives all three labels.

    Raises UserError naming the rows that are not understood or whose file is missing.
    """
    frame = _read_csv(table)
    _require(frame, ["Songs", "Quads"], table)
    frame = frame.drop(columns=["song", "quadrant"], errors="ignore")
    frame = frame.rename(columns={"Songs": "song", "Quads": "quadrant"})
    if "group" not in frame:
        frame["group"] = ""
    for column in ("Arousal", "Valence"):
        values = frame[column] if column in frame else pd.Series(np.nan, index=frame.index)
        frame[column.lower()] = pd.to_numeric(values, errors="coerce")
    frame["path"] = [folder / song for song in frame["song"]]
    return _music(frame, table, folder)


def quadrant_of(arousal: np.ndarray, valence: np.ndarray) -> np.ndarray:
    """Quadrant names : str (n,) by the signs of arousal and valence : float (n,); 0 is positive."""
    names = {signs: name for name, signs in PLANE.items()}
    pairs = zip(np.asarray(arousal) >= 0, np.asarray(valence) >= 0, strict=True)
    return np.array([names[int(a), int(v)] for a, v in pairs], dtype=object)


def _librispeech(folder: Path) -> pd.DataFrame:
    """LibriSpeech/<subset>/<speaker>/<chapter>/<speaker>-<chapter>-<utterance>.flac"""
    return _speech(folder, sorted(folder.glob("*/*/*/*.flac")), speaker_level=1)


def _aishell(folder: Path) -> pd.DataFrame:
    """data_aishell/wav/<subset>/<speaker>/*.wav"""
    paths = sorted((folder / "wav").glob("*/*/*.wav"))
    archives = sorted((folder / "wav").glob("*.tar.gz"))
    packed = [a for a in archives if not list((folder / "wav").glob(f"*/{a.name[:-7]}/*.wav"))]
    if packed:
        raise UserError(
            f"AISHELL-1 in {folder / 'wav'} is still packed: {len(packed)} archives such as "
            f"{packed[0].name}; unpack them first: "
            f"cd '{folder / 'wav'}' && for f in *.tar.gz; do tar xzf $f; done"
        )
    return _speech(folder, paths, speaker_level=2)


def _four_quadrants(folder: Path) -> pd.DataFrame:
    """4Q-Emotion: Q1 … Q4/<song>.mp3 with the annotations beside (Panda 2018)."""
    table = folder / "panda_dataset_taffc_annotations.csv"
    frame = _read_csv(table)
    _require(frame, ["Song", "Quadrant"], table)
    frame = frame.rename(columns={"Song": "song", "Quadrant": "quadrant"})
    metadata = folder / "panda_dataset_taffc_metadata.csv"
    frame["group"] = ""
    if metadata.is_file():
        artists = _read_csv(metadata)
        _require(artists, ["Song", "Artist"], metadata)
        frame["group"] = frame["song"].map(
            artists.drop_duplicates("Song").set_index("Song")["Artist"]
        )
    sounds = {path.stem: path for path in folder.glob("Q[1-4]/*") if path.suffix.lower() in SOUND}
    frame["path"] = [
        sounds.get(song, folder / str(quadrant) / f"{song}.mp3")
        for song, quadrant in zip(frame["song"], frame["quadrant"], strict=True)
    ]
    frame["arousal"] = frame["valence"] = np.nan
    return _music(frame, table, folder)


def _ch818(folder: Path) -> pd.DataFrame:
    """CH-818: sound files and a table of ratings, a row per song or per song and annotator."""
    tables = _tables(folder)
    if len(tables) != 1:
        found = ", ".join(t.name for t in tables) or "none"
        raise UserError(
            f"expected one table of ratings (song, arousal, valence; a row per annotator) in "
            f"{folder}, found {found}: keep one there"
        )
    ratings = _read_csv(tables[0])
    _require(ratings, ["song", "arousal", "valence"], tables[0])
    for axis in ("arousal", "valence"):
        numbers = pd.to_numeric(ratings[axis], errors="coerce")
        bad = ratings.index[~np.isfinite(numbers)]
        _refuse(
            [f"row {row + 2}: {ratings[axis][row]}" for row in bad],
            f"{tables[0]} has ratings of {axis} that are not numbers",
            "expected numbers, for example in [-10, 10]",
        )
        ratings[axis] = numbers
    frame = ratings.groupby("song", as_index=False)[["arousal", "valence"]].mean()
    zeros = int((frame[["arousal", "valence"]] == 0).sum().sum())
    if zeros:
        print(f"{zeros} mean ratings are exactly 0 and count as positive")
    frame["quadrant"] = quadrant_of(frame["arousal"], frame["valence"])
    for axis in ("arousal", "valence"):
        if len(frame) and (frame[axis] >= 0).nunique() == 1:
            raise UserError(
                f"{tables[0]}: mean {axis} never changes its sign ({frame[axis].min():g} to "
                f"{frame[axis].max():g}): ratings must be centred on 0, for example in [-10, 10]"
            )
    frame["group"] = ""
    sounds = {path.stem: path for path in folder.iterdir() if path.suffix.lower() in SOUND}
    frame["path"] = [sounds.get(_stem(song), folder / f"{song}.mp3") for song in frame["song"]]
    return _music(frame, tables[0], folder)


CORPORA = {
    ("speech", "english"): Corpus(
        "LibriSpeech",
        ("speech/LibriSpeech", "LibriSpeech"),
        "LibriSpeech/<subset>/<speaker>/<chapter>/<speaker>-<chapter>-<utterance>.flac",
        _librispeech,
    ),
    ("speech", "mandarin"): Corpus(
        "AISHELL-1",
        ("speech/data_aishell", "data_aishell"),
        "data_aishell/wav/<train,dev,test>/<speaker>/BAC009<speaker>W<utterance>.wav",
        _aishell,
    ),
    ("music", "english"): Corpus(
        "4Q-Emotion",
        ("MER_audio_taffc_dataset",),
        "MER_audio_taffc_dataset/Q1..Q4/<song>.mp3 and panda_dataset_taffc_annotations.csv",
        _four_quadrants,
    ),
    ("music", "mandarin"): Corpus(
        "CH-818",
        ("CH818/ch818_mp3", "CH818", "ch818_mp3"),
        "CH818/ch818_mp3/<song>.mp3 and one table of ratings (song, annotator, arousal, valence)",
        _ch818,
    ),
}


def _speech(folder: Path, paths: list[Path], speaker_level: int) -> pd.DataFrame:
    relative = [path.relative_to(folder) for path in paths]
    return pd.DataFrame(
        {
            "recording": [r.with_suffix("").as_posix() for r in relative],
            "path": [str(path) for path in paths],
            "group": [r.parts[speaker_level] for r in relative],
            "quadrant": "",
            "arousal": np.nan,
            "valence": np.nan,
        }
    )


def _music(frame: pd.DataFrame, table: Path, folder: Path) -> pd.DataFrame:
    """Check songs, quadrants and files of an annotation table; name the recordings."""
    frame = frame.copy()
    frame["quadrant"] = frame["quadrant"].astype(str).str.strip().str.upper()
    wrong = frame[~frame["quadrant"].isin(QUADRANTS)]
    _refuse(
        [f"{s} ({q})" for s, q in zip(wrong["song"], wrong["quadrant"], strict=True)],
        f"{table} has quadrants that do not exist",
        f"legal are {', '.join(QUADRANTS)}",
    )
    _refuse(
        [f"row {row + 2}" for row in frame.index[frame["song"].isin(("", ".", "./"))]],
        f"{table} has rows without a song",
        "name one in each row",
    )
    root = folder.resolve()
    try:
        real = pd.Series([Path(path).resolve() for path in frame["path"]], index=frame.index)
        missing = [path for path in frame["path"] if not Path(path).exists()]
    except (OSError, ValueError) as error:
        raise UserError(f"{table} names a file that cannot exist: {error}") from error
    outside = [path for path in real if not path.is_relative_to(root)]
    _refuse(outside, f"{table} names files outside {folder}", "paths are relative to the corpus")
    twice = frame.loc[real.duplicated(), "song"].unique()
    _refuse(list(twice), f"{table} names songs more than once", "keep one row per song")
    _refuse(
        missing,
        f"{table} names {len(missing)} of {len(frame)} files that are not there",
        f"put them below {folder}, or take the rows out",
    )
    frame["recording"] = [path.relative_to(root).with_suffix("").as_posix() for path in real]
    frame["path"] = frame["path"].astype(str)
    frame["group"] = frame["group"].fillna("").astype(str)
    return frame


def _stem(song: str) -> str:
    """A song's name without the suffix of a sound file (and only that)."""
    return song[: -len(Path(song).suffix)] if Path(song).suffix.lower() in SOUND else song


def _authors_table(folder: Path) -> Path | None:
    """The table with the authors' columns in a corpus folder, if there is one."""
    found = []
    for path in _tables(folder):
        with open(path, encoding="utf-8-sig", errors="replace") as lines:
            header = [name.strip() for name in lines.readline().split(",")]
        if {"Songs", "Quads"} <= set(header):
            found.append(path)
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise UserError(f"{folder} has several annotation tables ({names}): choose with --table")
    return found[0] if found else None


def _tables(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*.csv") if path.is_file())


def _read_csv(path: Path) -> pd.DataFrame:
    """Read a CSV of strings, with or without a byte-order mark."""
    if not path.is_file():
        raise UserError(f"table not found: {path}")
    try:
        frame = pd.read_csv(
            path, dtype=str, encoding="utf-8-sig", keep_default_na=False, index_col=False
        )
    except (ValueError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not a table in CSV (UTF-8): {error}") from error
    frame.columns = [name.strip() for name in frame.columns]
    twice = sorted({name for name in frame.columns if list(frame.columns).count(name) > 1})
    if twice:
        raise UserError(f"{path} has columns of the same name: {', '.join(twice)}")
    return frame.apply(lambda column: column.str.strip())


def _require(frame: pd.DataFrame, columns: list[str], table: Path) -> None:
    lacking = [name for name in columns if name not in frame]
    if lacking:
        raise UserError(
            f"{table} lacks the columns {', '.join(lacking)}; it has {', '.join(frame.columns)}"
        )


def _refuse(bad: list, what: str, advice: str) -> None:
    if bad:
        shown = ", ".join(str(item) for item in bad[:5]) + (", …" if len(bad) > 5 else "")
        raise UserError(f"{what}: {shown}; {advice}")
