"""How sure the answer is: errors of the parameters, and signs of a wrong answer.

The score itself is none: a wrong field correlates as well as the right one as soon as it is stretched enough.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from sunalign.geometry.coordinates import ARCSEC
from sunalign.metrics import NCC
from sunalign.model.objective import Objective
from sunalign.model.problem import MANY, Problem
from sunalign.model.search_space import SearchSpace
from sunalign.model.surface import SearchSurface, peak_ratio, peak_significance, peaks_of
from sunalign.optimizers._levenberg_marquardt import climb

__all__ = ["Quality", "assess", "covariance"]

#: Limits beyond which an answer is doubtful. ``tests/benchmarks/quality_table.py`` remakes the table they come from.
LIMITS = {"peak_significance": 3.0, "split_half": 0.8, "movement": 3.0}

_BLOCK = 10.0  # Reference pixels over which residuals are taken to be correlated.
_FLATTEST = 1e-2  # Least curvature, as a part of Gauss-Newton's, that is believed.
_LARGEST = 2**17  # Pixels of the target in a correlation surface.


@dataclass(frozen=True)
class Quality:
    """Signs of how far to trust an alignment. NaN where a sign could not be had.

    Parameters
    ----------
    peak_significance : `float`
        How far the peak of the correlation surface stands above every other shift, in standard errors of Fisher's z.
    peak_ratio : `float`
        Second peak of that surface over the first. A weak sign on its own.
    split_half : `float`
        Distance, in reference pixels, between the shifts that two interleaved halves of the target ask for.
    movement : `float`
        Distance, in reference pixels, between the peak of the surface and the answer.
    overlap : `float`
        Fraction of the target's valid pixels that the reference covers.
    at_bound : `tuple` of `str`
        Parameters that ended at a bound of the search.
    """

    peak_significance: float = np.nan
    peak_ratio: float = np.nan
    split_half: float = np.nan
    movement: float = np.nan
    overlap: float = np.nan
    at_bound: tuple[str, ...] = ()

    def doubts(self) -> list[str]:
        """One sentence for every sign of a wrong answer."""
        found = []
        if self.at_bound:
            found.append(
                f"{' and '.join(self.at_bound)} ended at a bound of the search; widen max_shift or bounds, "
                f"or leave it out of fit."
            )
        if self.peak_significance < LIMITS["peak_significance"]:
            found.append(
                f"Another shift correlates almost as well (significance of the peak {self.peak_significance:.1f}); "
                f"check that both images show the same field in similar light, narrow max_shift, or use a larger field."
            )
        if self.split_half > LIMITS["split_half"]:
            found.append(
                f"Two halves of the target disagree by {self.split_half:.1f} reference pixels; "
                f"mask what only one image shows, or fit scale and rotation too."
            )
        if self.movement > LIMITS["movement"]:
            found.append(
                f"The answer is {self.movement:.1f} reference pixels away from the highest correlation of all shifts; "
                f"start nearer, or choose tighter bounds."
            )
        return found

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self), "at_bound": list(self.at_bound)}


def assess(problem: Problem, space: SearchSpace, x: np.ndarray) -> tuple[Quality, SearchSurface | None]:
    """Judge an answer, whichever optimizer and metric it comes from, by the correlation around it.

    Returns
    -------
    `Quality`, `~sunalign.model.surface.SearchSurface` or `None`
        With the correlation over all shifts, at the answer's scale and rotation, that the signs were read from;
        `None` where no shift was free.
    """
    quality = Quality(overlap=problem.overlap(x), at_bound=_at_bound(x, space))
    if not any(name.startswith("shift") for name in space.names):
        return quality, None
    levels = [Objective(replace(problem.at_level(level), metric=NCC()), space) for level in _levels(problem)]
    surface = levels[0].shift_surface(x)
    halves = [_split_half(level, x) for level in levels]
    return (
        replace(
            quality,
            peak_significance=peak_significance(surface, levels[0].problem.n_valid),
            peak_ratio=peak_ratio(surface),
            movement=_movement(surface, problem, x),
            split_half=float(np.fmax.reduce(halves)),
        ),
        surface,
    )


def _levels(problem: Problem) -> tuple[float, float]:
    """Resolutions at which to judge: coarse enough that a surface takes a hundredth of a second."""
    finest, size = 2.0, problem.at_level(1.0).target.data.size
    while size / finest**2 > _LARGEST:
        finest *= 2
    return finest, 2 * finest


def covariance(problem: Problem, space: SearchSpace, x: np.ndarray) -> np.ndarray:
    """Covariance of the free parameters from the scatter of blocks of the target, shape (p, p).

    The cluster-robust sandwich ``H^-1 (sum_b s_b s_b^T) H^-1`` with s_b the gradient's share of one block of about ten
    reference pixels: unlike a white-noise estimate it holds when the two images differ by real structure. H is the
    curvature as it is, not Gauss-Newton's: the two differ where the reference is noisy.
    """
    ncc = NCC()
    problem = problem if problem.target.data.size <= MANY else problem.at_finest_level()
    sampled, jacobian, mask = problem.linearized(x)
    equations = ncc.normal_equations(sampled, jacobian, problem.target.data, mask)
    p = len(x)
    unknown = np.full((p, p), np.nan)
    if equations.score == 0.0:
        return unknown
    shares = ncc.block_scores(sampled, jacobian, problem.target.data, mask, _block(problem))
    n_blocks = int(np.count_nonzero(np.any(shares != 0, axis=0)))
    if n_blocks <= p:
        return unknown
    try:
        inverse = np.linalg.inv(_curvature(problem, x, 0.2 * space.step, equations.hessian))
    except np.linalg.LinAlgError:
        return unknown
    middle = shares @ shares.T * n_blocks / (n_blocks - p)
    return np.asarray(inverse @ middle @ inverse)


def _curvature(problem: Problem, x: np.ndarray, steps: np.ndarray, hessian: np.ndarray) -> np.ndarray:
    """Minus the derivative of the gradient by the parameters, from differences over ``steps`` to either side.

    At the reference's resolution, where it takes a few milliseconds; ``hessian``, Gauss-Newton's at full resolution,
    is scaled by what the two matrices there make of each other.
    """
    fine = replace(problem.at_finest_level(), metric=NCC())
    p = len(x)
    seen = np.empty((p, p))
    for k in range(p):
        offset = np.zeros(p)
        offset[k] = steps[k]
        low, high = (fine.normal_equations(x + sign * offset).gradient for sign in (-1, 1))
        seen[:, k] = (low - high) / (2 * steps[k])
    expected = fine.normal_equations(x).hessian
    scale = 1 / np.sqrt(np.diag(expected))
    ratio = np.linalg.solve(expected * np.outer(scale, scale), (seen + seen.T) / 2 * np.outer(scale, scale))
    if np.linalg.eigvals(ratio).real.min() <= _FLATTEST:
        # No top at all, or one so flat that a difference cannot measure it.
        return _FLATTEST * hessian
    curvature = hessian @ (np.diag(scale) @ ratio @ np.diag(1 / scale))
    return (curvature + curvature.T) / 2


def _block(problem: Problem) -> tuple[int, int]:
    """Height and width, in pixels of the target, of ten reference pixels."""
    size = np.array(problem.target.grid.pixel_size)
    own = problem.reference.pixel_size if np.isfinite(problem.reference.pixel_size) else float(size.max())
    width, height = (max(1, int(np.rint(_BLOCK * own / s))) for s in size)
    return height, width


def _at_bound(x: np.ndarray, space: SearchSpace) -> tuple[str, ...]:
    near = 0.02 * np.minimum(space.step, space.upper - space.lower)
    touching = (x <= space.lower + near) | (x >= space.upper - near)
    return tuple(name for name, touches in zip(space.names, touching, strict=True) if touches)


def _movement(surface: SearchSurface, problem: Problem, x: np.ndarray) -> float:
    peaks = peaks_of(surface, 1)
    if not peaks:
        return np.nan
    values = problem.parameters(x)
    distance = np.hypot(values["shift_x"] - peaks[0][1], values["shift_y"] - peaks[0][2])
    return float(distance * ARCSEC / _pixel(problem))


def _split_half(judge: Objective, x: np.ndarray) -> float:
    """Distance between the shifts of two interleaved halves, the other parameters held."""
    names = tuple(name for name in judge.space.names if name.startswith("shift"))
    held = judge.problem.parameters(x)
    space = SearchSpace(tuple(replace(p, start=held[p.name]) for p in judge.space if p.name in names))
    ny, nx = judge.problem.target.grid.shape
    checker = (np.arange(ny)[:, None] * 4 // ny + np.arange(nx) * 4 // nx) % 2 == 0
    ends = []
    for half in (checker, ~checker):
        problem = replace(
            judge.problem, target=judge.problem.target.masked(half), names=names, fixed={**judge.problem.fixed, **held}
        )
        if problem.n_valid < 16:
            return np.nan
        ends.append(climb(Objective(problem, space), space.start, tolerance=0.05, max_iter=10).x)
    return float(np.linalg.norm(ends[0] - ends[1]) * ARCSEC / _pixel(judge.problem))


def _pixel(problem: Problem) -> float:
    own = problem.reference.pixel_size
    return own if np.isfinite(own) else float(np.sqrt(np.prod(problem.target.grid.pixel_size)))
