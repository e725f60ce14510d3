"""How many images may be compared, and how many were: shared by all searches of one alignment."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["Budget", "BudgetSpent"]


class BudgetSpent(Exception):
    """The evaluations that were allowed are used up."""


class Budget:
    """Evaluations allowed and spent, at any resolution and by any search of one alignment.

    Parameters
    ----------
    allowed : `int`, optional
        Largest number of images compared; `None` for no limit.
    progress : callable, optional
        Told the number spent and the best score so far.
    """

    def __init__(self, allowed: int | None = None, progress: Callable[[int, float], None] | None = None) -> None:
        self.allowed = allowed
        self.spent = 0
        self._progress = progress

    def left(self, wanted: int) -> int:
        """How many of some wanted evaluations are left.

        Parameters
        ----------
        wanted : `int`
        """
        return wanted if self.allowed is None else max(0, min(wanted, self.allowed - self.spent))

    def claim(self, n: int) -> None:
        """Spend evaluations, or raise `BudgetSpent`.

        Parameters
        ----------
        n : `int`
            All of them or none are spent.
        """
        if self.left(n) < n:
            raise BudgetSpent
        self.spent += n

    def show(self, best: float) -> None:
        """Report the best score so far.

        Parameters
        ----------
        best : `float`
            Of all scores so far.
        """
        if self._progress is not None:
            self._progress(self.spent, best)
