"""HDF5 files hold their data themselves, wherever the suite reads one: no other file is opened."""

import h5py
import numpy as np
import pytest

from lib.datasets import authors_files, dataset_file
from lib.errors import UserError
from lib.models import keras2_files
from lib.plain_hdf5 import open_plain

SECRET = np.arange(8, dtype="f4")


def external_link(file, name):
    file[name] = h5py.ExternalLink("secret.h5", "/x")


def soft_link(file, name):
    file["real"] = SECRET
    file[name] = h5py.SoftLink("/real")


def external_data(file, name):
    file.create_dataset(name, SECRET.shape, "f4", external=[("secret.bin", 0, SECRET.nbytes)])


def virtual_data(file, name):
    layout = h5py.VirtualLayout(SECRET.shape, "f4")
    layout[:] = h5py.VirtualSource("secret.h5", "x", shape=SECRET.shape)
    file.create_virtual_dataset(name, layout)


def promise(file, name):
    file.create_dataset(name, (1 << 42,), "f4", chunks=(1 << 20,), compression="gzip")


def promise_in_one_piece(file, name):
    file.create_dataset(name, (1 << 42,), "f4")


KINDS = [external_link, soft_link, external_data, virtual_data, promise, promise_in_one_piece]
READERS = {
    "model": ("model.hdf5", keras2_files.load),
    "data set": ("train_dataset.h5", lambda path: dataset_file.read(path, {}, "make")),
    "hash of a data set": ("train_dataset.h5", dataset_file.file_hash),
    "authors' data set": (
        "train_dataset.h5py",
        lambda path: authors_files.read_folder(
            path.parent, ["train"], {}, "speech", "english", 1e9
        ),
    ),
}


def test_a_file_that_cannot_be_opened_is_named(tmp_path):
    """An OSError of h5py has no name of a file, which the message of every stage needs."""
    with pytest.raises(OSError) as failed:
        open_plain(tmp_path)
    assert failed.value.filename == str(tmp_path)


@pytest.mark.parametrize("make", KINDS)
@pytest.mark.parametrize("reader", READERS)
def test_bytes_of_other_files_are_not_read_as_their_own(tmp_path, make, reader):
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["x"] = SECRET
    (tmp_path / "secret.bin").write_bytes(SECRET.tobytes())
    name, read = READERS[reader]
    with h5py.File(tmp_path / name, "w") as file:
        make(file, "0")
    with pytest.raises(UserError, match=r"(is a link|in another file|promises \d+ bytes).*refused"):
        read(tmp_path / name)


@pytest.mark.parametrize("options", [{}, {"chunks": (64, 64)}, {"compression": "gzip"}])
def test_what_is_stored_there_is_read(tmp_path, options):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("group/x", data=np.zeros((1024, 1024), "f4"), **options)
        file["group/same"] = file["group/x"]
        file["itself"] = file["group"]
        file["nothing"] = h5py.Empty("f4")
        file["text"] = "a"
        file["none"] = np.zeros((0, 128), "f4")
    with open_plain(tmp_path / "a.h5") as file:
        assert file["group/x"][()].sum() == 0
