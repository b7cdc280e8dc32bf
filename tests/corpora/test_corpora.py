"""Layouts and annotation tables; what is wrong with them is named."""

import numpy as np
import pandas as pd
import pytest

from lib.corpora import annotation_tables, catalogue
from lib.errors import UserError


def touch(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")
    return path


def four_q(data, quadrants=("Q1", "Q2", "Q3", "Q4")):
    root = data / "MER_audio_taffc_dataset"
    rows = [(f"MT{i:04d}", q) for i, q in enumerate(quadrants)]
    for song, quadrant in rows:
        touch(root / quadrant / f"{song}.mp3")
    pd.DataFrame(rows, columns=["Song", "Quadrant"]).to_csv(
        root / "panda_dataset_taffc_annotations.csv", index=False
    )
    return root


def test_speech_layouts_give_speakers(tmp_path):
    touch(tmp_path / "speech/LibriSpeech/train-clean-100/19/198/19-198-0001.flac")
    touch(tmp_path / "data_aishell/wav/dev/S0724/BAC009S0724W0121.wav")
    english = catalogue.read_corpus("speech", "english", tmp_path)
    mandarin = catalogue.read_corpus("speech", "mandarin", tmp_path)
    assert list(english.columns) == catalogue.COLUMNS
    assert english["recording"].tolist() == ["train-clean-100/19/198/19-198-0001"]
    assert english["group"].tolist() == ["19"]
    assert mandarin["group"].tolist() == ["S0724"]
    assert mandarin["language"].tolist() == ["mandarin"]


def test_four_q_with_artists(tmp_path):
    root = four_q(tmp_path)
    pd.DataFrame({"Song": ["MT0000", "MT0001"], "Artist": ["A", "B"]}).to_csv(
        root / "panda_dataset_taffc_metadata.csv", index=False
    )
    table = catalogue.read_corpus("music", "english", tmp_path)
    assert table["quadrant"].tolist() == ["Q1", "Q2", "Q3", "Q4"]
    assert table["group"].tolist() == ["A", "B", "", ""]


def test_ratings_become_quadrants_by_the_sign_of_their_means(tmp_path, capsys):
    folder = tmp_path / "CH818/ch818_mp3"
    songs = {"a": [(3, 4), (-1, -2)], "b": [(5, -9), (4, 1)], "c": [(-1, -1)], "d": [(-2, 8)]}
    songs["zero"] = [(0, -1), (0, -1)]
    rows = [(s, i, *pair) for s, pairs in songs.items() for i, pair in enumerate(pairs)]
    for song in songs:
        touch(folder / f"{song}.mp3")
    pd.DataFrame(rows, columns=["song", "annotator", "arousal", "valence"]).to_csv(
        folder / "annotations.csv", index=False
    )
    table = catalogue.read_corpus("music", "mandarin", tmp_path)
    assert dict(zip(table["recording"], table["quadrant"], strict=True)) == {
        "a": "Q1",
        "b": "Q2",
        "c": "Q3",
        "d": "Q4",
        "zero": "Q2",
    }
    assert table["arousal"].tolist() == [1, 4.5, -1, -2, 0]
    assert "1 mean ratings are exactly 0" in capsys.readouterr().out


def test_quadrants_follow_the_plane():
    found = annotation_tables.quadrant_of(np.array([1, 1, -1, -1]), np.array([1, -1, -1, 1]))
    assert found.tolist() == ["Q1", "Q2", "Q3", "Q4"]


def authors_table(folder, text, name="table.csv", encoding="utf-8"):
    path = folder / name
    path.write_bytes(text.encode(encoding))
    return path


def test_the_authors_table_is_found_and_read(tmp_path):
    folder = tmp_path / "CH818"
    for song in ("一.mp3", "b.mp3"):
        touch(folder / song)
    text = "Songs,Quads,Arousal,Valence\r\n./一.mp3,q2,4,-3\r\n./b.mp3,Q4,-1,2\r\n"
    authors_table(folder, text, encoding="utf-8-sig")
    table = catalogue.read_corpus("music", "mandarin", tmp_path)
    assert table["recording"].tolist() == ["b", "一"]
    assert table["quadrant"].tolist() == ["Q4", "Q2"]
    assert table["arousal"].tolist() == [-1, 4]


@pytest.mark.parametrize(
    "text, message",
    [
        ("Songs,Quads\n./a.mp3,Q5\n", "quadrants that do not exist: ./a.mp3 .Q5.; legal are Q1"),
        ("Songs,Quads\n./nope.mp3,Q1\n", "1 of 1 files that are not there"),
        ("Songs,Quads\n../../etc/passwd,Q1\n", "outside"),
        ("Songs,Quads\n./a.mp3,Q1\n./a.mp3,Q1\n", "more than once"),
        ("Songs,Quads\n./a.mp3,Q1\na.mp3,Q1\n", "more than once"),
        ("Songs,Quads\n,Q1\n", "rows without a song: row 2"),
        ("Songs,Quads,Quads \n./a.mp3,Q1,Q1\n", "columns of the same name: Quads"),
        (f"Songs,Quads\n{'x' * 300}.mp3,Q1\n", "a file that cannot exist|not there"),
        ("Song,Quadrant\n./a.mp3,Q1\n", "lacks the columns Songs, Quads; it has Song, Quadrant"),
        ("Songs,Quads\n", "holds no recordings"),
        ("song,arousal,valence\n", "holds no recordings"),
        ("", "not a table"),
    ],
)
def test_bad_tables_are_named(tmp_path, text, message):
    folder = tmp_path / "CH818"
    touch(folder / "a.mp3")
    with pytest.raises(UserError, match=message):
        catalogue.read_corpus("music", "mandarin", tmp_path, authors_table(folder, text))


def test_missing_and_empty_corpora_name_folder_and_layout(tmp_path):
    with pytest.raises(UserError, match=r"LibriSpeech not found.*speech/LibriSpeech.*\.flac"):
        catalogue.read_corpus("speech", "english", tmp_path)
    (tmp_path / "LibriSpeech").mkdir()
    with pytest.raises(
        UserError, match="holds no recordings; expected layout: LibriSpeech/<subset"
    ):
        catalogue.read_corpus("speech", "english", tmp_path)


def test_packed_aishell_says_how_to_unpack(tmp_path):
    touch(tmp_path / "data_aishell/wav/S0002.tar.gz")
    with pytest.raises(UserError, match=r"still packed: 1 archives such as S0002.tar.gz.*tar xzf"):
        catalogue.read_corpus("speech", "mandarin", tmp_path)


def test_ratings_that_are_not_centred_are_refused(tmp_path):
    for song in "ab":
        touch(tmp_path / f"CH818/{song}.mp3")
    (tmp_path / "CH818/r.csv").write_text("song,arousal,valence\na,1,-2\nb,9,3\n")
    with pytest.raises(UserError, match=r"mean arousal never changes its sign .1 to 9.: .*centred"):
        catalogue.read_corpus("music", "mandarin", tmp_path)


def test_partly_packed_aishell_is_noticed(tmp_path):
    touch(tmp_path / "data_aishell/wav/train/S0002/BAC009S0002W0001.wav")
    touch(tmp_path / "data_aishell/wav/S0002.tar.gz")
    assert len(catalogue.read_corpus("speech", "mandarin", tmp_path)) == 1
    touch(tmp_path / "data_aishell/wav/S0003.tar.gz")
    with pytest.raises(UserError, match="1 archives such as S0003"):
        catalogue.read_corpus("speech", "mandarin", tmp_path)


def test_archives_of_aishell_are_no_patterns(tmp_path):
    touch(tmp_path / "data_aishell/wav/train/S[1]/BAC009S0002W0001.wav")
    touch(tmp_path / "data_aishell/wav/S[1].tar.gz")
    assert len(catalogue.read_corpus("speech", "mandarin", tmp_path)) == 1
    touch(tmp_path / "data_aishell/wav/S*.tar.gz")
    with pytest.raises(UserError, match=r"1 archives such as S\*.tar"):
        catalogue.read_corpus("speech", "mandarin", tmp_path)


def test_ratings_that_are_not_numbers_are_named(tmp_path):
    touch(tmp_path / "CH818/a.mp3")
    (tmp_path / "CH818/r.csv").write_text("song,arousal,valence\na,1,loud\n")
    with pytest.raises(UserError, match="ratings of valence that are not numbers: row 2: loud"):
        catalogue.read_corpus("music", "mandarin", tmp_path)


def test_a_song_is_the_file_in_the_folder_of_its_quadrant(tmp_path, capsys):
    root = four_q(tmp_path)
    touch(root / "Q1/MT0001.mp3")  # of the same name as a song of Q2
    table = catalogue.read_corpus("music", "english", tmp_path).set_index("recording")
    assert table["quadrant"].to_dict() == {f"Q{i + 1}/MT000{i}": f"Q{i + 1}" for i in range(4)}
    (root / "Q2/MT0001.mp3").unlink()
    table = catalogue.read_corpus("music", "english", tmp_path).set_index("recording")
    assert table["quadrant"]["Q1/MT0001"] == "Q2"
    assert "1 songs lie in the folder of another quadrant" in capsys.readouterr().out
    touch(root / "Q2/MT0001.mp3")
    touch(root / "Q2/MT0001.wav")
    with pytest.raises(UserError, match="differ in their suffix alone: MT0001.mp3"):
        catalogue.read_corpus("music", "english", tmp_path)


def test_two_artists_of_a_song_are_refused(tmp_path):
    root = four_q(tmp_path)
    pd.DataFrame({"Song": ["MT0000", "MT0000"], "Artist": ["A", "B"]}).to_csv(
        root / "panda_dataset_taffc_metadata.csv", index=False
    )
    with pytest.raises(UserError, match="gives songs two artists: MT0000"):
        catalogue.read_corpus("music", "english", tmp_path)


def test_names_that_are_not_utf_8_are_named(tmp_path):
    touch(tmp_path / "LibriSpeech/x/1/1/a\udcff.flac")
    with pytest.raises(UserError, match=r"not UTF-8: 'a\\udcff.flac'; rename"):
        catalogue.read_corpus("speech", "english", tmp_path)


def test_a_folder_that_cannot_be_read_is_an_error(tmp_path, monkeypatch):
    touch(tmp_path / "LibriSpeech/x/1/1/a.flac")
    closed = tmp_path / "LibriSpeech/x/2"
    closed.mkdir()
    real = type(closed).iterdir

    def iterdir(path):
        if path == closed:
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(type(closed), "iterdir", iterdir)
    with pytest.raises(PermissionError):
        catalogue.read_corpus("speech", "english", tmp_path)


def test_the_corpus_s_own_annotations_are_told_and_may_be_saved_by_excel(tmp_path, capsys):
    root = four_q(tmp_path)
    table = root / "panda_dataset_taffc_annotations.csv"
    text = table.read_text().replace(",", ";").upper()
    table.unlink()
    table = table.with_suffix(".CSV")
    table.write_bytes(text.encode("utf-16"))
    (root / "panda_dataset_taffc_metadata.CSV").write_text("song;ARTIST\nMT0000;A\n")
    found = catalogue.read_corpus("music", "english", tmp_path)
    assert found["quadrant"].tolist() == ["Q1", "Q2", "Q3", "Q4"] and found["group"][0] == "A"
    assert f"labels: {table} (columns Song, Quadrant; 4 songs" in capsys.readouterr().out


@pytest.mark.parametrize("suffix", [".FLAC", ".Wav", ".ogg", ".mp3", ".opus", ".AIFF", ".m4a"])
def test_any_sound_suffix_is_read_in_any_case(tmp_path, suffix):
    touch(tmp_path / f"LibriSpeech/x/1/1/1-1-0000{suffix}")
    touch(tmp_path / "LibriSpeech/x/1/1/1-1.trans.txt")
    touch(tmp_path / f"data_aishell/wav/dev/S1/BAC009S1W1{suffix}")
    touch(tmp_path / f"CH818/a{suffix}")
    touch(tmp_path / "CH818/b.mp3")
    (tmp_path / "CH818/r.csv").write_text(f"song,arousal,valence\na{suffix},1,-2\nb,-1,3\n")
    found = [
        catalogue.read_corpus(kind, language, tmp_path)["recording"][0]
        for kind, language in (("speech", "english"), ("speech", "mandarin"), ("music", "mandarin"))
    ]
    assert found == ["x/1/1/1-1-0000", "wav/dev/S1/BAC009S1W1", "a"]


def test_speech_files_that_differ_in_their_suffix_alone_are_refused(tmp_path):
    for suffix in (".flac", ".WAV"):
        touch(tmp_path / f"LibriSpeech/x/1/1/a{suffix}")
        touch(tmp_path / f"LibriSpeech/x/1/2/a{suffix if suffix == '.WAV' else '.txt'}")
    with pytest.raises(UserError, match="differ in their suffix alone: a.WAV; keep one"):
        catalogue.read_corpus("speech", "english", tmp_path)


def test_hidden_files_and_folders_are_no_recordings(tmp_path):
    for path in ("x/1/1/a", "x/1/1/._a", "x/.1/1/a", ".x/1/1/a", "x/1/.1/a"):
        touch(tmp_path / f"LibriSpeech/{path}.flac")
    for path in ("dev/S1/a", "dev/S1/._a", "dev/._S1/a", ".dev/S1/a"):
        touch(tmp_path / f"data_aishell/wav/{path}.wav")
    touch(tmp_path / "data_aishell/wav/._S2.tar.gz")
    assert catalogue.read_corpus("speech", "english", tmp_path)["recording"].tolist() == ["x/1/1/a"]
    assert len(catalogue.read_corpus("speech", "mandarin", tmp_path)) == 1
    for name in ("a.mp3", "._a.mp3", ".b.mp3", ".b.wav", "b.mp3"):
        touch(tmp_path / "CH818" / name)
    (tmp_path / "CH818/r.csv").write_text("song,arousal,valence\na,1,-2\nb,-1,3\n")
    assert len(catalogue.read_corpus("music", "mandarin", tmp_path)) == 2
    table = authors_table(tmp_path, "Songs,Quads\n./a.mp3,Q1\n./._a.mp3,Q1\n")
    with pytest.raises(UserError, match=r"names hidden files.*\._a\.mp3; take the rows out"):
        catalogue.read_corpus("music", "mandarin", tmp_path, table)


NFC, NFD, ALIKE = "s\u1e69", "ss\u0323\u0307", "s\u1e63\u0307"  # three spellings of one name


def test_names_are_found_however_they_are_composed(tmp_path):
    touch(tmp_path / f"CH818/{NFD}/{NFD}.mp3")
    touch(tmp_path / f"CH818/{NFD}.mp3")
    touch(tmp_path / "CH818/b.mp3")
    text = f"Songs,Quads\n./{NFC}/{NFC}.mp3,Q1\n./{NFD}.mp3,Q2\n"
    table = authors_table(tmp_path, text)
    found = catalogue.read_corpus("music", "mandarin", tmp_path, table)
    assert sorted(found["recording"]) == sorted([f"{NFD}/{NFD}", NFD])
    (tmp_path / "CH818/r.csv").write_text(f"song,arousal,valence\n{NFC},1,-2\nb,-1,3\n")
    found = catalogue.read_corpus("music", "mandarin", tmp_path).set_index("recording")["quadrant"]
    assert found.to_dict() == {NFD: "Q2", "b": "Q4"}
    # by the same names, so that --min-agreement drops none of them
    assert set(catalogue.read_ratings("mandarin", tmp_path)["song"]) == {NFD, "b"}
    touch(tmp_path / f"CH818/{NFC}.mp3")  # exactly this one now
    found = catalogue.read_corpus("music", "mandarin", tmp_path)
    assert set(found["recording"]) == {NFC, "b"}


def test_a_name_like_two_others_is_refused(tmp_path):
    for name in (NFC, NFD, "b"):
        touch(tmp_path / f"CH818/{name}.mp3")
    (tmp_path / "CH818/r.csv").write_text(f"song,arousal,valence\n{ALIKE},1,-2\nb,-1,3\n")
    with pytest.raises(UserError, match="2 names that look like .*rename all but one"):
        catalogue.read_corpus("music", "mandarin", tmp_path)
    table = authors_table(tmp_path, f"Songs,Quads\n./{ALIKE}.mp3,Q1\n")
    with pytest.raises(UserError, match="2 names that look like"):
        catalogue.read_corpus("music", "mandarin", tmp_path, table)


def test_music_whose_names_are_not_utf_8_is_named(tmp_path):
    touch(tmp_path / "CH818/caf\udce9.mp3")
    touch(tmp_path / "CH818/b.mp3")
    table = tmp_path / "CH818/r.csv"
    table.write_bytes("song,arousal,valence\ncafé,1,-2\nb,-1,3\n".encode("latin-1"))
    with pytest.raises(UserError, match=r"not there: .*not UTF-8: 'caf\\udce9.mp3': rename"):
        catalogue.read_corpus("music", "mandarin", tmp_path)
    touch(tmp_path / "d\udce9/CH818/b.mp3")
    with pytest.raises(UserError, match=r"d\\udce9.* not UTF-8: rename"):
        catalogue.read_corpus("music", "mandarin", tmp_path / "d\udce9")
