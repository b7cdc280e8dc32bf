"""Print lines, and keep back the messages of native libraries. Imports nothing heavy."""

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
    """Keep back what native libraries write to the file descriptor of standard error.

    Yields the stream of Python's own messages, which stay visible. If the block raises anything
    other than UserError or OSError, the messages that were kept back are shown.
    """
    sys.stderr.flush()
    try:
        ours = sys.stderr.fileno() == 2
    except (OSError, ValueError):  # replaced, for example by a test
        ours = False
    with (
        tempfile.TemporaryFile() as notices,
        os.fdopen(os.dup(2), "w", buffering=1, errors="backslashreplace") as shown,
        contextlib.redirect_stderr(shown if ours else sys.stderr),
    ):
        os.dup2(notices.fileno(), 2)
        try:
            yield sys.stderr
        except Exception as error:
            if not isinstance(error, (UserError, OSError)):
                notices.seek(0)
                os.write(shown.fileno(), notices.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(shown.fileno(), 2)
