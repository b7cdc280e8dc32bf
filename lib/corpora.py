"""Each corpus's layout on disk -> one table of recordings.

A table is a pandas DataFrame with one row per recording and the columns
    recording : str, unique, the path below the corpus folder without its suffix
    path      : str, where the sound file is
    language  : str, "english" or "mandarin"
    group     : str, speaker or artist, "" where unknown
    quadrant  : str, "Q1" … "Q4", "" for speech
    arousal, valence : float, mean rating where there are ratings, else NaN
Quadrants and ratings come from tables, which lib.annotations reads.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from lib import annotations
from lib.errors import UserError
from lib.names import Names, by_suffix, is_utf8, visible
from lib.registry import SOUND

COLUMNS = ["recording", "path", "language", "group", "quadrant", "arousal", "valence"]


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
    table : an annotation table (music), of a kind that lib.annotations reads; by default the
        corpus's own annotations, or the authors' table if one lies in the corpus folder

    Raises UserError when the corpus is not there, is empty, or contradicts its annotations.
    """
    corpus = CORPORA[kind, language]
    folder = _folder(corpus, data)
    if kind == "music":
        table = table or annotations.find_table(folder)
    elif table is not None:
        raise UserError("a table of quadrants goes with music (--dataset m), not with speech")
    recordings = read_table(table, folder) if table else corpus.read(folder)
    if recordings.empty:
        raise UserError(
            f"{corpus.name} in {folder} holds no recordings; expected layout: {corpus.layout}"
        )
    recordings["language"] = language
    return recordings[COLUMNS].sort_values("recording", ignore_index=True)


def read_table(table: Path, folder: Path) -> pd.DataFrame:
    """The recordings of an annotation table of either kind (lib.annotations), below `folder`.

    Raises UserError naming the rows that are not understood or whose file is missing.
    """
    if annotations.is_ratings(table):
        frame = _rated(table, folder)
        columns = [*annotations.RATINGS, "annotator", "group"]
    else:
        frame = annotations.read_authors(table, folder)
        columns = [*annotations.AUTHORS, "Arousal", "Valence", "group"]
    frame = _music(frame, table, folder)
    annotations.tell(table, columns, len(frame))
    return frame


def read_ratings(language: str, data: Path, table: Path | None = None) -> pd.DataFrame:
    """The ratings of a music corpus by annotator: song (as `recording` names it), annotator,
    arousal, valence, group. UserError where a corpus has none.
    """
    folder = _folder(CORPORA["music", language], data)
    if table is None and language == "english":
        raise UserError(
            "4Q-Emotion has quadrants, not ratings by annotator: name a table with the columns "
            "song, annotator, arousal, valence with --table"
        )
    table = table or annotations.find_ratings(folder)
    ratings = annotations.read_ratings(table)
    annotations.check_centred(annotations.mean_ratings(ratings), table)
    columns = [*annotations.RATINGS, "annotator", "group"]
    annotations.tell(table, columns, ratings["song"].nunique(), "ratings")
    sounds = _by_stem(folder)
    names = Names(sounds, folder)
    there = {song: names.find(song) or song for song in ratings["song"].unique()}
    ratings["song"] = ratings["song"].map(there)
    return ratings


def _librispeech(folder: Path) -> pd.DataFrame:
    """LibriSpeech/<subset>/<speaker>/<chapter>/<sound file>"""
    return _speech(folder, _find(folder, 4), speaker_level=1)


def _aishell(folder: Path) -> pd.DataFrame:
    """data_aishell/wav/<subset>/<speaker>/<sound file>"""
    paths = _find(folder / "wav", 3)
    archives = [path for path in visible(folder / "wav") if path.name.endswith(".tar.gz")]
    unpacked = {path.parent.name for path in paths}
    packed = [archive for archive in archives if archive.name[:-7] not in unpacked]
    if packed:
        raise UserError(
            f"AISHELL-1 in {folder / 'wav'} is still packed: {len(packed)} archives such as "
            f"{packed[0].name}; unpack them first: "
            f"cd '{folder / 'wav'}' && for f in *.tar.gz; do tar xzf $f; done"
        )
    return _speech(folder, paths, speaker_level=2)


