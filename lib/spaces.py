"""What tune.py may search, and over which values. Imports nothing heavy."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import NamedTuple

from lib import artefacts, config
from lib.config import Settings
from lib.errors import UserError
from lib.registry import BASELINES, DENOISERS, PREDICTIVE, PROBE, SECTIONS


class Stage(NamedTuple):
    """A stage that can be tuned, and its values of -mod."""

    models: tuple[str, ...]
    transfer: bool = False

    @property
    def epochs(self) -> tuple[str, ...]:
        """The sections that --epochs speaks of."""
        return ("transfer", "release") if self.transfer else ("pretrain",)

    def sections(self, model: str) -> tuple[str, ...]:
        """The sections that a model is trained with, first the one with the learning rate."""
        if self.transfer:
            return ("transfer", "heads", "network", "augment", "training")
        return ("pretrain", *SECTIONS[model], "network", "training")

    def searched(self, model: str, release: bool) -> tuple[str, ...]:
        """Those of them that can be searched.

        What changes the frozen step cannot be searched with the released one, which starts from it.
        """
        return ("release",) if release else self.sections(model)


STAGES = {
    "pretrain_denoise": Stage(DENOISERS),
    "pretrain_cpc": Stage(PREDICTIVE),
    "trans_train_denoise_multi": Stage(
        tuple(m for m in (*DENOISERS, *BASELINES) if m != PROBE), transfer=True
    ),
    "trans_train_cpc_multi": Stage(PREDICTIVE, transfer=True),
}
# searched unless --search says otherwise [ours]: what the paper and the released code use, rates of
# 5e-5 to 1e-3 and decays of 4e-6 and 1e-4, lies well inside
DEFAULT = {"learning_rate": "1e-5:1e-2", "decay": "1e-7:1e-3"}
WIDE = 100  # HIGH / LOW from which a range is searched on a logarithmic scale [ours]
MEASURE = (  # change what the loss measures
    *("scae.noise", "cpc.past", "cpc.future", "cpc.negatives"),
    *("nce.stretch", "nce.steps", "mask.mel", "mask.frames", "mask.share", "mask.noise"),
    "transfer.labels",
)


def read(
    items: Iterable[str], settings: Settings, sections: tuple[str, ...], fixed: Iterable[str] = ()
) -> dict[str, dict]:
    """The space of `--search` items: {setting: {"low", "high", "log"} or {"choices"}}.

    Parameters
    ----------
    items : "section.key=low:high" or "section.key=a,b,c"; none for learning rate and decay
    settings : all of them
    sections : as of Stage.searched
    fixed : the items of `--set`

    Raises UserError for values that are not legal, and for what cannot be searched.
    """
    fixed = {item.partition("=")[0].strip() for item in fixed}
    space = {}
    for item in items or [f"{sections[0]}.{key}={text}" for key, text in DEFAULT.items()]:
        name, _, text = (part.strip() for part in item.partition("="))
        _check_name(name, item, settings, sections)
        if name in fixed or name in space:
            raise UserError(f"{name} is given twice: leave out one --search or --set of it")
        space[name] = _values(name, text, item, settings)
    return space


def _check_name(name: str, item: str, settings: Settings, sections: tuple[str, ...]) -> None:
    legal = []
    for known in config.LEGAL:
        section, key = known.split(".")
        costs = section == "training" and key not in artefacts.decisive(settings[section])
        other = known in MEASURE or key in ("epochs", "encoder_iteration")
        if section in sections and not costs and not other:
            legal.append(known)
    if name in legal:
        return
    why = "expected SECTION.KEY=LOW:HIGH or SECTION.KEY=a,b,c"
    if name in MEASURE or name.startswith("features."):
        why = f"{name} changes what the loss measures, and such losses cannot be compared"
    elif name.endswith(".epochs"):
        why = "more epochs are never worse, since the best one counts; --epochs sets them"
    elif name in config.LEGAL:
        why = f"{name} is not a setting by which this step is trained"
    raise UserError(f"--search {item}: {why}. What can be searched:\n  " + "\n  ".join(legal))


def _values(name: str, text: str, item: str, settings: Settings) -> dict:
    section, key = name.split(".")
    ranged = ":" in text
    values = []
    for value in text.split(":" if ranged else ","):
        tried = copy.deepcopy(settings)
        config.override(tried, f"{name}={value}")  # says what is not legal
        values.append(tried[section][key])
    if not ranged and len(set(values)) == len(values) > 1:
        return {"choices": values}
    numeric = config.LEGAL[name].kind in (int, float)
    if not (ranged and numeric and len(values) == 2 and values[0] < values[1]):
        how = "LOW:HIGH (LOW below HIGH) or a,b,c (all different)" if numeric else "true,false"
        raise UserError(f"--search {item}: expected {name}={how}")
    low, high = values
    log = key in DEFAULT or (low > 0 and high / low >= WIDE)
    if log and low <= 0:
        raise UserError(f"--search {item}: the scale is logarithmic, so LOW must be above 0")
    return {"low": low, "high": high, "log": log}
