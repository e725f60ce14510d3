"""Errors and warnings, one class a situation."""

import warnings

from sunpy.util.exceptions import SunpyUserWarning

__all__ = [
    "AlignmentDoubtError",
    "AlignmentError",
    "CorrectionError",
    "CoverageError",
    "ImageError",
    "PluginConflictError",
    "PluginError",
    "PluginLoadError",
    "SunalignUserWarning",
    "UnknownPluginError",
    "WorkerError",
    "warn_user",
]


class SunalignUserWarning(SunpyUserWarning):
    """Something about an alignment that the user can change."""


class AlignmentError(ValueError):
    """Two images cannot be aligned as asked."""


class AlignmentDoubtError(AlignmentError):
    """The alignment ended with a doubtful answer and ``on_doubt="raise"`` was asked for.

    Attributes
    ----------
    result : `~sunalign.AlignmentResult`
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


class PluginError(Exception):
    """Base class of everything that goes wrong with a plugin."""


class UnknownPluginError(PluginError, ValueError):
    """No plugin of that name is installed."""


class PluginLoadError(PluginError, ImportError):
    """A plugin is installed but cannot be used."""


class PluginConflictError(PluginError, ValueError):
    """Two installed packages offer a plugin of the same name."""


class WorkerError(RuntimeError):
    """The worker processes failed twice."""


def warn_user(message: str, stacklevel: int = 1) -> None:
    """Raise a `SunalignUserWarning` that points at the caller's code.

    Parameters
    ----------
    message : `str`
        One or two whole sentences.
    stacklevel : `int`
        Frames between the line to blame and this call; 1 is the function that calls `warn_user`.
    """
    warnings.warn(message, SunalignUserWarning, stacklevel=stacklevel + 1)  # noqa: TID251
