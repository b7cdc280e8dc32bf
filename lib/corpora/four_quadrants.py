"""4Q-Emotion: Q1 … Q4/<song>, and the annotations next to them (Panda 2018)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from lib.corpora.annotation_tables import tell
from lib.corpora.csv_tables import read_named, refuse
from lib.corpora.recording_names import Names
from lib.corpora.recordings import music_table, own_table, sounds_by_name


def read_four_quadrants(folder: Path) -> pd.DataFrame:
    """A song in the folder of another quadrant has the quadrant of its annotation."""
    table = own_table(folder, "panda_dataset_taffc_annotations.csv")
    frame = read_named(table, ["Song", "Quadrant"])
    frame = frame.rename(columns={"Song": "song", "Quadrant": "quadrant"})
    artists = _artists(folder)
    frame["group"] = [artists.get(song, "") for song in frame["song"]]
    quadrants = frame["quadrant"].str.upper()
    folders = sorted(path for path in folder.glob("Q[1-4]") if path.is_dir())
    sounds = {path.name: sounds_by_name(path) for path in folders}
    elsewhere = {stem: path for paths in sounds.values() for stem, path in paths.items()}
    names = Names(elsewhere, folder)
    stems = [names.find(song) or song for song in frame["song"]]
    frame["path"] = [
        sounds.get(quadrant, {}).get(stem) or elsewhere.get(stem, folder / quadrant / f"{stem}.mp3")
        for stem, quadrant in zip(stems, quadrants, strict=True)
    ]
    moved = sum(p.parent.name != q for p, q in zip(frame["path"], quadrants, strict=True))
    if moved:
        print(f"{moved} songs lie in the folder of another quadrant: their annotation is used")
    frame["arousal"] = frame["valence"] = np.nan
    frame = music_table(frame, table, folder)
    tell(table, ["Song", "Quadrant"], len(frame))
    return frame


def _artists(folder: Path) -> dict[str, str]:
    """Artist by song; empty if there is no table of metadata."""
    table = own_table(folder, "panda_dataset_taffc_metadata.csv")
    if not table.is_file():
        return {}
    rows = read_named(table, ["Song", "Artist"])[["Song", "Artist"]].drop_duplicates()
    twice = rows.loc[rows["Song"].duplicated(), "Song"]
    refuse(twice, f"{table} gives songs two artists", "keep one")
    return dict(rows.itertuples(index=False))
