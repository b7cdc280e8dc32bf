"""AISHELL-1: data_aishell/wav/<subset>/<speaker>/<recording>."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from lib.corpora.recording_names import visible
from lib.corpora.recordings import files_at_depth, speech_table
from lib.errors import UserError


def read_aishell(folder: Path) -> pd.DataFrame:
    """Raises UserError when archives of speakers are not unpacked."""
    paths = files_at_depth(folder / "wav", 3)
    archives = [path for path in visible(folder / "wav") if path.name.endswith(".tar.gz")]
    unpacked = {path.parent.name for path in paths}
    packed = [archive for archive in archives if archive.name[:-7] not in unpacked]
    if packed:
        raise UserError(
            f"AISHELL-1 in {folder / 'wav'} is still packed: {len(packed)} archives such as "
            f"{packed[0].name}; unpack them first: "
            f"cd '{folder / 'wav'}' && for f in *.tar.gz; do tar xzf $f; done"
        )
    return speech_table(folder, paths, speaker_level=2)
