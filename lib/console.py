"""What is printed, and where messages of native libraries go. Imports nothing heavy."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from typing import TextIO

from lib.errors import UserError, printable


def say(*lines: str) -> None:
    """Print lines at once, so that logs of long runs can be followed."""
    print(*map(printable, lines), sep="\n", flush=True)


@contextlib.contextmanager
def native_messages_aside() -> Iterator[TextIO]:
    """Turn aside what native libraries write to the file descriptor of standard error.

    Yields where Python's own messages go meanwhile, which are seen as ever. If the block fails with
    anything but a message to the user, what was turned aside is shown.
    """
    sys.stderr.flush()
    python_stderr, real = sys.stderr, os.dup(2)
    try:
        ours = python_stderr.fileno() == 2
    except (OSError, ValueError):  # replaced, as under a test
        ours = False
    with (
        tempfile.TemporaryFile() as notices,
        os.fdopen(os.dup(real), "w", buffering=1, errors="backslashreplace") as shown,
    ):
        os.dup2(notices.fileno(), 2)
        if ours:
            sys.stderr = shown
        try:
            yield sys.stderr
        except Exception as error:
            if not isinstance(error, (UserError, OSError)):
                notices.seek(0)
                os.write(real, notices.read())
            raise
        finally:
            sys.stderr.flush()
            sys.stderr = python_stderr
            os.dup2(real, 2)
            os.close(real)
