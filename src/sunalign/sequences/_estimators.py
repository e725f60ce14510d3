"""What places the frames of a sequence: the interface, and the two ways that are built in.

An estimator is given the sequence as it is loaded and says where every frame is. `CorrelationEstimator` does it on
Fourier-cropped images, shifts only; `PluginEstimator` compares pair by pair with `sunalign.align`, whatever is fitted,
by whichever metric and optimizer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from sunalign.geometry.coordinates import ARCSEC
from sunalign.sequences._known_motion import Placing, SceneGrid
from sunalign.sequences._network import PairTable
from sunalign.sequences._solve import Choice, settle, solve_stack
from sunalign.sequences._stack import Stack

__all__ = ["CorrelationEstimator", "Estimate", "Estimator"]


@dataclass(frozen=True, eq=False)
class Estimate:
    """Corrections of all frames but for a common zero.

    Parameters
    ----------
    names : `tuple` of `str`
        Parameters, in the order of `~sunalign.correction.PARAMETERS`.
    values : `numpy.ndarray`, shape (n, p)
        In `~sunalign.correction.UNITS`; their mean over the placed frames is that of doing nothing.
    covariance, local : `numpy.ndarray`, shape (n, p, p)
        With and without what adds up along the sequence, which anchors bound.
    placed : `numpy.ndarray` of `bool`, shape (n,)
    table : `~sunalign.sequences._network.PairTable`
        Measured pairs, in the same units.
    weight, residual : `numpy.ndarray`
        Of the pairs.
    choice, choices : `~sunalign.sequences._solve.Choice`
    odd : mapping
        Frames that do not belong, with the reason.
    scene_shift : `numpy.ndarray`, shape (n, 2)
        The shifts in working pixels of the scene, for pictures.
    wander : `numpy.ndarray`, shape (n, p)
        Variance of the motion of the scene itself that may be in ``values``; empty where it is not known.
    pivot : `~astropy.units.Quantity`, shape (2,), optional
        About which all frames turn; the centre of each by default.
    """

    names: tuple[str, ...]
    values: np.ndarray
    covariance: np.ndarray
    local: np.ndarray
    placed: np.ndarray
    table: PairTable
    weight: np.ndarray
    residual: np.ndarray
    choice: Choice
    choices: tuple[Choice, ...] = ()
    odd: Mapping[int, str] = field(default_factory=dict)
    scene_shift: np.ndarray = field(default_factory=lambda: np.zeros((0, 2)))
    wander: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))
    pivot: Any = None


class Estimator(Protocol):
    """Places the frames of a sequence."""

    def estimate(self, stack: Stack, placings: list[Placing | None], scene: SceneGrid) -> Estimate:
        """Where all frames are.

        Parameters
        ----------
        stack : `~sunalign.sequences._stack.Stack`
            Working images where their headers have them.
        placings : `list` of `~sunalign.sequences._known_motion.Placing` or `None`
            How working pixels become angles.
        scene : `~sunalign.sequences._known_motion.SceneGrid`
        """


@dataclass(frozen=True, eq=False)
class CorrelationEstimator:
    """Shifts from the correlation of Fourier-cropped images.

    Parameters
    ----------
    method : {"auto", "pairs", "template"}
    max_lag : `int`, optional
    search : `tuple` of `float`
        Working pixels (x, y) within which neighbours are sought.
    reload : callable, optional
        Images of all frames with known displacements (n, 2) taken out, where frames were sampled on the scene.
    """

    method: str
    max_lag: int | None
    search: tuple[float, float]
    reload: Callable[[np.ndarray], list[Any]] | None = None

    def estimate(self, stack: Stack, placings: list[Placing | None], scene: SceneGrid) -> Estimate:
        """Where all frames are.

        Parameters
        ----------
        stack : ``Stack``
            Frames on the scene, by the pointing of their headers.
        placings : `list` of ``Placing`` or `None`
            How every frame lies on the scene; `None` for one that cannot be used.
        scene : ``SceneGrid``
        """
        settled = settle(stack, self.search)
        moved = np.zeros_like(settled.theta)
        if self.reload is not None and np.abs(settled.theta).max() > 0.05:
            # What a header has wrong was carried along with the Sun: sample again where the frames really are.
            moved = settled.theta
            images = self.reload(moved)
            known = {int(k) for k in stack.usable}
            settled = Stack([im if k in known else None for k, im in enumerate(images)], filter=settled.filter)
            settled = settle(settled, (6.0, 6.0), 2)
        solution = solve_stack(settled, self.method, self.max_lag)
        network, table = solution.network, solution.table
        n = len(stack)
        shift = network.theta + moved
        shift[~network.placed] = np.nan
        shift -= np.nanmean(shift, axis=0) if network.placed.any() else 0.0
        values, covariance, local = np.full((n, 2), np.nan), np.full((n, 2, 2), np.nan), np.full((n, 2, 2), np.nan)
        for k in np.flatnonzero(network.placed):
            placed = placings[k]
            assert placed is not None
            values[k] = placed.sky(shift[k]) / ARCSEC
            covariance[k] = placed.sky_covariance(network.covariance[k]) / ARCSEC**2
            local[k] = placed.sky_covariance(network.local[k]) / ARCSEC**2
        turn = scene.grid.jacobian(*scene.grid.centre) / ARCSEC
        total = table.shift + moved[table.second] - moved[table.first]
        pairs = PairTable(
            table.first,
            table.second,
            total @ turn.T,
            turn @ table.covariance @ turn.T,
            table.score,
            table.height,
            table.found,
        )
        return Estimate(
            ("shift_x", "shift_y"),
            values,
            covariance,
            local,
            network.placed,
            pairs,
            solution.weight,
            solution.residual @ turn.T,
            solution.choice,
            solution.choices,
            solution.odd,
            shift,
            solution.wander @ (turn**2).T,
        )
