"""What is said at the terminal: warnings on one line each, errors as sentences, options as they are typed."""

from __future__ import annotations

import os
import re
import select
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from sunalign._command_line import ERROR, GOOD

__all__ = ["message_of", "pipe_closed", "tidy", "typed"]


def pipe_closed(error: BrokenPipeError) -> int:
    """Exit code where nobody reads any more, as ``| head`` does not, which is no fault; else an error.

    Parameters
    ----------
    error : `BrokenPipeError`
        What writing to standard output ended with.
    """
    if _nobody_reads():
        # What is left in the buffer would be written, and fail, at the end of Python.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return GOOD
    print(f"sunalign: error: {message_of(error)}", file=sys.stderr)
    return ERROR


def _nobody_reads() -> bool:
    """Whether the other end of standard output is closed."""
    if sys.platform == "win32":
        return False
    look = select.poll()
    try:
        look.register(sys.stdout.fileno(), 0)
    except (OSError, ValueError):  # It is no file.
        return False
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in look.poll(0))


@contextmanager
def tidy(debug: bool) -> Iterator[None]:
    """Show our own warnings as one line each; with ``debug`` those of the libraries about odd headers too.

    Parameters
    ----------
    debug : `bool`
        Whether the libraries' warnings and their log are shown too.
    """
    from sunpy import log

    from sunalign.exceptions import SunalignUserWarning

    level = log.level
    log.setLevel("DEBUG" if debug else "WARNING")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                yield
            finally:
                for warning in caught:
                    if debug or issubclass(warning.category, SunalignUserWarning):
                        print(f"sunalign: warning: {typed(str(warning.message))}", file=sys.stderr)
    finally:
        log.setLevel(level)


def message_of(error: Exception) -> str:
    """Sentence of an error, with options as they are typed; of one that nobody meant for the user, its kind too.

    Parameters
    ----------
    error : `Exception`
        What a command ended with.
    """
    from sunalign.exceptions import ManifestError, PluginError

    text = str(error.args[0] if isinstance(error, KeyError) and error.args else error)
    # What stands in a manifest has the names that it has in Python.
    text = text if isinstance(error, ManifestError) else typed(text)
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror}."
    # Errors meant for the user are whole sentences; of the others the kind says more than the message.
    ours = isinstance(error, (ValueError, TypeError, OSError, PluginError)) and bool(text)
    return text if ours else f"{type(error).__name__}: {text}. Run it again with --debug to see where."


#: What an option of the command is called in Python, where messages come from.
_TYPED = {
    "overwrite=True": "--overwrite",
    "hdus='all'": "--hdus all",
    "'tolerance'": "--tolerance",
    "'max_shift'": "--max-shift",
    "max_shift": "--max-shift",
    "max_gap": "--max-gap",
    "'n_jobs'": "--n-jobs",
    "n_jobs": "--n-jobs",
    "'reference_builder'": "--reference-builder",
    "reference_builder": "--reference-builder",
    "working_grid='target'": "--set working_grid=target",
    "sunalign.correct() or 'sunalign apply'": "'sunalign apply'",
    "(in Python sorted(glob.glob(...)), in a shell without quotes)": "(without quotes the shell expands it)",
}
_PYTHON = re.compile("|".join(rf"(?<![\w-]){re.escape(name)}(?!\w)" for name in sorted(_TYPED, key=len, reverse=True)))


def typed(text: str) -> str:
    """Message with options as they are typed.

    Parameters
    ----------
    text : `str`
        With the names that they have in Python.
    """
    return _PYTHON.sub(lambda match: _TYPED[match[0]], text)
