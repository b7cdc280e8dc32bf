"""Files of a corpus, and tables of annotations, as tables of recordings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from lib.corpora import annotation_tables
from lib.corpora.recording_names import Names, by_suffix, is_utf8, visible
from lib.labels import SOUND


def read_table(table: Path, folder: Path) -> pd.DataFrame:
    """The recordings of an annotation table of either kind (annotation_tables), below `folder`.

    Raises UserError naming the rows that are not understood or whose file is missing.
    """
    if annotation_tables.is_ratings(table):
        frame = rated_songs(table, folder)
        columns = [*annotation_tables.RATINGS, "annotator", "group"]
    else:
        frame = annotation_tables.read_authors(table, folder)
        columns = [*annotation_tables.AUTHORS, "Arousal", "Valence", "group"]
    frame = music_table(frame, table, folder)
    annotation_tables.tell(table, columns, len(frame))
    return frame


def speech_table(folder: Path, paths: list[Path], speaker_level: int) -> pd.DataFrame:
    relative = [path.relative_to(folder) for path in paths]
    check_suffixes(paths, [path.with_suffix("") for path in paths], folder)
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


def music_table(frame: pd.DataFrame, table: Path, folder: Path) -> pd.DataFrame:
    """Check songs, quadrants and files of an annotation table; name the recordings."""
    frame = frame.copy()
    annotation_tables.check_quadrants(frame, table)
    return annotation_tables.check_files(frame, table, folder)


def sounds_by_name(folder: Path) -> dict[str, Path]:
    """The sound files in a folder by their names without suffix; UserError for two of one."""
    paths = by_suffix(folder, SOUND)
    check_suffixes(paths, [path.stem for path in paths], folder)
    return {path.stem: path for path in paths}


def check_suffixes(paths: list[Path], names: list, folder: Path) -> None:
    """Raise UserError where several sound files have one name."""
    last = dict(zip(names, paths, strict=True))
    twice = [path.name for name, path in zip(names, paths, strict=True) if last[name] != path]
    annotation_tables.refuse(
        twice, f"{folder} has sound files that differ in their suffix alone", "keep one of each"
    )


def files_at_depth(folder: Path, depth: int) -> list[Path]:
    """The sound files `depth` levels below a folder; a folder that cannot be read is an OSError,
    which pathlib's glob would pass over."""
    level = [folder]
    for _ in range(depth - 1):
        level = [entry for place in level for entry in visible(place) if entry.is_dir()]
    paths = [path for place in level for path in by_suffix(place, SOUND)]
    annotation_tables.refuse(
        [ascii(path.name) for path in paths if not is_utf8(path)],
        f"{folder} has file names that are not UTF-8",
        "rename them",
    )
    return paths


def own_table(folder: Path, name: str) -> Path:
    """A corpus's own table, whose name may be in other letters (.CSV)."""
    alike = [path for path in annotation_tables.tables(folder) if path.name.lower() == name.lower()]
    return alike[0] if len(alike) == 1 else folder / name
