"""One way to turn an error into a message and exit status 2."""

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
    """Something the user can mend: says what was found, what was expected and what to do."""


class Terminated(KeyboardInterrupt):
    """SIGTERM, which a cluster's scheduler sends some time before it kills."""


NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # disk full, quota, file-size limit
# what a terminal obeys (C0, C1, DEL) or reorders a line by (bidirectional controls); line ends and
# tabs are those of the messages themselves
CONTROLS = [*range(0x20), *range(0x7F, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A)]
ESCAPES = {number: f"\\u{number:04x}" for number in CONTROLS if chr(number) not in "\n\t"}


def printable(text: object) -> str:
    """Text for the terminal: control characters, as in names of files, are escaped as in JSON."""
    return str(text).translate(ESCAPES)


def one_line(name: object) -> str:
    """A name as it stands in a message: printable, and on one line."""
    return printable(name).replace("\n", "\\n").replace("\t", "\\t")


def guard(main: Callable[[list[str] | None], int]) -> Callable[..., int]:
    """Decorate a script's `main`: failures that a user can mend become one line and status 2.

    Anything else is a fault of the suite and keeps its traceback. Ctrl-C gives status 130, SIGTERM
    143, both after the work under way has put itself in order.
    """

    @functools.wraps(main)
    def guarded(argv: list[str] | None = None) -> int:
        _open_standard_streams()
        # a notebook sets its backend, which need not be installed here: figures go to files
        os.environ.pop("MPLBACKEND", None)
        try:
            with _interruptions():
                return main(argv)
        except KeyboardInterrupt as stop:
            saved = str(stop) or "nothing finished is lost; the same line goes on"
            print(f"\ninterrupted: {printable(saved)}", file=sys.stderr)
            return 143 if isinstance(stop, Terminated) else 130
        except BrokenPipeError:
            # `stage | head`: nobody reads any more. Python must not complain when it flushes
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
    """The message about an error that a user can mend; None for a fault of the suite."""
    if isinstance(error, UserError):
        return str(error)
    if _no_room(error):
        return (
            "no room to write (disk full, quota or file-size limit): what was finished before is "
            "intact, what was being written is not kept; make room, run the same line again"
        )
    # a file in the way of a folder, no permission, …: the system names file and reason
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror}; mend that, or choose another place"
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
    """SIGTERM interrupts like Ctrl-C, and an interruption that Python swallows, as in a weak
    reference's callback, comes once more."""
    if threading.current_thread() is not threading.main_thread():
        yield  # which alone gets signals
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
        signal.setitimer(signal.ITIMER_REAL, 0.05)  # what is raised in here would be swallowed too

    signal.signal(signal.SIGTERM, terminate)
    sys.unraisablehook = swallowed
    try:
        yield
    finally:
        sys.unraisablehook = others


def _open_standard_streams() -> None:
    """Replace streams that the caller closed (`2>&-`), so that no file gets their numbers, and make
    any name printable. sys.stdin stays None, so that readers know that there is no input."""
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
