"""Write files and folders whole or not at all, lock them and compute hashes."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from lib.errors import UserError

CHECKPOINT = "checkpoint"  # folder in a run directory from which an unfinished run resumes
CODES = "codes"  # folder next to a data set, codes of frozen encoders (lib.transfer.code_cache)


@contextlib.contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A temporary name next to `path` with its suffix; renamed to `path` if the block succeeds."""
    # does not contain the name of `path`, which may have 255 bytes
    partial = path.with_name(f".partial-{os.getpid()}-{secrets.token_hex(4)}{path.suffix[-16:]}")
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    with atomic(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(path: Path, content: Mapping) -> None:
    """Write JSON whole or not at all; keys keep their order."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def read_json(path: Path, advice: str = "") -> dict | None:
    """The content of a JSON file, or None if there is none.

    advice : what to do about a damaged file, if its folder must not be removed

    Raises UserError when the file exists but is damaged: the folder may hold a finished run, which
    must not be treated as unfinished.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        advice = advice or f"move {path.parent} away, or remove it to start again"
        raise UserError(f"{path} is damaged: {advice}")
    return content


@contextlib.contextmanager
def whole_folder(folder: Path, replaced: Collection[str] = ()) -> Iterator[Path]:
    """A new folder next to `folder`; it replaces `folder` if the block succeeds. The caller has
    locked `folder`, so that no other process works on it.

    If the block fails, nothing changes. The old folder is removed only after the new one is in its
    place; files that are not from this suite (your notes) are moved to the new folder. A killed
    process leaves hidden folders, which the next call cleans up.

    replaced : names of files that are removed with the old folder even if the new one lacks them

    Raises UserError when a file is in the way, or the folder is a mount point.
    """
    folder = folder.resolve()  # a link to another disk stays one
    check_place(folder)
    check_replaceable(folder)
    _recover(folder)
    new, old = (folder.with_name(f".{kind}-{os.getpid()}-{folder.name}") for kind in ("new", "old"))
    new.mkdir()
    try:
        yield new
        if folder.exists():
            os.replace(folder, old)
        try:
            os.replace(new, folder)
        except OSError:
            if old.exists():
                os.replace(old, folder)
            raise
    finally:
        shutil.rmtree(new, ignore_errors=True)
    for name in replaced:
        (old / name).unlink(missing_ok=True)
    _move_over(old, folder)


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Lock a folder that is about to be written; UserError when another process holds the lock.

    The lock is a hidden file next to the folder. It ends with its process, even a killed one.
    """
    folder = folder.resolve()
    check_place(folder)
    path = folder.with_name(f".lock-{folder.name}")
    with open(path, "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            mine = os.path.exists(path) and os.path.samestat(os.fstat(file.fileno()), path.stat())
        except BlockingIOError:
            mine = False
        if not mine:
            raise UserError(f"another process is working on {folder}: wait for it, or stop it")
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def check_place(folder: Path) -> None:
    """Make the parents of a folder to be written; UserError when a file is in the way.

    Called before hours of work, not after them.
    """
    if folder.is_file():
        raise UserError(f"{folder} is a file where a folder is to be written: move it away")
    make_folder(folder.parent)


def check_replaceable(folder: Path) -> None:
    """Raise UserError when a folder cannot be replaced because a disk is mounted there."""
    if os.path.ismount(folder) or str(folder) in _mounts():
        raise UserError(
            f"{folder} is a mount point and cannot be replaced: name a folder below it, or mount "
            "the disk one level higher"
        )


def _mounts() -> set[str]:
    """All mount points, including folders of the same disk, which os.path.ismount does not detect;
    empty if the system does not list them."""
    try:
        lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return set()
    places = {line.split(" ")[4] for line in lines.splitlines()}
    for letter in " \t\n\\":  # as proc(5) writes them
        places = {path.replace(f"\\{ord(letter):03o}", letter) for path in places}
    return places


def make_folder(folder: Path) -> None:
    """Make a folder to write files to; UserError when that is not possible."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise UserError(f"{folder} cannot be made: a file stands in its way") from error
    if not os.access(folder, os.W_OK):
        raise UserError(f"{folder} is not writable: choose another place, or allow writing")


def _recover(folder: Path) -> None:
    """Clean up what killed processes left of `whole_folder(folder)`."""
    hidden = re.compile(rf"\.(new|old)-\d+-{re.escape(folder.name)}")
    for path in sorted(folder.parent.iterdir()):  # new before old
        name = hidden.fullmatch(path.name)
        if name is None:
            continue
        if name[1] == "new":
            shutil.rmtree(path, ignore_errors=True)
        elif folder.exists():
            _move_over(path, folder)
        else:
            os.replace(path, folder)


def _move_over(old: Path, folder: Path) -> None:
    """Move files that the new folder lacks from the old one to it, then remove the old one."""
    if not old.exists():
        return
    for path in old.iterdir():
        if path.name not in (CHECKPOINT, CODES) and not (folder / path.name).exists():
            os.replace(path, folder / path.name)
    shutil.rmtree(old, ignore_errors=True)


def file_hash(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with open(path, "rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