def _four_quadrants(folder: Path) -> pd.DataFrame:
    """4Q-Emotion: Q1 … Q4/<song>.mp3 with the annotations beside (Panda 2018)."""
    table = _table(folder, "panda_dataset_taffc_annotations.csv")
    frame = annotations.read_named(table, ["Song", "Quadrant"])
    annotations.require(frame, ["Song", "Quadrant"], table)
    frame = frame.rename(columns={"Song": "song", "Quadrant": "quadrant"})
    metadata = _table(folder, "panda_dataset_taffc_metadata.csv")
    frame["group"] = ""
    if metadata.is_file():
        artists = annotations.read_named(metadata, ["Song", "Artist"])
        annotations.require(artists, ["Song", "Artist"], metadata)
        artist = artists.drop_duplicates(["Song", "Artist"]).set_index("Song")["Artist"]
        twice = artist.index[artist.index.duplicated()]
        annotations.refuse(list(twice), f"{metadata} gives songs two artists", "keep one")
        frame["group"] = frame["song"].map(artist)
    quadrants = frame["quadrant"].str.upper()
    folders = sorted(path for path in folder.glob("Q[1-4]") if path.is_dir())
    sounds = {path.name: _by_stem(path) for path in folders}
    elsewhere = {stem: path for found in sounds.values() for stem, path in found.items()}
    names = Names(elsewhere, folder)
    stems = [names.find(song) or song for song in frame["song"]]
    frame["path"] = [
        sounds.get(quadrant, {}).get(stem) or elsewhere.get(stem, folder / quadrant / f"{stem}.mp3")
        for stem, quadrant in zip(stems, quadrants, strict=True)
    ]
    moved = sum(p.parent.name != q for p, q in zip(frame["path"], quadrants, strict=True))
    if moved:
        print(f"{moved} songs lie in the folder of another quadrant: the annotations count")
    frame["arousal"] = frame["valence"] = np.nan
    frame = _music(frame, table, folder)
    annotations.tell(table, ["Song", "Quadrant"], len(frame))
    return frame


def _ch818(folder: Path) -> pd.DataFrame:
    """CH-818: sound files and a table of ratings, a row per song or per song and annotator."""
    return read_table(annotations.find_ratings(folder), folder)


CORPORA = {
    ("speech", "english"): Corpus(
        "LibriSpeech",
        ("speech/LibriSpeech", "LibriSpeech"),
        "LibriSpeech/<subset>/<speaker>/<chapter>/<speaker>-<chapter>-<utterance>.flac "
        "(or another sound file)",
        _librispeech,
    ),
    ("speech", "mandarin"): Corpus(
        "AISHELL-1",
        ("speech/data_aishell", "data_aishell"),
        "data_aishell/wav/<train,dev,test>/<speaker>/BAC009<speaker>W<utterance>.wav "
        "(or another sound file)",
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
    _check_suffixes(paths, [path.with_suffix("") for path in paths], folder)
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


def _rated(table: Path, folder: Path) -> pd.DataFrame:
    """Songs of a table of ratings, with the path of each below `folder`."""
    means = annotations.mean_ratings(annotations.read_ratings(table))
    annotations.check_centred(means, table)
    zeros = int((means[list(annotations.AXES)] == 0).sum().sum())
    if zeros:
        print(f"{zeros} mean ratings are exactly 0 and count as positive")
    sounds = _by_stem(folder)
    names = Names(sounds, folder)
    means["path"] = [sounds.get(names.find(song), folder / f"{song}.mp3") for song in means["song"]]
    return means


def _music(frame: pd.DataFrame, table: Path, folder: Path) -> pd.DataFrame:
    """Check songs, quadrants and files of an annotation table; name the recordings."""
    frame = frame.copy()
    annotations.check_quadrants(frame, table)
    return annotations.check_files(frame, table, folder)


def _by_stem(folder: Path) -> dict[str, Path]:
    """The sound files in a folder by their names without suffix; UserError for two of one."""
    paths = by_suffix(folder, SOUND)
    _check_suffixes(paths, [path.stem for path in paths], folder)
    return {path.stem: path for path in paths}


def _check_suffixes(paths: list[Path], names: list, folder: Path) -> None:
    """Raise UserError where several sound files have one name."""
    last = dict(zip(names, paths, strict=True))
    twice = [path.name for name, path in zip(names, paths, strict=True) if last[name] != path]
    annotations.refuse(
        twice, f"{folder} has sound files that differ in their suffix alone", "keep one of each"
    )


def _find(folder: Path, depth: int) -> list[Path]:
    """The sound files `depth` levels below a folder; a folder that cannot be read is an OSError,
    which pathlib's glob would pass over."""
    level = [folder]
    for _ in range(depth - 1):
        level = [entry for place in level for entry in visible(place) if entry.is_dir()]
    paths = [path for place in level for path in by_suffix(place, SOUND)]
    annotations.refuse(
        [ascii(path.name) for path in paths if not is_utf8(path)],
        f"{folder} has file names that are not UTF-8",
        "rename them",
    )
    return paths


def _table(folder: Path, name: str) -> Path:
    """A corpus's own table, whose name may be in other letters (.CSV)."""
    alike = [path for path in annotations.tables(folder) if path.name.lower() == name.lower()]
    return alike[0] if len(alike) == 1 else folder / name


def _folder(corpus: Corpus, data: Path) -> Path:
    """Where a corpus lies below path_to_data; UserError where it does not."""
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
