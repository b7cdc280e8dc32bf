"""Architectures in model files: JSON whose size is checked, networks that take no memory."""

from __future__ import annotations

import contextlib
import json
import math
import random
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from lib.errors import UserError

if TYPE_CHECKING:
    import keras

MOST = 1 << 21  # bytes [ours]; with 100 dense layers in each place the suite writes 0.7 MB
DEEPEST = 64  # lists and objects inside each other [ours]; the suite's have 19


def parse(text: str | bytes, path: Path) -> dict:
    """The architecture in `text`; UserError, naming `path`, where it is too large to be one."""
    if len(text) > MOST:
        raise too_large(len(text), path)
    try:
        config = json.loads(text)
        depth = _depth(config)
    except RecursionError:
        config, depth = {}, math.inf
    if depth > DEEPEST:
        raise UserError(
            f"{path} describes its network in more than {DEEPEST} levels: it is no model of this "
            "suite or of the authors'"
        )
    if not isinstance(config, dict):
        raise UserError(
            f"{path} describes its network by a {type(config).__name__}: expected a JSON object; "
            "get or make the file again"
        )
    return config


def too_large(size: int, path: Path) -> UserError:
    """What to say of an architecture of `size` bytes, more than MOST."""
    return UserError(
        f"{path} describes its network in {size} bytes: expected at most {MOST}; it is no model of "
        "this suite or of the authors'"
    )


def objects(config: object) -> Iterator[dict]:
    """All JSON objects in an architecture, the outermost first."""
    waiting = [config]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            yield item
            waiting += item.values()
        elif isinstance(item, list):
            waiting += item


@contextlib.contextmanager
def unallocated() -> Iterator[None]:
    """Networks that are built in here know their shapes, and their weights take no memory.

    They are of no use but for their shapes. The random numbers of what is built later are the same
    as without.
    """
    import keras
    from keras.src.backend.common import global_state  # no public name for what is left over

    state = random.getstate()
    try:
        with keras.StatelessScope(initialize_variables=False):
            yield
    finally:
        random.setstate(state)
        global_state.set_global_attribute("uninitialized_variables", [])


def largest_output(model: keras.Model) -> int:
    """Numbers per example of the largest tensor in a network."""
    import keras

    sizes, models = [0], [model]
    while models:
        for operation in models.pop().operations:
            if isinstance(operation, keras.Model):
                models.append(operation)
            for node in operation._inbound_nodes:
                sizes += [math.prod(n for n in t.shape if n) for t in node.output_tensors]
    return max(sizes)


def _depth(config: object) -> int:
    level, depth = [config], 0
    while level:
        parts = [item.values() if isinstance(item, Mapping) else item for item in level]
        level = [part for inside in parts for part in inside if isinstance(part, (dict, list))]
        depth += 1
    return depth
