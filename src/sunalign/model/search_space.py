"""The free parameters and where they may be: below the contract, and below all that climbs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

import astropy.units as u

from sunalign.correction import UNITS

__all__ = ["Parameter", "SearchSpace", "shift_covariance"]


@dataclass(frozen=True)
class Parameter:
    """A free parameter.

    Parameters
    ----------
    name : `str`
        One of `sunalign.correction.PARAMETERS`.
    lower, upper, start : `float`
        In the unit of `sunalign.correction.UNITS`.
    step : `float`
        Change that moves the edge of the target by about one pixel of the reference: the natural length.
    """

    name: str
    lower: float
    upper: float
    start: float
    step: float

    @property
    def unit(self) -> u.UnitBase:
        """Unit of every number here."""
        return UNITS[self.name]


@dataclass(frozen=True)
class SearchSpace:
    """The free parameters, in order.

    Parameters
    ----------
    parameters : `tuple` of `Parameter`
    """

    parameters: tuple[Parameter, ...]

    def __len__(self) -> int:
        return len(self.parameters)

    def __iter__(self) -> Iterator[Parameter]:
        return iter(self.parameters)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the parameters."""
        return tuple(p.name for p in self.parameters)

    def _array(self, attribute: str) -> np.ndarray:
        return np.array([getattr(p, attribute) for p in self.parameters], float)

    @property
    def lower(self) -> np.ndarray:
        """Lower bounds."""
        return self._array("lower")

    @property
    def upper(self) -> np.ndarray:
        """Upper bounds."""
        return self._array("upper")

    @property
    def start(self) -> np.ndarray:
        """Where a search starts."""
        return self._array("start")

    @property
    def step(self) -> np.ndarray:
        """Natural lengths."""
        return self._array("step")

    def clip(self, x: np.ndarray) -> np.ndarray:
        """Nearest point within the bounds.

        Parameters
        ----------
        x : `numpy.ndarray`, shape (..., p)
        """
        return np.clip(x, self.lower, self.upper)

    def index(self, name: str) -> int | None:
        """Position of a parameter; `None` if it is not free.

        Parameters
        ----------
        name : `str`
            Such as ``"shift_x"``.
        """
        return self.names.index(name) if name in self.names else None


def shift_covariance(names: Sequence[str], sigma: float) -> np.ndarray:
    """Covariance, in arcsec², of what pulls the shifts alone, along either axis by as much.

    Parameters
    ----------
    names : sequence of `str`, length p
        The free parameters.
    sigma : `float`
        By how much, 1 sigma, in arcsec.

    Returns
    -------
    `numpy.ndarray`, shape (p, p)
    """
    return np.diag([sigma**2 if name.startswith("shift") else 0.0 for name in names])
