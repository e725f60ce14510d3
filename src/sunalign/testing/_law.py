"""How a check says that a law is broken."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

__all__ = ["Check", "require", "unchanged"]

Check = Callable[[Any], None]


def require(holds: object, message: str) -> None:
    """Raise `AssertionError` with the law's own words; unlike ``assert`` it survives ``python -O``.

    Parameters
    ----------
    holds : object
        Taken as true or false.
    message : `str`
        What was found instead, for the author of the plugin.
    """
    if not holds:
        raise AssertionError(message)


@contextmanager
def unchanged(what: str, *arrays: np.ndarray) -> Iterator[None]:
    """Require that arrays hold the same bytes before and after.

    Parameters
    ----------
    what : `str`
        Who may not change them.
    *arrays : `numpy.ndarray`
    """
    before = [array.tobytes() for array in arrays]
    yield
    require(before == [array.tobytes() for array in arrays], f"{what} changed an array that it was given.")
