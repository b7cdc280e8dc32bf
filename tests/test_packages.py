"""The lock file is one choice of what requirements.txt allows."""

import re

import pytest
from conftest import ROOT
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


def requirements(name, ending=r"(\s*\\)?$"):
    lines = (ROOT / name).read_text().splitlines()
    return [Requirement(re.sub(ending, "", s.split("#")[0])) for s in lines if s[:1].isalpha()]


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
def test_the_lock_file_fixes_every_package_within_its_range(python):
    about = {"python_version": python, "python_full_version": f"{python}.1"}
    locked = {}
    for one in requirements("requirements/lock.txt"):
        if one.marker is None or one.marker.evaluate(about):
            assert locked.setdefault(canonicalize_name(one.name), one) is one, one
    for asked in requirements("requirements.txt") + requirements("requirements/predict.txt"):
        version = next(iter(locked[canonicalize_name(asked.name)].specifier)).version
        assert asked.specifier.contains(version), (asked, version)
    text = (ROOT / "requirements/lock.txt").read_text()
    assert len(re.findall(r"^\S+==.*\\\n +--hash=sha256:", text, re.MULTILINE)) >= len(locked) > 50
