"""The codes file: what is written is read, a killed run goes on, each fault has its message."""

import h5py
import numpy as np
import pytest

from lib.datasets import codes_file
from lib.datasets.codes_file import About, CodesOf
from lib.errors import UserError

RECORDINGS = ["b/2", "a 1", "ü"]
ABOUT = {
    "name": "mean_level",
    "title": "mean level",
    "encoder_version": "1.0",
    "licence": "CC0-1.0",
    "description": "mean of the log-mel frames",
}


def about(per="window", **other):
    return About(**{**ABOUT, "per": per, **other})


def codes_of(recording, per="window"):
    number = RECORDINGS.index(recording)
    rows = number + 1 if per == "window" else 1
    codes = np.random.default_rng(number).normal(size=(rows, 4)).astype(np.float32)
    return CodesOf(recording, codes, np.arange(rows) / 2 if per == "window" else None)


def write(path, per="window", order=lambda left: left, overwrite=False, **other):
    def make(left):
        return (codes_of(recording, per) for recording in order(left))

    codes_file.write(path, about(per, **other), RECORDINGS, make, overwrite=overwrite)
    return path


@pytest.mark.parametrize("per", codes_file.PER)
def test_what_is_written_is_read(tmp_path, per):
    codes = codes_file.read(write(tmp_path / "x.codes", per))
    assert (codes.about, codes.recordings) == (about(per), RECORDINGS)
    assert (codes.codes.dtype, codes.offsets.dtype) == (np.float32, np.int64)
    for number, recording in enumerate(RECORDINGS):
        rows = slice(*codes.offsets[number : number + 2])
        made = codes_of(recording, per)
        np.testing.assert_array_equal(codes.codes[rows], made.codes)
        starts = [0] if made.start_seconds is None else made.start_seconds
        np.testing.assert_array_equal(codes.start_seconds[rows], starts)
    assert [path.name for path in tmp_path.iterdir()] == ["x.codes"]


def test_a_file_made_by_hand_is_read(tmp_path):
    """As the documentation says it: strings of variable length, chunks, compression."""
    digest = codes_file.read(write(tmp_path / "x.codes")).digest
    with h5py.File(tmp_path / "x.codes") as file, h5py.File(tmp_path / "y.codes", "w") as other:
        other["recording_id"] = RECORDINGS
        other.create_dataset("codes", data=file["codes"][()], chunks=(2, 2), compression="gzip")
        for name in ("offsets", "start_seconds"):
            other[name] = file[name][()]
        other.attrs.update({**ABOUT, "format": "codes", "version": 1, "per": "window"})
        other.attrs["digest"] = digest
    assert codes_file.read(tmp_path / "y.codes").digest == digest


def test_a_stopped_run_goes_on_and_gives_the_same_bytes(tmp_path):
    """Whatever order recordings come in, and whatever a kill leaves of the last one."""
    expected, path, asked = write(tmp_path / "whole.codes").read_bytes(), tmp_path / "x.codes", []

    def stopped(left):
        yield codes_of(left[2])
        yield codes_of(left[0])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        codes_file.write(path, about(), RECORDINGS, stopped)
    assert not path.exists()
    folder = tmp_path / "x.codes.partial"
    for name in ("codes.f32", "start_seconds.f32", "recordings.jsonl"):
        with open(folder / name, "ab") as file:
            file.write(b'{"recording": "a 1", ')
    write(path, order=lambda left: asked.extend(left) or left)
    assert asked == ["a 1"] and path.read_bytes() == expected and not folder.exists()


def test_what_a_damaged_disk_kept_is_made_again(tmp_path):
    path, asked = tmp_path / "x.codes", []

    def stopped(left):
        yield from map(codes_of, left[:2])
        raise OSError("the disk")

    with pytest.raises(OSError, match="the disk"):
        codes_file.write(path, about(), RECORDINGS, stopped)
    codes = tmp_path / "x.codes.partial/codes.f32"
    content = bytearray(codes.read_bytes())
    content[-1] ^= 1
    codes.write_bytes(content)
    write(path, order=lambda left: asked.extend(left) or left)
    assert asked == RECORDINGS[1:]
    assert path.read_bytes() == write(tmp_path / "whole.codes").read_bytes()


def test_unfinished_codes_of_something_else_are_not_gone_on_with(tmp_path):
    def stopped(left):
        yield codes_of(left[0])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        codes_file.write(tmp_path / "x.codes", about(), RECORDINGS, stopped)
    with pytest.raises(UserError, match=r"x\.codes\.partial holds .*\(encoder_version differ"):
        write(tmp_path / "x.codes", encoder_version="2.0")
    asked = []
    write(
        tmp_path / "x.codes",
        order=lambda left: asked.extend(left) or left,
        overwrite=True,
        encoder_version="2.0",
    )
    assert codes_file.read(tmp_path / "x.codes").about.encoder_version == "2.0"
    assert asked == RECORDINGS  # nothing of the other version is kept
    with pytest.raises(KeyboardInterrupt):
        codes_file.write(tmp_path / "y.codes", about(), RECORDINGS, stopped)
    (tmp_path / "y.codes.partial" / "about.json").unlink()  # killed while it removed the folder
    asked.clear()
    write(tmp_path / "y.codes", order=lambda left: asked.extend(left) or left)
    assert asked == RECORDINGS


def test_a_failure_before_the_first_recording_leaves_nothing_to_remove(tmp_path):
    with pytest.raises(ZeroDivisionError):
        codes_file.write(tmp_path / "x.codes", about(), RECORDINGS, lambda left: 1 / 0)
    write(tmp_path / "x.codes", encoder_version="2.0")


