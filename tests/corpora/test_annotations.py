"""Tables of annotations: whatever stands in them, a right reading or one clear error."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from lib.corpora import annotation_tables, catalogue, recordings
from lib.errors import UserError
from lib.labels import QUADRANTS

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
    return recordings.read_table(table, folder)


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
    assert annotation_tables.read_labels(tmp_path, needed=False) is None
    with pytest.raises(UserError, match="no annotation table"):
        annotation_tables.read_labels(tmp_path, needed=True)
    (tmp_path / "t.csv").write_text("Songs,Quads,Arousal\n./x/a.mp3,q1,3\n./b.mp3,Q3,-1\n")
    labels = annotation_tables.read_labels(tmp_path, needed=True)
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


ROWS = "Songs,Quads,Note\n./a.mp3,Q3,Müller\n./b.mp3,q4,x\n"
RATED = "song,annotator,arousal,valence\na,1,1.5,-2\na,2,2.5,-4\nb,1,-1,1\n"


@pytest.fixture
def own(tmp_path):
    """CH-818 with two songs and other labels than those of ROWS and RATED."""
    own = tmp_path / "CH818"
    own.mkdir()
    for song in "ab":
        (own / f"{song}.mp3").write_bytes(b"")
    (own / "others.csv").write_text("song,arousal,valence\na,-1,1\nb,1,-1\n")
    return own


def labels(own):
    table = catalogue.read_corpus("music", "mandarin", own.parent)
    return dict(zip(table["recording"], table["quadrant"], strict=True))


@pytest.mark.parametrize(
    "content",
    [
        ROWS.replace(",", ";").encode(),
        ROWS.replace(",", "\t").encode(),
        ("sep=;\n" + ROWS.replace(",", ";")).encode(),
        ROWS.encode("utf-16"),
        b"\xfe\xff" + ROWS.encode("utf-16-be"),
        ROWS.encode("latin-1"),
        ROWS.replace("Songs,Quads", " SONGS ,quads").encode(),
        ROWS.replace("\n", ",,\r").encode(),
        ("\n , \n" + ROWS).encode(),
        ROWS.replace("Müller", '"a, ""b""\nc"').encode(),
        ROWS.replace("Note", "Note (x;y;z;w)").encode(),
    ],
)
@pytest.mark.parametrize("name", ["t.csv", "T.CSV", "t.tsv"])
def test_a_table_that_can_be_read_counts_and_is_told(own, content, name, capsys):
    (own / name).write_bytes(content)
    assert labels(own) == {"a": "Q3", "b": "Q4"}
    assert f"labels: {own / name} (columns Songs, Quads; 2 songs" in capsys.readouterr().out


@pytest.mark.parametrize(
    "content, message",
    [
        (ROWS.replace(",", "|").encode(), "holds labels, but .*line 1.*--table"),
        (ROWS.replace(",", "','").encode(), "holds labels, but"),
        (ROWS.replace("Songs", "Song").encode(), "holds labels, but"),
        (("My songs\n" + ROWS).encode(), r"holds labels, but .*line 2"),
        (("sep=|\n" + ROWS.replace(",", "|")).encode(), r"holds labels, but .*line 2"),
        (ROWS.partition("\n")[2].encode(), "holds labels, but .*line 1"),
        (RATED.replace(",", " ").encode(), "holds labels, but .*line 1"),
        (ROWS.replace("Songs", "songs,SONGS").encode(), "several columns Songs: songs, SONGS"),
        (ROWS.replace("Note", "Quads").encode(), "columns of the same name: Quads"),
        (ROWS.replace("Q3", '"Q3').encode(), "row of line 2: a double quote is opened and not"),
        (ROWS.replace("q4", '"q4"x').encode(), "row of line 3: there is text after a closing"),
        (ROWS.replace("Müller", '"u').replace("x\n", 'x"\n').encode(), "hold other rows: row 2"),
        (ROWS.encode("utf-16-le"), "not text in UTF-8.*--table"),
        (ROWS.encode("utf-16")[:-1], "not text in UTF-8"),
        (ROWS.encode("utf-32"), "not text in UTF-8"),
        (ROWS.replace("x\n", "歌\n").encode()[:-2], "not text in UTF-8"),
        (ROWS.encode("latin-1") + b"\x07", "not text in UTF-8"),
        (b"PK\x03\x04\x14\0\0\0", "not text in UTF-8"),
        (b"", "is empty.*--table"),
        (b"\n \n", "is empty"),
    ],
)
def test_a_table_that_is_not_understood_is_never_absent(own, content, message):
    (own / "t.csv").write_bytes(content)
    with pytest.raises(UserError, match=rf"t\.csv .*{message}"):
        labels(own)


@pytest.mark.parametrize(
    "name, content",
    [
        ("lyrics.csv", 'Title,Lyrics\na,"song\nb,"arousal\n'),
        ("summary.csv", "file,quadrant,arousal,valence\na.mp3,Q1,1,1\n"),
        ("._t.csv", "\0\5\x16\7"),
        (".t.csv", ROWS),
    ],
)
def test_tables_of_other_things_and_hidden_ones_are_none(own, name, content):
    (own / name).write_text(content)
    assert labels(own) == {"a": "Q4", "b": "Q2"}


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_ratings_may_have_decimal_commas_where_those_do_not_part_cells(folder, delimiter):
    text = RATED.replace(",", delimiter).replace(".", ",")
    table = read(folder, text.encode()).set_index("recording")
    assert table["arousal"].tolist() == [2, -1] and table["valence"].tolist() == [-3, 1]
    text = "Songs;Quads;AROUSAL\n./a.mp3;Q1;4,5\n./b.mp3;Q2;n/a\n".replace(";", delimiter)
    found = read(folder, text.encode())["arousal"]
    assert found[0] == 4.5 and np.isnan(found[1])


@pytest.mark.parametrize("rating", ['"4,5"', "high", "inf"])
def test_ratings_of_an_authors_table_that_are_not_numbers_are_named(folder, rating):
    text = f"Songs,Quads,Arousal\n./a.mp3,Q1,{rating}\n"
    with pytest.raises(UserError, match="ratings of Arousal that are not numbers: row 2"):
        read(folder, text.encode())


def test_the_table_of_processed_files_and_of_ratings_is_told(own, capsys):
    (own / "t.csv").write_bytes(ROWS.encode("latin-1"))
    annotation_tables.read_labels(own, needed=True)
    told = f"labels: {own / 't.csv'} (columns Songs, Quads; 2 songs; read as Windows-1252)"
    assert told in capsys.readouterr().out
    catalogue.read_ratings("mandarin", own.parent)
    told = f"ratings: {own / 'others.csv'} (columns song, arousal, valence; 2 songs)"
    assert told in capsys.readouterr().out
