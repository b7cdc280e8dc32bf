"""How an error becomes a message and an exit status."""

import errno
import signal
import time

import pytest

from lib.errors import UserError, guard


def run(error, capsys):
    @guard
    def main(argv=None):
        raise error

    status = main()
    return status, capsys.readouterr().err


def test_what_a_user_can_mend_is_one_message(capsys):
    assert run(UserError("found a, expected b"), capsys) == (2, "error: found a, expected b\n")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_is_found_inside_other_errors(number, capsys):
    import os

    inner = RuntimeError(f"Can't write data (error message = '{os.strerror(number)}')")
    outer = ValueError("could not save")
    outer.__cause__ = inner
    for error in (OSError(number, os.strerror(number), "x"), inner, outer):
        status, text = run(error, capsys)
        assert status == 2 and text.startswith("error: no room to write")


def test_the_system_names_the_file(capsys):
    status, text = run(NotADirectoryError(errno.ENOTDIR, "Not a directory", "/a/b"), capsys)
    assert status == 2 and text.startswith("error: /a/b: Not a directory")


def test_interruption_has_a_status_of_its_own(capsys):
    status, text = run(KeyboardInterrupt(), capsys)
    assert status == 130 and "the same command resumes" in text


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_an_interruption_that_python_swallows_is_none_the_less_one(number, status, capsys):
    class Odd:
        def __del__(self):  # what is raised in here goes no further
            signal.raise_signal(number)

    @guard
    def main(argv=None):
        Odd()
        for _ in range(100):
            time.sleep(0.02)
        return 0

    assert main() == status
    assert "the same command resumes" in capsys.readouterr().err


def test_faults_of_the_suite_keep_their_traceback():
    with pytest.raises(ZeroDivisionError):
        run(ZeroDivisionError(), None)


def test_success_returns_what_main_returns():
    assert guard(lambda argv=None: 0)() == 0
