"""Turn errors that a user can fix into a message and exit status 2."""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator


class UserError(Exception):
    """Something the user can fix: says what was found, what was expected and what to do."""


class Terminated(KeyboardInterrupt):
    """SIGTERM, which a cluster's scheduler sends some time before it kills a process."""


NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # disk full, quota, file-size limit
# characters that control a terminal (C0, C1, DEL) or reorder a line (bidirectional controls); line
# ends and tabs belong to the messages themselves
CONTROLS = [*range(0x20), *range(0x7F, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A)]
ESCAPES = {number: f"\\u{number:04x}" for number in CONTROLS if chr(number) not in "\n\t"}


def printable(text: object) -> str:
    """Text for the terminal: control characters, e.g. in file names, are escaped as in JSON."""
    return str(text).translate(ESCAPES)


def one_line(name: object) -> str:
    """A name as messages show it: printable, and on one line."""
    return printable(name).replace("\n", "\\n").replace("\t", "\\t")


def guard(main: Callable[[list[str] | None], int]) -> Callable[..., int]:
    """Decorate a script's `main`: failures that a user can fix become one line and status 2.

    Any other error is a bug of the suite and keeps its traceback. Ctrl-C gives status 130, SIGTERM
    143, both after the work in progress has been left in a clean state.
    """

    @functools.wraps(main)
    def guarded(argv: list[str] | None = None) -> int:
        _open_standard_streams()
        # a notebook sets a backend that may not be installed here; figures only go to files
        os.environ.pop("MPLBACKEND", None)
        try:
            with _interruptions():
                return main(argv)
        except KeyboardInterrupt as stop:
            saved = str(stop) or "nothing finished is lost; the same command resumes"
            print(f"\ninterrupted: {printable(saved)}", file=sys.stderr)
            return 143 if isinstance(stop, Terminated) else 130
        except BrokenPipeError:
            # `stage | head`: the reader has closed. Python must not complain when it flushes
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 128 + signal.SIGPIPE
        except Exception as error:
            message = _message(error)
            if message is None:
                raise
            print(f"error: {printable(message)}", file=sys.stderr)
            return 2

    return guarded


def _message(error: Exception) -> str | None:
    """The message about an error that a user can fix; None for a bug of the suite."""
    if isinstance(error, UserError):
        return str(error)
    if _no_room(error):
        return (
            "no room to write (disk full, quota or file-size limit): what was finished before is "
            "intact, what was being written is lost; make room, then run the same command again"
        )
    # a file where a folder must be, no permission, …: the system names the file and the reason
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror}; fix that, or choose another place"
    return None


def _no_room(error: BaseException | None) -> bool:
    """Whether `error` or one of its causes is a full disk (HDF5 reports it inside other errors)."""
    if error is None:
        return False
    full = getattr(error, "errno", None) in NO_ROOM
    full = full or any(os.strerror(number) in str(error) for number in NO_ROOM)
    return full or _no_room(error.__cause__ or error.__context__)


@contextlib.contextmanager
def _interruptions() -> Iterator[None]:
    """Make SIGTERM interrupt like Ctrl-C, and repeat an interruption that Python swallows (for
    example in the callback of a weak reference)."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread gets signals
        return
    others = sys.unraisablehook

    def terminate(*_) -> None:
        raise Terminated

    def swallowed(unraisable) -> None:
        if not isinstance(unraisable.exc_value, KeyboardInterrupt):
            return others(unraisable)
        again = type(unraisable.exc_value)

        def interrupt(*_) -> None:
            raise again

        signal.signal(signal.SIGALRM, interrupt)
        signal.setitimer(signal.ITIMER_REAL, 0.05)  # raised here, it would be swallowed again

    signal.signal(signal.SIGTERM, terminate)
    sys.unraisablehook = swallowed
    try:
        yield
    finally:
        sys.unraisablehook = others


def _open_standard_streams() -> None:
    """Replace streams that the caller closed (`2>&-`), so that no file gets their numbers, and let
    them print any name. sys.stdin stays None, so that readers know that there is no input."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            null = os.open(os.devnull, os.O_RDWR)
            if null != number:
                os.dup2(null, number)
                os.close(null)
            if name != "stdin":
                setattr(sys, name, open(number, "w", closefd=False))
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # not under a test
            stream.reconfigure(errors="backslashreplace")
