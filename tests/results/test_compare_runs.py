"""The comparison of runs on the same clips, by their predictions alone."""

import re
import sys

import pytest
from conftest import ROOT, predictions

sys.path.insert(0, str(ROOT / "benchmarks"))

import compare_runs


@pytest.fixture
def run(tmp_path):
    """Makes a run of which the share `right` is told rightly."""

    def make(name, right, **kwargs):
        folder = tmp_path / name
        folder.mkdir()
        predictions(right, **kwargs).to_csv(folder / "predictions.csv", index=False)
        return str(folder)

    return make


def test_a_better_run_is_told_from_the_first_and_the_same_one_is_not(run, capsys):
    line = [run("first", 0.5, clips=200), run("same", 0.5, clips=200)]
    assert compare_runs.main([*line, run("better", 0.9, clips=200)]) == 0
    printed = capsys.readouterr().out
    found = re.findall(r"quadrants +(\S+) \[(\S+), (\S+)\](?:  (\S+) \[(\S+), (\S+)\])?", printed)
    first, same, better = [[float(v) if v else None for v in row] for row in found]
    assert first[3] is None and first[1] < first[0] < first[2]
    assert same[3:] == [0, 0, 0] and 0 < better[4] < better[3] < better[5]
    assert better[3] == pytest.approx(better[0] - first[0], abs=0.0011)


def test_other_clips_are_refused(run, capsys):
    assert compare_runs.main([run("a", 0.5, clips=40), run("b", 0.5, clips=36)]) == 2
    assert "has other clips than" in capsys.readouterr().err