def test_recordings_that_give_no_codes_are_left_out_and_an_empty_file_is_none(tmp_path):
    path = write(tmp_path / "x.codes", order=lambda left: left[1:])
    assert codes_file.read(path).recordings == RECORDINGS[1:]
    with pytest.raises(UserError, match="no codes were made of any of 3 recordings"):
        write(tmp_path / "y.codes", order=lambda left: [])


ROW = np.zeros((1, 4), np.float32)


@pytest.mark.parametrize(
    ("made", "per", "said"),
    [
        (CodesOf("ü", ROW * np.nan, [0]), "window", "ü: its codes are not finite"),
        (CodesOf("ü", ROW, [np.inf]), "window", "ü: its codes are not finite"),
        (CodesOf("ü", ROW[:0], []), "window", r"codes of shape \(0, 4\), expected \(n, d\)"),
        (CodesOf("ü", ROW[:, :3], [0]), "window", "3 values per code, .* before it have 4"),
        (CodesOf("ü", ROW, [0, 1]), "window", r"start_seconds of shape \(2,\) for 1 codes"),
        (CodesOf("ü", ROW), "window", "start_seconds belong to codes per window, .* per window"),
        (CodesOf("ü", ROW, [0]), "recording", "start_seconds belong to .* these are per recording"),
        (CodesOf("ü", ROW[0]), "recording", r"shape \(4,\), expected \(1, d\) per recording"),
        (CodesOf("ü", np.zeros((2, 4))), "recording", r"shape \(2, 4\), expected \(1, d\)"),
    ],
)
def test_codes_that_do_not_fit_are_not_written(tmp_path, made, per, said):
    with pytest.raises(UserError, match=said):
        codes_file.write(
            tmp_path / "x.codes", about(per), RECORDINGS, lambda _: [codes_of("b/2", per), made]
        )
    assert not (tmp_path / "x.codes").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": "Mean"}, "name of the codes is 'Mean': expected up to 60 of a-z, 0-9 and _"),
        ({"name": "model_over"}, "no name of -mod"),
        ({"title": "a | b"}, "title of the codes is 'a | b': expected a line"),
        ({"licence": ""}, "the licence of the codes is ''"),
        ({"per": "frame"}, "per 'frame': expected recording or window"),
    ],
)
def test_what_a_file_says_of_itself_is_checked(change, said):
    with pytest.raises(UserError, match=said):
        about(**{"per": "window", **change})


def test_a_codes_file_is_named_as_one_and_its_recordings_occur_once(tmp_path):
    with pytest.raises(UserError, match=r"a name that ends with \.codes"):
        write(tmp_path / "x.h5")
    with pytest.raises(UserError, match="'a' occurs twice"):
        codes_file.write(tmp_path / "x.codes", about(), ["a", "b", "a"], lambda left: [])


def replaced(name, values):
    def change(file):
        del file[name]
        file[name] = values

    return change


def attribute(name, value):
    return lambda file: file.attrs.__setitem__(name, value)


NAN = np.zeros((6, 4), np.float32)
NAN[2, 1] = np.nan


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (attribute("format", "mer-frames"), "is not a codes file of format 'codes', version 1"),
        (attribute("version", 2), "is not a codes file of format 'codes', version 1"),
        (lambda file: file.attrs.__delitem__("licence"), "the licence of the codes is ''"),
        (attribute("name", "../x"), "the name of the codes is '../x'"),
        (attribute("per", "frame"), "per 'frame'"),
        (attribute("digest", "0"), "does not match its digest"),
        (replaced("codes", np.ones((6, 4), np.float32)), "does not match its digest"),
        (replaced("codes", NAN), "NaN or infinite numbers in 1 of 6 rows, the first of 'a 1'"),
        (replaced("codes", NAN.astype("f8")), "holds codes as float64, not float32"),
        (replaced("codes", NAN[:, 0]), r"shape \(6,\), not \(n, d\)"),
        (replaced("recording_id", ["a", "b", "a"]), "'a' occurs twice"),
        (replaced("recording_id", ["a", "", "b"]), "'' is not a name"),
        (replaced("recording_id", ["a", "b"]), "6 codes per window of 2 recordings"),
        (replaced("offsets", np.array([0, 3, 3, 6])), "that do not divide them"),
        (replaced("offsets", np.array([0, 1, 3, 7])), "that do not divide them"),
        (replaced("offsets", np.zeros(0, np.int64)), "that do not divide them"),
        (replaced("start_seconds", np.zeros(5, np.float32)), "that do not divide them"),
        (lambda file: file.__delitem__("codes"), "is cut short, damaged or not a codes file"),
        (lambda file: file.__setitem__("x", h5py.SoftLink("/codes")), "link to another place"),
    ],
)
def test_each_fault_of_a_file_has_its_message(tmp_path, change, said):
    path = write(tmp_path / "x.codes")
    with h5py.File(path, "r+") as file:
        change(file)
    with pytest.raises(UserError, match=said) as error:
        codes_file.read(path)
    assert str(path) in str(error.value)


def test_a_lost_or_cut_file_has_its_message(tmp_path):
    with pytest.raises(UserError, match=r"no codes file .*x\.codes: make it with embed\.py"):
        codes_file.read(tmp_path / "x.codes")
    path = write(tmp_path / "x.codes")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UserError, match="is cut short, damaged or not a codes file"):
        codes_file.read(path)
