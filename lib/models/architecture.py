"""Architectures in model files: parse JSON of limited size, build networks without memory."""

from __future__ import annotations

import contextlib
import json
import math
import random
from collections.abc import Iterator
from pathlib import Path

import keras
from keras.src.backend.common import global_state  # no public name for what `unallocated` clears

from lib.errors import UserError

MOST = 1 << 21  # bytes [ours]; the suite writes 0.7 MB with 100 dense layers in each place
DEEPEST = 64  # lists and objects inside each other [ours]; the suite's have 19


def check_size(size: int, path: Path) -> None:
    """Raise UserError if an architecture has too many bytes."""
    if size > MOST:
        raise UserError(
            f"{path} describes its network in {size} bytes: expected at most {MOST}; it is not a "
            "model of this suite or of the authors"
        )


def parse(text: str | bytes, path: Path) -> dict:
    """Parse the architecture in `text`; UserError, naming `path`, if it is too large to be one."""
    check_size(len(text), path)
    try:
        config = json.loads(text)
        if not isinstance(config, dict):
            raise UserError(
                f"{path} describes its network as a {type(config).__name__}: expected a JSON "
                "object; get or make the file again"
            )
        if max(depth for depth, _ in _containers(config)) > DEEPEST:
            raise RecursionError
    except RecursionError as error:
        raise UserError(
            f"{path} describes its network in more than {DEEPEST} levels: it is not a model of "
            "this suite or of the authors"
        ) from error
    return config


def objects(config: dict) -> Iterator[dict]:
    """All JSON objects in an architecture, the outermost first."""
    return (item for _, item in _containers(config) if isinstance(item, dict))


def _containers(config: dict) -> Iterator[tuple[int, dict | list]]:
    """All objects and lists, each with its level."""
    waiting = [(1, config)]
    while waiting:
        depth, item = waiting.pop()
        yield depth, item
        parts = item.values() if isinstance(item, dict) else item
        waiting += [(depth + 1, part) for part in parts if isinstance(part, (dict, list))]


@contextlib.contextmanager
def unallocated() -> Iterator[None]:
    """Networks built in this context have shapes, but their weights take no memory.

    Use them only to read shapes. Later random numbers are the same as without it.
    """
    state = random.getstate()
    try:
        with keras.StatelessScope(initialize_variables=False):
            yield
    finally:
        random.setstate(state)
        global_state.set_global_attribute("uninitialized_variables", [])


def largest_output(model: keras.Model) -> int:
    """Number of values per example in the largest tensor of a network."""
    sizes, models = [0], [model]
    while models:
        for operation in models.pop().operations:
            if isinstance(operation, keras.Model):
                models.append(operation)
            for node in operation._inbound_nodes:
                sizes += [math.prod(n for n in t.shape if n) for t in node.output_tensors]
    return max(sizes)
