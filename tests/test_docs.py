"""The pages: links lead somewhere, and no line names a script, a flag, a setting or a target that
is gone."""

import functools
import re
import subprocess
import sys

import pytest
from conftest import ROOT

from lib import configuration

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
PAGES += [ROOT / "models_trans/shipped/README.md"]
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]


def lines(text):
    """The command lines of a page, those that go on after a backslash joined."""
    blocks = re.findall(r"(?m)^(?:    .*\n)+", text) + re.findall(r"(?s)```\w*\n(.*?)```", text)
    for block in blocks:
        yield from re.sub(r"\\\n\s*", " ", block).splitlines()


def commands(text):
    """(script, its words) of every line of a page that runs a script of the suite."""
    for line in lines(text):
        line = re.sub(r'^\s*line="([a-z_]+\.py .*)"$', r"python3 \1", line)
        for part in re.split(r"&&|\|\||;|\s\|\s", re.sub(r"\$\(.*?\)", "", line)):
            match = re.search(r"python3 ([\w/]+\.py)\b(.*)", part)
            if match:
                yield match[1], re.split(r"\s{2,}|\s#", match[2].strip())[0].split()


@functools.cache
def help_of(script):
    line = [sys.executable, script, "--help"]
    return subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def anchors(page):
    heads = re.findall(r"(?m)^#+ (.*)$", page.read_text(encoding="utf-8"))
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_links_lead_somewhere(page):
    text = page.read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, anchor = link.partition("#")
        if "://" in link:
            continue
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_flag_and_setting_of_a_page_exists(page):
    text = page.read_text(encoding="utf-8")
    for script, words in commands(text):
        flags = [word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)]
        assert (ROOT / script).is_file(), script
        known = re.findall(r"(?<![\w-])--?[a-z][\w-]*", help_of(script))
        assert set(flags) <= set(known), script
    for name, value in re.findall(r"--set[ =](?!section)([a-z_]+\.[a-z_]+)=([^\s`\"\\]+)", text):
        legal = configuration.LEGAL[name]
        assert legal.holds(configuration.typed(name, value)), (name, value)


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_file_and_target_of_a_page_exists(page):
    text = page.read_text(encoding="utf-8")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.search(r"\.PHONY: (.*)", makefile)[1].split())
    for line in lines(text):
        for target in re.findall(r"(?:^|\s)make ([a-z][a-z0-9-]*)", line.partition("#")[0]):
            assert target in targets, target
    folders = "lib|docs|benchmarks|profiles|requirements|tests"
    for path in re.findall(rf"`((?:{folders})/[\w./]+)`", text):
        assert (ROOT / path).exists(), path


def test_no_page_is_long():
    for page in PAGES:
        assert len(page.read_text(encoding="utf-8").splitlines()) <= 250, page
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150
