"""4Q-Emotion: Q1 … Q4/<song> with the annotations beside (Panda 2018)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from lib.corpora import annotation_tables
from lib.corpora.recording_names import Names
from lib.corpora.recordings import music_table, own_table, sounds_by_name


def read_four_quadrants(folder: Path) -> pd.DataFrame:
    """4Q-Emotion: Q1 … Q4/<song>.mp3 with the annotations beside (Panda 2018)."""
    table = own_table(folder, "panda_dataset_taffc_annotations.csv")
    frame = annotation_tables.read_named(table, ["Song", "Quadrant"])
    annotation_tables.require(frame, ["Song", "Quadrant"], table)
    frame = frame.rename(columns={"Song": "song", "Quadrant": "quadrant"})
    metadata = own_table(folder, "panda_dataset_taffc_metadata.csv")
    frame["group"] = ""
    if metadata.is_file():
        artists = annotation_tables.read_named(metadata, ["Song", "Artist"])
        annotation_tables.require(artists, ["Song", "Artist"], metadata)
        artist = artists.drop_duplicates(["Song", "Artist"]).set_index("Song")["Artist"]
        twice = artist.index[artist.index.duplicated()]
        annotation_tables.refuse(list(twice), f"{metadata} gives songs two artists", "keep one")
        frame["group"] = frame["song"].map(artist)
    quadrants = frame["quadrant"].str.upper()
    folders = sorted(path for path in folder.glob("Q[1-4]") if path.is_dir())
    sounds = {path.name: sounds_by_name(path) for path in folders}
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
    frame = music_table(frame, table, folder)
    annotation_tables.tell(table, ["Song", "Quadrant"], len(frame))
    return frame
