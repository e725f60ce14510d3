"""Errors and warnings, one class a situation."""

import inspect
import warnings
from collections.abc import Sequence

from sunpy.util.exceptions import SunpyUserWarning

__all__ = [
    "AlignmentDoubtError",
    "AlignmentError",
    "ArchiveError",
    "CorrectionError",
    "CoverageError",
    "ImageError",
    "ManifestError",
    "PluginConflictError",
    "PluginError",
    "PluginLoadError",
    "SunalignUserWarning",
    "UnknownPluginError",
    "WorkerError",
    "describe_error",
    "warn_user",
]


class SunalignUserWarning(SunpyUserWarning):
    """Something about an alignment that the user can change."""


class AlignmentError(ValueError):
    """Two images cannot be aligned as asked."""


class AlignmentDoubtError(AlignmentError):
    """The alignment ended with a doubtful answer and ``on_doubt="raise"`` was asked for.

    Parameters
    ----------
    message : `str`
    result : `~sunalign.AlignmentResult`, optional
        What was found.
    """

    def __init__(self, message: str, result: object = None) -> None:
        super().__init__(message)
        self.result = result


class ImageError(AlignmentError):
    """An input is not an image that can be aligned."""


class CoverageError(AlignmentError):
    """The reference does not cover the target in space or in time."""


class CorrectionError(AlignmentError):
    """A correction cannot be written into a target's coordinates."""


class ManifestError(AlignmentError):
    """A manifest of an archive, or its presets, cannot be run as they are.

    Parameters
    ----------
    path : path
        Of the file.
    faults : sequence of `str`
        One sentence each.

    Attributes
    ----------
    faults : `list` of `str`
    """

    def __init__(self, path: object, faults: Sequence[str]) -> None:
        self.faults = list(faults)
        count = "a fault" if len(self.faults) == 1 else f"{len(self.faults)} faults"
        super().__init__("\n".join([f"{path} has {count}; nothing was run.", *(f"  {fault}" for fault in self.faults)]))


class PluginError(Exception):
    """Base class of everything that goes wrong with a plugin."""


class UnknownPluginError(PluginError, ValueError):
    """No plugin of that name is installed."""


class PluginLoadError(PluginError, ImportError):
    """A plugin is installed but cannot be used."""


class PluginConflictError(PluginError, ValueError):
    """Two installed packages offer a plugin of the same name."""


class ArchiveError(RuntimeError):
    """A run over an archive ended before all of its tasks did; what was done stays done."""


class WorkerError(RuntimeError):
    """The worker processes failed twice."""


def describe_error(error: BaseException) -> str:
    """Class and first line of another error, without a full stop, to be part of a sentence.

    Parameters
    ----------
    error : `BaseException`
        Of its text the first line is taken, and of that 200 characters.
    """
    text = (str(error).strip().splitlines() or [""])[0].rstrip(".")
    text = text if len(text) <= 200 else f"{text[:200]}..."
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def warn_user(message: str, stacklevel: int | None = None) -> None:
    """Raise a `SunalignUserWarning` that points at the caller's code.

    Parameters
    ----------
    message : `str`
        One or two whole sentences.
    stacklevel : `int`, optional
        Frames between the line to blame and this call; 1 is the function that calls `warn_user`. By default the first
        line outside this package, however deep inside it the warning arises.
    """
    level = _users_level() if stacklevel is None else stacklevel + 1
    warnings.warn(message, SunalignUserWarning, stacklevel=level)  # noqa: TID251


def _users_level() -> int:
    """Stacklevel, for a call of `warnings.warn` in the caller, of the first line that is neither ours nor plumbing."""
    level = 0
    frame = inspect.currentframe()
    while frame is not None:
        module = frame.f_globals.get("__name__", "").partition(".")[0]
        # `warnings.warn` leaves the machinery of imports out when it counts.
        if module != "importlib":
            if module not in ("sunalign", "functools", "contextlib"):
                return level
            level += 1
        frame = frame.f_back
    return level
