"""How a check says that a law is broken."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

__all__ = ["Check", "require", "unchanged"]

Check = Callable[[Any], None]


def require(holds: object, message: str) -> None:
    """Raise `AssertionError` with the law's own words; unlike ``assert`` it survives ``python -O``."""
    if not holds:
        raise AssertionError(message)


@contextmanager
def unchanged(what: str, *arrays: np.ndarray) -> Iterator[None]:
    """Require that arrays hold the same bytes before and after."""
    before = [array.tobytes() for array in arrays]
    yield
    require(before == [array.tobytes() for array in arrays], f"{what} changed an array that it was given.")
