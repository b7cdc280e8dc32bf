"""Tables of annotations: whatever stands in them, a right reading or one clear error."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from lib import annotations, corpora
from lib.errors import UserError
from lib.registry import QUADRANTS

SONGS = ("a", "b", "歌", "d e")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus") / "CH818"
    folder.mkdir()
    for song in SONGS:
        (folder / f"{song}.mp3").write_bytes(b"")
    return folder


def read(folder, content):
    table = folder.parent / "table.csv"
    table.write_bytes(content)
    return corpora.read_table(table, folder)


CELLS = st.one_of(
    st.sampled_from([f"./{s}.mp3" for s in SONGS] + [f"{s}.mp3" for s in SONGS]),
    st.sampled_from(["Q1", "q2", " Q3 ", "Q4", "Q5", "", "NaN", "null", "1e400", "-0", "0x1", "½"]),
    st.sampled_from(["../../etc/passwd", "/etc/passwd", "..", ".", "a\0b", "x" * 300, "~", "con"]),
    st.floats().map(str),
    st.text(max_size=8),
)
HEADERS = st.lists(
    st.sampled_from(
        ["Songs", "Quads", "Arousal", "Valence", "song", "arousal", "valence", "annotator"]
        + ["group", "quadrant", "", " Songs"]
    ),
    max_size=6,
)


@hypothesis_settings(
    deadline=None, max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(header=HEADERS, rows=st.lists(st.lists(CELLS, max_size=7), max_size=6), data=st.data())
def test_any_table_is_read_or_refused(folder, header, rows, data):
    ends = data.draw(st.sampled_from(["\n", "\r\n", "\r"]))
    text = ends.join([",".join(header), *(",".join(row) for row in rows)])
    encoding = data.draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "latin-1"]))
    check(folder, text.encode(encoding, "replace"))


@hypothesis_settings(
    deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(content=st.binary(max_size=200), mixed=st.booleans())
def test_any_bytes_are_read_or_refused(folder, content, mixed):
    check(folder, b"Songs,Quads\n./a.mp3,Q1\n" + content if mixed else content)


def check(folder, content):
    try:
        table = read(folder, content)
    except UserError:
        return
    assert table["quadrant"].isin(QUADRANTS).all()
    assert table["recording"].is_unique
    for path in table["path"]:
        assert Path(path).resolve().parent == folder.resolve()


@hypothesis_settings(
    deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    quadrants=st.lists(st.sampled_from(["Q1", "q2", "Q3", "q4"]), min_size=4, max_size=4),
    ends=st.sampled_from(["\n", "\r\n"]),
    mark=st.booleans(),
    space=st.sampled_from(["", " ", "  "]),
    dot=st.booleans(),
)
def test_a_right_table_is_read_rightly(folder, quadrants, ends, mark, space, dot):
    rows = [
        f"{'./' if dot else ''}{song}.mp3{space},{space}{quadrant}"
        for song, quadrant in zip(SONGS, quadrants, strict=True)
    ]
    text = ends.join([f"Songs,{space}Quads", *rows, ""])
    table = read(folder, text.encode("utf-8-sig" if mark else "utf-8"))
    found = dict(zip(table["recording"], table["quadrant"], strict=True))
    assert found == dict(zip(SONGS, [q.upper() for q in quadrants], strict=True))


def test_ratings_with_groups_in_any_table(folder):
    text = "song,arousal,valence,group\na,1,1,x\na.mp3,3,-5,\nb,-1,1,y\n歌,-2,-2,x\nd e,4,-1,\n"
    table = read(folder, text.encode()).set_index("recording")
    assert table["quadrant"].to_dict() == {"a": "Q2", "b": "Q4", "歌": "Q3", "d e": "Q2"}
    assert table["group"].to_dict() == {"a": "x", "b": "y", "歌": "x", "d e": ""}
    assert table.loc["a", ["arousal", "valence"]].tolist() == [2, -2]


@pytest.mark.parametrize(
    "text, message",
    [
        (
            "song,annotator,arousal,valence\na,1,1,1\na,1,-2,1\n",
            "more than one rating .*row 3: a, 1",
        ),
        ("Songs,Quads\n./d, e.mp3,Q2\n", "more cells than columns: row 2: ./d;.*double quotes"),
        ('Songs,Quads\n./a.mp3,Q1\n./b.mp3,"Q2\n./d e.mp3,Q3\n', "not a table in CSV"),
        ("song,annotator,arousal,valence,group\na,1,1,1,x\na,2,1,1,y\n", "more than one group: a"),
        ("song,arousal,valence\na,1e308,1\n", "not numbers: row 2: 1e308"),
        ("song,arousal,valence\na,inf,1\n", "not numbers: row 2: inf"),
        ("song,arousal,valence\na,,1\n", "not numbers: row 2: "),
        ("song,arousal,valence\nx,1,1\na,-1,-1\n", "1 of 2 files that are not there"),
        ("Songs,Quads\n./a.mp3,Q1\n./nope/../b.mp3,Q2\n./a.mp3,Q1\n", "more than once: ./a.mp3"),
    ],
)
def test_bad_ratings_are_named(folder, text, message):
    with pytest.raises(UserError, match=message):
        read(folder, text.encode())


def test_songs_that_differ_in_their_suffix_alone_are_refused(tmp_path):
    for name in ("a.mp3", "a.wav"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(UserError, match="differ in their suffix alone: a.wav"):
        read(tmp_path, b"Songs,Quads\na.mp3,Q1\na.wav,Q1\n")


def test_labels_of_processed_files(tmp_path):
    assert annotations.read_labels(tmp_path, needed=False) is None
    with pytest.raises(UserError, match="no annotation table"):
        annotations.read_labels(tmp_path, needed=True)
    (tmp_path / "t.csv").write_text("Songs,Quads,Arousal\n./x/a.mp3,q1,3\n./b.mp3,Q3,-1\n")
    labels = annotations.read_labels(tmp_path, needed=True)
    assert labels["recording"].tolist() == ["x/a", "b"]
    assert labels["quadrant"].tolist() == ["Q1", "Q3"]
    assert labels["arousal"].tolist() == [3, -1] and np.isnan(labels["valence"]).all()
    assert isinstance(labels, pd.DataFrame)


def test_two_sound_files_of_a_rated_song_are_refused(tmp_path):
    for name in ("a.mp3", "a.wav"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(UserError, match="differ in their suffix alone: a.mp3"):
        read(tmp_path, b"song,arousal,valence\na,1,1\nb,-1,-1\n")


def test_of_a_table_of_both_kinds_the_quadrants_count(folder):
    table = read(folder, b"Songs,Quads,song,arousal,valence\n./a.mp3,Q1,a,-1,1\n")
    assert table["quadrant"].tolist() == ["Q1"]


def test_links_are_the_users_own_and_climbing_is_not(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "x.mp3").write_bytes(b"")
    folder = tmp_path / "corpus"
    folder.mkdir()
    (folder / "a.mp3").symlink_to(tmp_path / "elsewhere" / "x.mp3")
    assert read(folder, b"Songs,Quads\n./a.mp3,Q1\n")["recording"].tolist() == ["a"]
    with pytest.raises(UserError, match="outside"):
        read(folder, b"Songs,Quads\n../elsewhere/x.mp3,Q1\n")
