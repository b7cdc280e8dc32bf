"""Names and places of runs and data sets.

    <path_to_data>/features/{speech,music}/{english,mandarin,mix}/{train,val,test}_dataset.h5
    <path_to_models>/models/speech/{english,mandarin,mix}/<model>.it_<n>/
    <path_to_models>/models/music/{english,mandarin}/<model>[.[artist_]folds_<k>].it_<n>/[fold_<i>/]
    <path_to_models>/models_trans/speech_{eng,man,mix,own,none}_2_music_{eng,man}/
        <model>[.feat_ext|.full][.<tag>].it_<n>/
        <model>[.feat_ext|.full][.<tag>].[artist_]folds_<k>.it_<n>/fold_<i>/     (cross-validation)

speech_own: pretrained on the music itself, without its labels; speech_none: from random weights.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from lib.configuration import TAG
from lib.labels import LANGUAGES, SHORT

if TYPE_CHECKING:
    pass


RUN = re.compile(  # <pair>/<name> of a transfer: speech, music, model, mode, tag, folds, iteration
    r"speech_(eng|man|mix|own|none)_2_music_(eng|man)/(\w+)(?:\.(feat_ext|full|probe))?"
    rf"(?:\.({TAG}))?(?:\.((?:artist_)?folds_[1-9]\d*))?\.it_(0|[1-9]\d*)"
)


def pretraining_run(
    models: str | Path,
    language: str,
    model: str,
    iteration: int,
    kind: str = "speech",
    folds: str = "",
) -> Path:
    """Run directory of a pretraining; `kind` is "speech" or "music", `folds` as of transfer_run."""
    name = ".".join(part for part in (model, folds, f"it_{iteration}") if part)
    return Path(models) / "models" / kind / LANGUAGES[language] / name


def transfer_run(
    models: str | Path,
    speech: str | None,
    music: str,
    model: str,
    mode: str,
    iteration: int,
    folds: str = "",
    tag: str = "",
) -> Path:
    """Run directory of a transfer; mode "scratch" where all is trained from random weights.

    folds : of a cross-validation, as of lib.datasets.folds.Folds.name; tag : setting run.tag
    """
    pair = f"speech_{SHORT[speech or 'n']}_2_music_{SHORT[music]}"
    parts = [model, "" if mode == "scratch" else mode, tag, folds, f"it_{iteration}"]
    return Path(models) / "models_trans" / pair / ".".join(part for part in parts if part)
