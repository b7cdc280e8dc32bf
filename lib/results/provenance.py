"""The runs behind the tables of results, and whether the tables still follow from them."""

from __future__ import annotations

import csv
import hashlib
import json
import math
from collections.abc import Collection, Iterator, Mapping
from itertools import islice, zip_longest

COLUMNS = ["run", "finished", "commit", "settings", "data", "dataset", "encoder", "packages"]
COLUMNS += ["predictions"]
CLOSE = 1e-5  # the tables have six digits


def row(where: str, record: Mapping, predictions: str) -> dict:
    """A run's row of runs.csv, with COLUMNS.

    where : its directory below models_trans; record : its run.json

    settings : hash of all that decides its result except data, encoder and iteration; data : hash
    of `dataset`, which has the hash of every split; encoder : hash of the encoder it starts from;
    predictions : SHA-256 of its predictions.csv
    """
    inputs = record.get("inputs") or {}
    dropped = ("iteration", "dataset")
    settings = [without(part, dropped) for part in (inputs, record.get("parents") or {})]
    datasets, encoders = list(values_of(inputs, "dataset")), list(values_of(inputs, "encoder"))
    splits = [" ".join(f"{split}={digest}" for split, digest in d.items()) for d in datasets]
    packages = record.get("packages") or {}
    return {
        "run": where,
        "finished": record.get("finished", ""),
        "commit": record.get("commit") or "",
        "settings": _hash(settings),
        "data": _hash(datasets),
        "dataset": "; ".join(splits),
        "encoder": " ".join(dict.fromkeys(e for e in encoders if isinstance(e, str))),
        "packages": "; ".join(f"{name} {version}" for name, version in packages.items()),
        "predictions": predictions,
    }


def without(item: object, dropped: Collection[str]) -> object:
    """`item` without the keys `dropped` and the hashes of the models that a run starts from."""
    if isinstance(item, list):
        return [without(part, dropped) for part in item]
    if not isinstance(item, Mapping):
        return item
    models = {k for k in ("encoder", "feat_ext") if isinstance(item.get(k), str)}
    return {k: without(v, dropped) for k, v in item.items() if k not in {*dropped, *models}}


def values_of(item: object, key: str) -> Iterator:
    """Every value of `key`, at any depth."""
    for name, part in item.items() if isinstance(item, Mapping) else enumerate(item):
        if name == key:
            yield part
        elif isinstance(part, (Mapping, list)):
            yield from values_of(part, key)


def _hash(item: object) -> str:
    return hashlib.sha256(json.dumps(item, sort_keys=True).encode()).hexdigest()[:12]


def mismatches(name: str, old: str, new: str) -> list[str]:
    """Where the text of a file differs from the text computed again.

    For a .csv, every number that differs; for other files, the first line that differs.
    """
    if not name.endswith(".csv"):
        lines = enumerate(zip_longest(old.splitlines(), new.splitlines(), fillvalue=""), 1)
        texts = (f"{name}, line {n}: {a!r}, the runs give {b!r}" for n, (a, b) in lines if a != b)
        return list(islice(texts, 1))
    before, again = (list(csv.reader(text.splitlines())) for text in (old, new))
    if before[:1] != again[:1] or [*map(len, before)] != [*map(len, again)]:
        counts = f"{len(before) - 1} rows, the runs give {len(again) - 1}"
        return [f"{name} has {counts}, or it has other columns, or a row is cut"]
    return [
        f"{name}, {' '.join(filter(None, cells[:6]))}: {column} is {a!r}, the runs give {b!r}"
        for others, cells in zip(before[1:], again[1:], strict=True)
        for column, a, b in zip(again[0], others, cells, strict=True)
        if a != b and not _close(a, b)
    ]


def _close(a: str, b: str) -> bool:
    try:
        return math.isclose(float(a), float(b), rel_tol=CLOSE, abs_tol=CLOSE)
    except ValueError:
        return False
