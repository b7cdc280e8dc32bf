"""The floors of lib/: a module imports from its own package and from lower floors, in no circle.

All imports are read, those inside functions too, and the strings that name a module of lib.
"""

import ast
import re
from graphlib import CycleError, TopologicalSorter

from conftest import ROOT

FLOORS = (  # a name that ends in "/" is a package, any other a file of lib/ itself
    {"errors", "console", "configuration", "labels", "keras_backend", "seeds", "plain_hdf5"},
    {"artefacts/"},
    {"corpora/", "features/", "models/", "evaluation/", "figures/"},
    {"datasets/"},
    {"training/"},
    {"embedding/", "pretraining/", "transfer/", "prediction/", "results/"},
    {"experiments/"},
    {"command_line/", "legacy"},
)
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts): path
    for path in sorted((ROOT / "lib").rglob("*.py"))
    if path.name != "__init__.py"
}


def place(module):
    """The package of a module, or its own name for a file of lib/ itself."""
    parts = module.split(".")
    return f"{parts[1]}/" if len(parts) > 2 else parts[1]


def imported(path):
    """The modules of lib that a file names: in imports, and in strings."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from re.findall(r"^lib(?:\.\w+)+$", node.value)


def arrows():
    """{module: the modules of lib that it names}"""
    return {name: (set(imported(path)) & MODULES.keys()) - {name} for name, path in MODULES.items()}


def wrong_arrows(graph):
    """The arrows that do not lead down: between packages of one floor, and upwards."""
    floor = {name: number for number, names in enumerate(FLOORS) for name in names}
    return [
        f"{module} (floor {floor[a]}) imports {other} (floor {floor[b]})"
        for module, others in graph.items()
        for other in sorted(others)
        for a, b in [(place(module), place(other))]
        if a != b and not (floor[a] > floor[b] or floor[a] == floor[b] == 0)
    ]


def test_every_module_has_a_floor():
    assert {place(module) for module in MODULES} == set().union(*FLOORS)


def test_no_package_imports_from_its_own_floor_or_a_higher_one():
    assert wrong_arrows(arrows()) == []


def test_no_module_is_imported_in_a_circle():
    try:
        TopologicalSorter(arrows()).prepare()
    except CycleError as error:
        raise AssertionError(" imports ".join(reversed(error.args[1]))) from None


def test_a_wrong_arrow_is_named():
    up = {"lib.models.scae": {"lib.training.fit"}}
    beside = {"lib.transfer.transfer_job": {"lib.results.table2"}}
    down = {"lib.training.fit": {"lib.models.scae", "lib.errors"}, "lib.errors": {"lib.console"}}
    assert wrong_arrows(up) == ["lib.models.scae (floor 2) imports lib.training.fit (floor 4)"]
    assert len(wrong_arrows(beside)) == 1 and wrong_arrows(down) == []
