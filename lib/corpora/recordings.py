"""Make tables of recordings from the files of a corpus and from annotation tables."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from lib.corpora import annotation_tables
from lib.corpora.csv_tables import refuse, tables
from lib.corpora.recording_names import Names, by_suffix, is_utf8, visible
from lib.errors import UserError
from lib.labels import SOUND


def read_table(table: Path, folder: Path) -> pd.DataFrame:
    """The recordings of an annotation table of either kind (annotation_tables), below `folder`.

    Raises UserError naming the rows that are not understood or whose file is missing.
    """
    if annotation_tables.is_ratings(table):
        frame = rated_songs(table, folder)
        columns = (*annotation_tables.RATINGS, *annotation_tables.RATINGS_MORE)
    else:
        frame = annotation_tables.read_authors(table, folder)
        columns = (*annotation_tables.AUTHORS, *annotation_tables.AUTHORS_MORE)
    frame = music_table(frame, table, folder)
    annotation_tables.tell(table, columns, len(frame))
    return frame


def speech_table(folder: Path, paths: list[Path], speaker_level: int) -> pd.DataFrame:
    """Utterances; the folder at `speaker_level` below the corpus is the speaker."""
    check_suffixes(paths, [path.with_suffix("") for path in paths], folder)
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


def rated_songs(table: Path, folder: Path) -> pd.DataFrame:
    """Songs of a table of ratings, with the path of each below `folder`."""
    means = annotation_tables.mean_ratings(annotation_tables.read_ratings(table))
    annotation_tables.check_centred(means, table)
    zeros = int((means[list(annotation_tables.AXES)] == 0).sum().sum())
    if zeros:
        print(f"{zeros} mean ratings are exactly 0 and count as positive")
    sounds = sounds_by_name(folder)
    names = Names(sounds, folder)
    means["path"] = [sounds.get(names.find(song), folder / f"{song}.mp3") for song in means["song"]]
    return means


def music_table(songs: pd.DataFrame, table: Path, folder: Path) -> pd.DataFrame:
    """The songs of an annotation table as recordings.

    UserError if a quadrant does not exist, or a file is missing, named twice, hidden or outside.
    """
    songs = songs.copy()
    annotation_tables.check_quadrants(songs, table)
    lacking = songs.index[songs["song"].isin(("", ".", "./"))]
    refuse(
        [f"row {row + 2}" for row in lacking],
        f"{table} has rows without a song",
        "name one in each row",
    )
    # by name only: links are the user's decision, but ".." would leave the corpus
    root = Path(os.path.abspath(folder))
    try:
        paths = pd.Series([Path(os.path.abspath(path)) for path in songs["path"]], songs.index)
        missing = [path for path in songs["path"] if not Path(path).exists()]
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(f"{table} names a file that cannot exist: {error}") from error
    outside = [path for path in paths if not path.is_relative_to(root)]
    refuse(outside, f"{table} names files outside {folder}", "paths are relative to the corpus")
    twice = songs.loc[paths.duplicated(), "song"].unique()
    refuse(twice, f"{table} names songs more than once", "keep one row per song")
    refuse(
        missing,
        f"{table} names {len(missing)} of {len(songs)} files that are not there",
        f"put them below {folder}, or take the rows out" + _unreadable_names(missing),
    )
    hidden = [p for p in paths if any(part[0] == "." for part in p.relative_to(root).parts)]
    refuse(hidden, f"{table} names hidden files, which are not recordings", "take the rows out")
    songs["recording"] = [path.relative_to(root).with_suffix("").as_posix() for path in paths]
    same = songs.loc[songs["recording"].duplicated(), "song"].unique()
    refuse(same, f"{table} names songs that differ in their suffix alone", "keep one of each")
    songs[["path", "group"]] = songs[["path", "group"]].astype(str)
    return songs


def sounds_by_name(folder: Path) -> dict[str, Path]:
    """The sound files in a folder by name without suffix; UserError if two have the same name."""
    paths = by_suffix(folder, SOUND)
    check_suffixes(paths, [path.stem for path in paths], folder)
    return {path.stem: path for path in paths}


def check_suffixes(paths: list[Path], names: list, folder: Path) -> None:
    """Raise UserError where several sound files have one name."""
    last = dict(zip(names, paths, strict=True))
    twice = [path.name for name, path in zip(names, paths, strict=True) if last[name] != path]
    refuse(twice, f"{folder} has sound files that differ in their suffix alone", "keep one of each")


def files_at_depth(folder: Path, depth: int) -> list[Path]:
    """The sound files `depth` levels below a folder. A folder that cannot be read raises OSError;
    pathlib's glob would skip it."""
    level = [folder]
    for _ in range(depth - 1):
        level = [entry for place in level for entry in visible(place) if entry.is_dir()]
    paths = [path for place in level for path in by_suffix(place, SOUND)]
    unreadable = [ascii(path.name) for path in paths if not is_utf8(path)]
    refuse(unreadable, f"{folder} has file names that are not UTF-8", "rename them")
    return paths


def own_table(folder: Path, name: str) -> Path:
    """A corpus's own table, whose name may be in another case (.CSV)."""
    alike = [path for path in tables(folder) if path.name.lower() == name.lower()]
    return alike[0] if len(alike) == 1 else folder / name


def _unreadable_names(missing: Sequence[Path]) -> str:
    """Advice if the missing files may be those whose names are not UTF-8."""
    folders = {path.parent for path in missing if path.parent.is_dir()}
    entries = [entry.name for folder in folders for entry in folder.iterdir()]
    names = sorted(ascii(name) for name in entries if not is_utf8(name))
    shown = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
    return f"; file names there that are not UTF-8: {shown}: rename those" if names else ""
