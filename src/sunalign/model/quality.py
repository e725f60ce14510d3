"""How sure the answer is: errors of the parameters, and signs of a wrong answer.

The score itself is none: a wrong field correlates as well as the right one as soon as it is stretched enough.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from sunalign.abc import SupportsJudgement
from sunalign.geometry.coordinates import ARCSEC
from sunalign.model.curvature import ncc_curvature
from sunalign.model.fixed_pattern import fixed_pattern
from sunalign.model.objective import Objective
from sunalign.model.own_scores import above_most, middle_of, score_covariance, significance_of_peak
from sunalign.model.plane_sums import speaks_of_planes
from sunalign.model.problem import Problem
from sunalign.model.resolution import in_step
from sunalign.model.rivals import equal_peaks
from sunalign.model.search_space import SearchSpace, shift_covariance
from sunalign.model.sharpness import as_sharp
from sunalign.model.split_half import compared_pixel, split_half
from sunalign.model.surface import (
    SearchSurface,
    allowing_for_edges,
    peak_ratio,
    peak_significance,
    peaks_of,
    pixels_at_peak,
    wider_than_a_peak,
)

__all__ = ["Quality", "assess", "covariance"]

#: Limits beyond which an answer is doubtful. ``tests/benchmarks/quality_table.py`` remakes the table they come from.
LIMITS = {
    "peak_significance": 3.0,
    "split_half": 0.8,
    "movement": 1.5,
    "fixed_pattern": 0.25,
    "other_sizes": 0.4,
    "beside_pattern": 0.4,
}

_BLOCKS = 4  # Blocks for every parameter, at least: fewer say nothing of their scatter.
_PARTS = 4  # Parameters that parts to leave out are enough for, at least.
_BLOCK = 10.0  # Reference pixels over which residuals are taken to be correlated.
_FLATTEST = 1e-2  # Least curvature, as a part of Gauss-Newton's, that is believed.
_LARGEST = 2**17  # Pixels of the target in a correlation surface.
_COVERED = 0.8  # Part of the target below which the reference counts as covering only some of it.
_ENOUGH = 4096  # Pixels of coarse images beyond which a metric's own scores are judged by those.
_COSTLY = 2**24  # Pixels that are compared one shift after the other, at most.
_FEW = 256  # Pixels of a part of the target below which it is judged in finer ones.

# What to say of a sign that could not be had.
_UNKNOWN = {
    "peak_significance": (
        "Whether another shift correlates as well could not be judged, for too few shifts leave enough overlap; "
        "take a reference that covers more of the target, or lower min_overlap."
    ),
    "split_half": (
        "Two halves of the target could not be compared, for one of them has too few valid pixels; "
        "take a larger field, or mask less."
    ),
    "movement": (
        "The answer could not be compared with the highest correlation of all shifts, for none leaves enough overlap; "
        "take a reference that covers more of the target, or lower min_overlap."
    ),
}


@dataclass(frozen=True)
class Quality:
    """Signs of how far to trust an alignment. NaN where a sign could not be had, or where the search has none.

    Parameters
    ----------
    peak_significance : `float`
        How far the peak of the surface of scores stands above every other shift, in standard errors.
    peak_ratio : `float`
        Second peak of that surface over the first. A weak sign on its own.
    split_half : `float`
        Distance between the shifts that two interleaved halves of the target ask for, in units of the pixels that were
        compared and its standard error together.
    movement : `float`
        Distance between the peak of the surface and the answer, in pixels of the surface.
    overlap : `float`
        Fraction of the target's valid pixels that the reference covers.
    min_overlap : `float`
        Fraction that was asked for.
    fixed_pattern : `float`
        Share of what the reference leaves unexplained that is a scene which moved, 0 to 1; 0 where that may be chance,
        and unless both images have pixels of one size, as what stays with a detector would.
    other_sizes : `float`
        Distance, in pixels, between the answer and the shift that structure of a few pixels' size alone asks for: what
        is smaller or wider may be the detector's. 0 where that may be chance, and as for ``fixed_pattern``.
    beside_pattern : `float`
        Distance, in pixels, between the answer and where the scene is once what stays with the detector is fitted
        beside it. 0 where that may be chance, and as for ``fixed_pattern``.
    at_bound : `tuple` of `str`
        Parameters that ended at a bound of the search.
    unknown : `tuple` of `str`
        Signs that could not be had.
    without_error : `tuple` of `str`
        Free parameters whose error could not be had.
    """

    peak_significance: float = np.nan
    peak_ratio: float = np.nan
    split_half: float = np.nan
    movement: float = np.nan
    overlap: float = np.nan
    min_overlap: float = 0.0
    fixed_pattern: float = np.nan
    other_sizes: float = np.nan
    beside_pattern: float = np.nan
    at_bound: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    without_error: tuple[str, ...] = ()

    def doubts(self) -> list[str]:
        """One sentence for every sign of a wrong answer, and for every sign that could not be had."""
        found = []
        if self.overlap < self.min_overlap:
            found.append(
                f"The reference covers {self.overlap:.0%} of the target at the answer, less than min_overlap "
                f"({self.min_overlap:.0%}); take a larger reference, or lower min_overlap."
            )
        if self.at_bound:
            found.append(
                f"{' and '.join(self.at_bound)} ended at a bound of the search; widen max_shift or bounds, "
                f"or leave it out of fit."
            )
        if self.fixed_pattern > LIMITS["fixed_pattern"]:
            found.append(
                "The answer puts the pixels of both images on each other, and a scene that moved is left over: what "
                "agrees stays with the detector; flat-field both images, and give hot pixels, dust and occulters to "
                "target_mask and reference_mask."
            )
        if self.other_sizes > LIMITS["other_sizes"]:
            found.append(
                f"Structure of a few pixels alone asks for a shift {self.other_sizes:.1f} pixels away from the answer, "
                f"so that defect pixels or vignetting may hold it; flat-field both images, and mask their defects."
            )
        if self.beside_pattern > LIMITS["beside_pattern"]:
            found.append(
                f"The two images agree best by a scene {self.beside_pattern:.1f} pixels away from the answer and a "
                f"pattern that stays with the detector, which may hold it; flat-field both images, and mask dust, "
                f"occulters and frames."
            )
        if self.peak_significance < LIMITS["peak_significance"]:
            found.append(
                f"Another shift correlates almost as well (significance of the peak {self.peak_significance:.1f}); "
                f"check that both images show the same field in similar light, narrow max_shift, or use a larger field."
            )
        if self.split_half > LIMITS["split_half"]:
            found.append(
                f"Two halves of the target disagree by {self.split_half:.1f} times what their pixels and errors allow; "
                f"mask what only one image shows, or fit scale and rotation too."
            )
        if self.movement > LIMITS["movement"]:
            found.append(
                f"The answer is {self.movement:.1f} coarse pixels away from the highest correlation of all shifts; "
                f"start nearer, or choose tighter bounds."
            )
        found += [_UNKNOWN[name] for name in self.unknown]
        if self.without_error:
            found.append(
                f"The error of {' and '.join(self.without_error)} could not be estimated, for the target has too few "
                f"pixels or too little structure; take a larger field, or fit less."
            )
        return found

    @property
    def held(self) -> float:
        """How far, in pixels, what stays with the detector may hold the answer from where the scene is."""
        return float(np.fmax(self.other_sizes, self.beside_pattern))

    def with_errors(self, names: Sequence[str], errors: Sequence[float] | np.ndarray) -> Quality:
        """Return a copy that knows which of the free parameters have no error.

        Parameters
        ----------
        names : sequence of `str`
            The free parameters.
        errors : sequence of `float`
            1-sigma, in their order; NaN where there is none.
        """
        missing = tuple(name for name, error in zip(names, errors, strict=True) if not np.isfinite(error))
        return replace(self, without_error=missing)

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}


def assess(problem: Problem, space: SearchSpace, x: np.ndarray) -> tuple[Quality, SearchSurface | None]:
    """Judge an answer, whichever optimizer it comes from, by the metric's scores around it.

    Parameters
    ----------
    problem : `~sunalign.model.problem.Problem`
    space : `~sunalign.model.search_space.SearchSpace`
    x : `numpy.ndarray`, shape (p,)
        The answer, in the order of ``space``.

    Returns
    -------
    `Quality`, `~sunalign.model.surface.SearchSurface` or `None`
        With the scores over all shifts, at the answer's scale and rotation, that the signs were read from;
        `None` where no shift was free.
    """
    quality = Quality(overlap=problem.overlap(x), min_overlap=problem.least_overlap, at_bound=_at_bound(x, space))
    if not any(name.startswith("shift") for name in space.names):
        return quality, None
    metric = problem.metric
    if isinstance(metric, SupportsJudgement):
        judges = [_judge(problem, space, level) for level in _levels(problem, quality.overlap)]
        surface = judges[0].shift_surface(x)
        significance = peak_significance(surface, pixels_at_peak(surface), metric.significance)
        significance = _between_points(significance, judges[0], surface, x, metric.significance)
        ratio = peak_ratio(surface)
    else:
        judges = [_judge(problem, space, _affordable(problem, space, quality.overlap))]
        surface = judges[0].shift_surface(x)
        significance = significance_of_peak(judges[0], surface, x, _left_out(judges[0].problem, len(x)))
        significance = _between_points(significance, judges[0], surface, x, _is_higher, middle_of(surface))
        ratio = peak_ratio(above_most(surface))
    judged = judges[0].problem
    detector = fixed_pattern(problem, x, _reach(space, x))
    quality = replace(
        quality,
        peak_significance=significance,
        peak_ratio=ratio,
        movement=_movement(surface, judged, x),
        split_half=float(np.fmax.reduce([split_half(judge, x) for judge in judges])),
        fixed_pattern=detector.moved_scene,
        other_sizes=detector.other_sizes,
        beside_pattern=detector.beside_pattern,
    )
    return replace(quality, unknown=_unknown(quality, surface, judged)), surface


def _between_points(
    significance: float,
    judge: Objective,
    surface: SearchSurface,
    x: np.ndarray,
    compare: Callable[[float, float, int], float],
    zero: float = 0.0,
) -> float:
    """Significance of a peak, or that of the peak above another that is higher between the points of the surface."""
    if significance < LIMITS["peak_significance"]:
        return significance
    return float(np.fmin(significance, equal_peaks(judge, surface, x, compare, zero)))


def _is_higher(score: float, other: float, n_pixels: int) -> float:
    """Significance of a score that is higher than another, where scores alone do not say how much that is."""
    return np.inf if score > other else 0.0


def _judge(problem: Problem, space: SearchSpace, level: float) -> Objective:
    coarse = problem.at_level(level)
    return Objective(replace(coarse, min_overlap=allowing_for_edges(coarse.min_overlap, coarse.n_valid)), space)


def _affordable(problem: Problem, space: SearchSpace, overlap: float) -> float:
    """Resolution at which every shift can be scored, one by one, for about what a search costs.

    No finer than needed, but for small images, whose scores are worth little without all their pixels.
    """
    level = 1.0 if overlap * problem.size_at(2.0) < _ENOUGH else 2.0
    while _n_compared(problem, space, level) > _COSTLY and problem.size_at(2 * level) > _FEW:
        level *= 2
    return level


def _n_compared(problem: Problem, space: SearchSpace, level: float) -> float:
    """Pixels that have to be compared for all shifts within the bounds."""
    pitch = level * problem.reference_pixel / ARCSEC
    widths = [(p.upper - p.lower) / pitch + 1 for p in space if p.name.startswith("shift")]
    return float(problem.size_at(level) * np.prod(widths))


def _levels(problem: Problem, overlap: float) -> tuple[float, float]:
    """Resolutions at which to judge: coarse enough that a surface takes a hundredth of a second.

    Finer where the reference covers so little of the target that few pixels would be left to judge by.
    """
    finest, size = 2.0, (problem.whole or problem).size_at(1.0)
    while size / finest**2 > _LARGEST:
        finest *= 2
    if overlap < _COVERED and overlap * problem.at_level(finest).n_valid < _FEW:
        finest /= 2
    return finest, 2 * finest


def _unknown(quality: Quality, surface: SearchSurface, judged: Problem) -> tuple[str, ...]:
    """Signs that could not be had; a search narrower than a peak has no other shift to be compared with."""
    missing = [name for name in _UNKNOWN if np.isnan(getattr(quality, name))]
    wide = wider_than_a_peak(surface, judged.least_overlap * judged.n_valid)
    return tuple(name for name in missing if name != "peak_significance" or wide)


def _reach(space: SearchSpace, x: np.ndarray) -> float:
    """How far, in arcsec, the bounds let a shift be from the answer."""
    return max(
        max(p.upper - value, value - p.lower) for p, value in zip(space, x, strict=True) if p.name.startswith("shift")
    )


def covariance(problem: Problem, space: SearchSpace, x: np.ndarray) -> np.ndarray:
    """Covariance of the free parameters from the scatter of blocks of the target, shape (p, p).

    The cluster-robust sandwich ``H^-1 (sum_b s_b s_b^T) H^-1`` with s_b the gradient's share of one block of about ten
    reference pixels: unlike a white-noise estimate it holds when the two images differ by real structure. H is the
    curvature as it is, not Gauss-Newton's: the two differ where the reference is noisy. What its noise may still pull a
    shift by, whatever the sub-pixel phase, comes on top; and so does, instead of its scatter, what a sharpness that the
    images do not share moves the answer by.

    All at the finest resolution that is climbed, which is where the answer comes from. For a metric that cannot judge,
    both are differences of its scores; see `sunalign.model.own_scores`.
    """
    metric, p, fine = problem.metric, len(x), problem.at_finest_level()
    if not isinstance(metric, SupportsJudgement):
        return score_covariance(fine, space, x, _left_out(fine, p)) + _pulled(problem, space, x)
    bent, target = fine.with_bends(x), fine.target.data
    given = bent.sampled, fine.jacobian(x, bent.slopes), target, bent.hidden
    (seen, expected), unknown = ncc_curvature(bent, target, fine.displacements(x)), np.full((p, p), np.nan)
    hessian = expected if speaks_of_planes(metric) else metric.normal_equations(*given).hessian
    if not expected.any():
        return unknown
    target = as_sharp(bent.sampled, target, bent.hidden)
    shares = metric.block_scores(bent.sampled, given[1], target, bent.hidden, block_shape(fine, p))
    n_blocks = int(np.count_nonzero(np.any(shares != 0, axis=0)))
    if n_blocks <= p:
        return unknown
    try:
        inverse = np.linalg.inv(_curvature(seen, expected, hessian))
    except np.linalg.LinAlgError:
        return unknown
    middle = shares @ shares.T * n_blocks / (n_blocks - p)
    moved = inverse @ shares.sum(axis=1)
    return np.asarray(inverse @ middle @ inverse) + np.outer(moved, moved) + _pulled(problem, space, x)


def _pulled(problem: Problem, space: SearchSpace, x: np.ndarray) -> np.ndarray:
    """Covariance, shape (p, p), of what sampling the reference between its pixels still does to the shifts.

    As far as the grids are in step at the answer: they may be there, and not as their headers have it.
    """
    fine = problem.at_finest_level()
    pull = fine.limit.pull * in_step(fine, fine.matrix(x)) if fine.limit is not None and fine.limit.pull else 0.0
    return shift_covariance(space.names, pull * fine.reference_pixel / ARCSEC)


def _curvature(seen: np.ndarray, expected: np.ndarray, hessian: np.ndarray) -> np.ndarray:
    """Gauss-Newton's matrix of a metric, scaled by what is seen of the correlation and what was expected there."""
    scale = 1 / np.sqrt(np.diag(expected))
    ratio = np.linalg.solve(expected * np.outer(scale, scale), seen * np.outer(scale, scale))
    if np.linalg.eigvals(ratio).real.min() <= _FLATTEST:
        # No top at all, or one so flat that nothing is known of it.
        return _FLATTEST * hessian
    curvature = hessian @ (np.diag(scale) @ ratio @ np.diag(1 / scale))
    return (curvature + curvature.T) / 2


def block_shape(problem: Problem, p: int) -> tuple[int, int]:
    """Height and width, in pixels of the target, of ten reference pixels; fewer where that leaves few blocks for p.

    Ten of the target's own where those are larger.

    Parameters
    ----------
    problem : `~sunalign.model.problem.Problem`
    p : `int`
        Free parameters.
    """
    size, shape = np.array(problem.target.grid.pixel_size), np.array(problem.target.grid.shape[::-1])
    side, pixel = _BLOCK, compared_pixel(problem) * ARCSEC
    while True:
        width, height = (max(1, int(n)) for n in np.rint(side * pixel / size))
        if (height, width) == (1, 1) or np.prod(np.ceil(shape / (width, height))) >= _BLOCKS * p:
            return height, width
        side *= 0.8


def _left_out(problem: Problem, p: int) -> tuple[int, int]:
    """As `block_shape`, of parts that are left out in turn, of which even one parameter needs some."""
    return block_shape(problem, max(p, _PARTS))


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
    return float(distance / compared_pixel(problem))
