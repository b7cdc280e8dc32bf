"""Open and create HDF5 files that hold all their data themselves.

A link, an external storage or a virtual data set refers to another file, whose bytes would be read
as those of this file. A shape may promise terabytes that are not stored: reading it fills memory.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import h5py
import numpy as np

from lib.errors import UserError

# what h5py raises about a damaged file
DAMAGE = (OSError, KeyError, RuntimeError, ValueError, TypeError, OverflowError, MemoryError)
SMALL = 1 << 20  # bytes that a data set may promise, however little it stores
DEFLATED = 2000  # promised bytes per stored byte; HDF5's own compression, deflate, reaches 1032


def open_plain(path: Path, expansion: int = DEFLATED) -> h5py.File:
    """Open a file for reading. Raises h5py's own errors, and UserError as `check_plain` does."""
    with open(path, "rb"):  # an OSError of Python names the file, one of h5py does not
        file = h5py.File(path, "r")
    try:
        check_plain(file, path, expansion)
    except BaseException:
        file.close()
        raise
    return file


def check_plain(file: h5py.File, path: Path, expansion: int = DEFLATED) -> None:
    """Raise UserError when a file refers to others or promises more than it stores.

    path : for the message; expansion : bytes that a data set may promise per byte that it stores
    """

    def link_elsewhere(name: bytes, about: h5py.h5l.LinkInfo) -> bytes | None:
        return None if about.type == h5py.h5l.TYPE_HARD else name  # the first name ends the visit

    def check_item(name: str, item: h5py.Dataset | h5py.Group) -> None:
        if not isinstance(item, h5py.Dataset):
            return
        if item.external or item.is_virtual:
            raise UserError(
                f"{path}: the data of {name!a} are in another file: refused; expected a file that "
                "holds its data itself"
            )
        if item.nbytes > max(SMALL, expansion * item.id.get_storage_size()):
            raise UserError(
                f"{path}: {name!a} promises {item.nbytes} bytes of shape {item.shape} and holds "
                f"{item.id.get_storage_size()}: refused; get the file again"
            )

    link = file.id.links.visit(link_elsewhere, info=True)
    if link is not None:
        raise UserError(
            f"{path}: {link.decode(errors='replace')!a} is a link to another place: refused; "
            "expected a file that holds its data itself"
        )
    file.visititems(check_item)


def new_plain(path: Path, size: int, groups: Iterable[str] = ()) -> h5py.File:
    """Create a file in the layout of HDF5 1.10, with `groups`. It stores no times, so the same data
    give the same bytes.

    size : bytes to reserve; OSError if the disk lacks the room, since HDF5 crashes on a full disk
    """
    with open(path, "wb") as file:
        os.posix_fallocate(file.fileno(), 0, size)
    kinds = (h5py.h5p.FILE_CREATE, h5py.h5p.FILE_ACCESS, h5py.h5p.GROUP_CREATE)
    layout, access, group = map(h5py.h5p.create, kinds)
    layout.set_obj_track_times(False)
    group.set_obj_track_times(False)
    access.set_libver_bounds(h5py.h5f.LIBVER_V110, h5py.h5f.LIBVER_V110)
    file = h5py.h5f.create(os.fsencode(path), h5py.h5f.ACC_TRUNC, layout, access)
    for name in groups:
        h5py.h5g.create(file, name.encode(), gcpl=group)
    return h5py.File(file)


def fixed_text(text: str | list[str]) -> np.ndarray:
    """Text as HDF5 strings of a fixed length, UTF-8. HDF5's checksums cover these, but not strings
    of variable length."""
    stored = np.char.encode(text, "utf-8")
    return stored.astype(h5py.string_dtype("utf-8", max(1, stored.itemsize)))
