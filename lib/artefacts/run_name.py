"""Write and parse the names of run directories. No other module does this.

    <path_to_models>/models/speech/{english,mandarin,mix}/<model>.it_<n>/
    <path_to_models>/models/music/{english,mandarin}/<model>[.[artist_]folds_<k>].it_<n>/[fold_<i>/]
    <path_to_models>/models_trans/speech_{eng,man,mix,own,none,codes}_2_music_{eng,man}/
        <model>[.{feat_ext,full,probe}][.<tag>][.[artist_]folds_<k>[_nested]].it_<n>/[fold_<i>/]

In a nested cross-validation, fold_<i>/inner_<j>/recipe_<key>/ is a recipe on an inner fold, and
fold_<i>/recipe_<key>/ is the frozen step of the recipe from which the fold's released run starts.

speech_own: pretrained on the music itself, without its labels; speech_none: from random weights;
speech_codes: on codes from a file; their name replaces that of the model.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

from lib.configuration import TAG
from lib.labels import LANGUAGES, SHORT_NAMES

PRETRAINING = "models/{kind}/{language}/{model}{folds}.it_{iteration}"
TRANSFER = "models_trans/speech_{speech}_2_music_{music}/{model}{mode}{tag}{folds}.it_{iteration}"
_NAMED = {
    "model": r"(?P<model>\w+)",
    "folds": r"(?:\.(?P<folds>(?:artist_)?folds_[1-9]\d*(?:_nested)?))?",
    "iteration": r"(?P<iteration>0|[1-9]\d*)(?:/fold_(?P<fold>[1-9]\d*)"
    r"(?:(?:/inner_(?P<inner>[1-9]\d*))?/recipe_(?P<recipe>[0-9a-f]{8}))?)?",
    "kind": "(?P<kind>speech|music)",
    "language": f"(?P<language>{'|'.join(LANGUAGES.values())})",
    "speech": f"(?P<speech>{'|'.join(SHORT_NAMES.values())})",
    "music": "(?P<music>eng|man)",
    "mode": r"(?:\.(?P<mode>feat_ext|full|probe))?",
    "tag": rf"(?:\.(?P<tag>{TAG}))?",
}
_PATTERNS = [
    re.compile("(?:.*/)?" + template.replace(".", r"\.").format(**_NAMED))
    for template in (PRETRAINING, TRANSFER)
]
LETTERS = {name: letter for names in (LANGUAGES, SHORT_NAMES) for letter, name in names.items()}


@dataclass(frozen=True)
class RunName:
    """The name of a run, as in its directory.

    model     : name of the encoder, or of codes from a file
    mode      : "pretrain"; of a transfer "feat_ext", "full", "scratch" or "probe"
    speech    : data that the encoder was trained on, a letter of lib.labels.SHORT_NAMES; "": music
    music     : letter of the music; "": a pretraining on speech
    iteration : from 0
    tag       : of a transfer, setting run.tag
    folds     : of a cross-validation "folds_3" or "artist_folds_3"; "…_nested" if it is nested
    fold      : number of one fold, from 1; None: all folds, or no cross-validation
    inner     : number of an inner fold, from 1; None: the fold itself
    recipe    : key of a recipe; "": the chosen recipe, or there is no choice
    """

    model: str
    mode: str
    speech: str = ""
    music: str = ""
    iteration: int = 0
    tag: str = ""
    folds: str = ""
    fold: int | None = None
    inner: int | None = None
    recipe: str = ""

    def __str__(self) -> str:
        """The directory, below <path_to_models>."""
        folds = f".{self.folds}" if self.folds else ""
        names = {"model": self.model, "folds": folds, "iteration": self.iteration}
        if self.mode == "pretrain":
            kind = "speech" if self.speech else "music"
            language = LANGUAGES[self.speech or self.music]
            name = PRETRAINING.format(kind=kind, language=language, **names)
        else:
            mode = "" if self.mode == "scratch" else f".{self.mode}"
            tag = f".{self.tag}" if self.tag else ""
            pair = {"speech": SHORT_NAMES[self.speech], "music": SHORT_NAMES[self.music]}
            name = TRANSFER.format(**pair, mode=mode, tag=tag, **names)
        parts = {"fold": self.fold, "inner": self.inner, "recipe": self.recipe}
        return "/".join([name, *(f"{part}_{value}" for part, value in parts.items() if value)])

    def path(self, models: str | Path) -> Path:
        """The directory; `models` is <path_to_models>."""
        return Path(models) / str(self)

    def of_fold(self, number: int | None) -> RunName:
        """The name of the same run for one fold."""
        return replace(self, fold=number, inner=None, recipe="")

    @property
    def nested(self) -> bool:
        """Whether the recipe was chosen on inner folds; always for a probe, whose C is."""
        return self.mode == "probe" or self.folds.endswith("_nested")

    @property
    def title(self) -> str:
        """The name of the run in figures and reports."""
        whole = ", ".join(str(self.of_fold(None)).split("/")[1:])
        parts = {"fold": self.fold, "inner fold": self.inner, "recipe": self.recipe}
        return ", ".join([whole, *(f"{part} {value}" for part, value in parts.items() if value)])

    @classmethod
    def parse(cls, path: str | Path) -> RunName | None:
        """Parse the path of a directory; None if it does not name a run."""
        for pattern in _PATTERNS:
            match = pattern.fullmatch(Path(path).as_posix())
            if match:
                break
        else:
            return None
        parts = {key: value or "" for key, value in match.groupdict().items()}
        kind, fold, inner = (parts.pop(key, None) for key in ("kind", "fold", "inner"))
        if kind:
            parts |= {"mode": "pretrain", kind: parts.pop("language")}
        for key in ("speech", "music"):
            parts[key] = LETTERS.get(parts.get(key), "")
        parts["mode"] = parts["mode"] or "scratch"
        number = int(parts.pop("iteration"))
        fold, inner = (int(text) if text else None for text in (fold, inner))
        return cls(**parts, iteration=number, fold=fold, inner=inner)


def transfers(models: Path) -> list[Path]:
    """Everything in the folders of transfer runs, including what is not named as a run."""
    return sorted((models / "models_trans").glob("speech_*_2_music_*/[!.]*"))


def pretrainings(models: Path) -> list[Path]:
    """The directories of pretraining runs, finished or not."""
    return sorted(run for run in (models / "models").glob("*/*/[!.]*") if RunName.parse(run))


def folds_of(run: Path) -> list[Path]:
    """The directories of the folds of a cross-validation, by number."""
    folds = [path for path in run.glob("fold_*") if re.fullmatch(r"fold_\d+", path.name)]
    return sorted(folds, key=lambda path: int(path.name.removeprefix("fold_")))


def only_prepares(run: Path) -> bool:
    """Whether a directory has no run of its own, only the frozen steps of nested released runs."""
    own = any((part / "run.json").is_file() for part in (run, *folds_of(run)))
    return not own and any(run.glob("fold_*/recipe_*"))


def iterations_of(run: Path) -> list[Path]:
    """All iterations of a run or of an authors' file; empty if `run` is neither."""
    name = re.fullmatch(r"(.+\.it_)\d+(\..+)?", run.name)
    if name is None or not run.exists():
        return []
    same = re.compile(re.escape(name[1]) + r"\d+" + re.escape(name[2] or ""))
    return sorted(path for path in run.parent.iterdir() if same.fullmatch(path.name))
