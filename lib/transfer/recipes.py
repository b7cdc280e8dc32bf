"""Recipes of a nested cross-validation: read a grid from a text file, choose one of its recipes.

A grid has a recipe per line, settings as after --set; empty lines and text after # are ignored:

    # width of the heads, and how long they are trained
    heads.units=64 transfer.epochs=10
    heads.units=128 transfer.epochs=20
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from lib import configuration
from lib.artefacts.run_record import deciding_settings
from lib.configuration import Settings
from lib.errors import UserError

INNER = 3  # inner folds, of the clips that an outer fold learns from, to choose its recipe [ours]
FOREIGN = {"transfer.labels"}  # decides which clips have labels, not how they are used


@dataclass(frozen=True)
class Recipe:
    """A line of a grid; values : {section.key: value}; usual : their values without the recipe."""

    values: Mapping[str, object]
    usual: Mapping[str, object] = field(default_factory=dict, compare=False)

    def __str__(self) -> str:
        return " ".join(f"{name}={value}" for name, value in self.values.items())

    def within(self, sections: Collection[str]) -> Recipe:
        """The part of the recipe that is in these sections."""
        kept = {n: value for n, value in self.values.items() if n.split(".")[0] in sections}
        return Recipe(kept, self.usual)

    @property
    def key(self) -> str:
        """Eight hexadecimal digits that identify its changes, in any order and notation."""
        changed = {name: v for name, v in self.values.items() if self.usual.get(name) != v}
        text = json.dumps(changed, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:8]

    def applied(self, settings: Settings) -> Settings:
        """The settings, changed by the recipe."""
        changed = deepcopy(settings)
        for name, value in self.values.items():
            section, key = name.split(".")
            changed[section][key] = value
        return changed


def read_grid(path: Path, settings: Settings, sections: Collection[str]) -> tuple[Recipe, ...]:
    """The recipes of a grid file, in its order.

    sections : of the settings that decide the runs; a recipe may change only these

    Raises UserError naming the line that is not a recipe, or repeats a recipe above it.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise UserError(f"--nested {path} cannot be read: {error}") from error
    names = {f"{section}.{key}" for section in sections for key in settings[section]} - FOREIGN
    costs = settings["training"].keys() - deciding_settings(settings["training"])
    names -= {f"training.{key}" for key in costs}
    recipes: dict[str, Recipe] = {}
    for number, line in enumerate(lines, 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        try:
            recipe = _recipe(words, settings, names)
        except UserError as error:
            raise UserError(f"{path}, line {number}: {error}") from error
        if recipe.key in recipes:
            raise UserError(f"{path}, line {number}: the recipe {recipe} occurs twice")
        recipes[recipe.key] = recipe
    if len(recipes) < 2:
        raise UserError(
            f"{path} has {len(recipes)} recipes, so there is nothing to choose: expected two lines "
            "or more, such as heads.units=64 transfer.epochs=10"
        )
    return tuple(recipes.values())


def _recipe(words: Sequence[str], settings: Settings, names: Collection[str]) -> Recipe:
    """The recipe in the words of a line; `names` are the settings that it may change."""
    changed, values, usual = deepcopy(settings), {}, {}
    for word in words:
        name = word.partition("=")[0]
        if name not in names:
            listed = "\n  ".join(sorted(names))
            raise UserError(f"{word} changes nothing in these runs: expected one of\n  {listed}")
        configuration.override(changed, word)
        section, key = name.split(".")
        values[name], usual[name] = changed[section][key], settings[section][key]
    configuration.check(changed)
    return Recipe(values, usual)


def choose(recipes: Sequence[Recipe], scores: Sequence[Sequence[float]]) -> pd.DataFrame:
    """The choice of a fold: a row per recipe with its mean score, whether it is chosen (the highest
    mean, the first of equal ones), and its score on each inner fold.

    scores : for each recipe and each inner fold, macro F1 of the quadrants per clip
    """
    table = pd.DataFrame(scores, columns=[f"inner_{n}" for n in range(1, len(scores[0]) + 1)])
    mean = table.mean(axis=1)
    about = {"recipe": list(map(str, recipes)), "macro_f1": mean}
    about["chosen"] = np.arange(len(table)) == mean.argmax()
    return pd.DataFrame(about).join(table)
